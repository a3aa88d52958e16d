"""Lives of a workspace in which anything may happen: no leg is filled twice, and none is lost."""

from __future__ import annotations

import pytest

from tests.stateful import machine, storm

pytestmark = pytest.mark.no_cover


@pytest.mark.parametrize("number", range(3))
def test_whatever_dies_and_fails_no_leg_is_filled_twice_and_none_is_lost(number: int) -> None:
    machine.COUNTS = counts = machine.Counts()
    broken = storm.one_batch(number, lives=3, steps=25)
    if broken is not None:
        raise broken
    assert counts.points > 100
    assert counts.kills > 0


def test_a_storm_counts_what_it_has_tried() -> None:
    found = storm.run(0.0, 7)
    assert found.keys() == {"points", "kills", "recoveries", "duplicates", "lost", "violations"}
    assert found["points"] > found["kills"] >= found["recoveries"] > 0
    assert (found["duplicates"], found["lost"], found["violations"]) == (0, 0, 0)
