"""The machine's clock is set back between a killed tick and the run that recovers it."""

from __future__ import annotations

import pytest

from oracle_batch.desk import Desk
from tests.sim.acceptance.world import World
from tests.tick.test_tick_crash import KilledError


def test_what_was_filled_is_on_record_though_the_clock_says_an_hour_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lab.add("EURUSD", "M15", "W L1 S2 S2")
    world.start()
    world.play(0, 1)

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Desk, "conclude", die)
        with pytest.raises(KilledError):
            world.tick(2)
    an_hour_before = str(world.lab.close_of(2) - 3600)
    assert world.cli("tick", "--json", "--now", an_hour_before, clock=False).code == 0
    world.agree()
    assert len(world.deals()) == 3
