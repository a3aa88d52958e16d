"""A live account takes no entries on bars that nobody vouches for; its closes go on."""

from __future__ import annotations

import pytest

from oracle_batch import judging
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, OPENED
from tests.tick.test_tick_entries import refusal


def test_bars_from_files_open_nothing_on_a_live_account(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.tick(0)
    assert came_to(lab.tick(1), EURUSD) == OPENED
    monkeypatch.setattr(judging, "is_live", lambda _: True)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "UNKNOWN_DATA_SOURCE")
    assert lab.positions() == []
    assert refusal(lab) == ("UNKNOWN_DATA_SOURCE", {"source": "paper"})
    monkeypatch.undo()
    assert came_to(lab.tick(3), EURUSD) == OPENED
