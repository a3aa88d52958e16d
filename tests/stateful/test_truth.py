"""The model of the truth is right about what is no loss, and still calls a loss by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stateful import truth
from tests.tick.lab import WORDS, Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP


def test_what_was_held_already_and_has_been_closed_since_is_not_lost(tmp_path: Path) -> None:
    """The bar between the two was slept through, so that the second one asks for what is there."""
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L2 L3 L2")
    lab.tick(0)
    lab.tick(1)
    assert came_to(lab.tick(3), EURUSD) == NOOP
    lab.clock.instant += 5
    (held,) = lab.account()["positions"]
    lab.close_by_hand(held["position_id"])

    def judge(word: str) -> None:
        truth.wish_is_met(lab, "paper", EURUSD, lab.time(EURUSD, 3), [WORDS[word]], edge=True, in_time=True)

    judge("L2")
    for other in ("L3", "S2"):
        with pytest.raises(truth.LostError, match="nothing became of ob-EURUSD_M15-1704674700-1"):
            judge(other)
