"""A held position that gets no decision is closed after ``max_blind_bars``, whatever the reason (§3.6)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from tests.tick.lab import Lab, came_to, outcome
from tests.tick.test_sync_scenarios import EURUSD, opened

SCRIPT = "L1 L1 L1 L1 L1 L1"


def spoil_books(lab: Lab) -> None:
    path = lab.workspace.executor_path("paper")
    document = json.loads(path.read_bytes())
    document["models"][EURUSD]["position"]["direction"] = 7
    path.write_text(json.dumps(document))


def spoil_settings(lab: Lab) -> None:
    lab.trade("EURUSD", lot_weak="much")


def spoil_comment(lab: Lab) -> None:
    """Books and journal are lost, and the position's comment does not tell the intensity."""
    path = lab.workspace.paper_path("paper")
    account = json.loads(path.read_bytes())
    account["positions"][0]["comment"] = "by hand"
    path.write_text(json.dumps(account))
    lab.workspace.executor_path("paper").unlink()
    shutil.rmtree(lab.workspace.journal_folder("paper"))


@pytest.mark.parametrize("spoil", [spoil_books, spoil_settings, spoil_comment])
def test_a_position_is_kept_for_the_blind_bars_and_then_closed(lab: Lab, spoil: Callable[[Lab], None]) -> None:
    opened(lab, SCRIPT)
    spoil(lab)
    for bar in (2, 3, 4):
        report = lab.tick(bar)
        assert outcome(report, EURUSD).error
        assert report.exit_code == 1
        assert len(lab.positions()) == 1, bar
    assert came_to(lab.tick(5), EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert lab.positions() == []


def test_both_of_two_positions_with_one_label_are_closed_by_legs_of_their_own(lab: Lab) -> None:
    opened(lab, SCRIPT)
    lab.open_by_hand("EURUSD", label=f"oracle:{EURUSD}")
    for bar in (2, 3, 4):
        lab.tick(bar)
        assert len(lab.positions()) == 2, bar
    assert came_to(lab.tick(5), EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert lab.positions() == []
