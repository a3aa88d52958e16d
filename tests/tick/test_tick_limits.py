"""Loss limits: entries stop, positions are closed, the account pauses; all numbers worked by hand.

10,000 USD, the default limits: 4 % a day of 10,000 are 400 (entries stop at 9,680, flat at 9,640), 8 % in all are 800
(9,360 and 9,280). One lot of EURUSD is 10 USD for 0.0001. It is bought at 1.1 + 9 points = 1.10009, and its opening
commission is 3.50; closing it costs 3.50 and 2.00 of slippage.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.operating.job import Job
from oracle_batch.operating.risk_resetting import reset_risk
from oracle_batch.surveying import read_status
from tests.tick.lab import T0, Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED
from tests.tick.test_tick_entries import refusal

GBPUSD = "GBPUSD_M15"


def falling(lab: Lab, to: float, script: str = "W L3 L3 L3 L3", other: str = "W W L1 L1 L1", **entry: Any) -> None:
    """One lot of EURUSD is bought on bar 1; from the open of bar 3 on the market stands at ``to``. GBPUSD is quiet."""
    lab.add("EURUSD", "M15", script, lot_strong=1.0, **entry)
    bars = lab.bars[EURUSD]
    shift = np.where(bars.time >= lab.time(EURUSD, 3), to - 1.1, 0.0)
    prices = (getattr(bars, name) + shift for name in ("open", "high", "low", "close"))
    lab.put(EURUSD, Bars(bars.time, *prices, bars.volume))
    lab.add("GBPUSD", "M15", other)


def test_from_80_percent_of_the_daily_limit_on_no_entry_is_sent(lab: Lab) -> None:
    """3.50 and 330.00 are lost: equity 9,666.50, of the limit 83.375 %; with the costs of closing 84.75 %."""
    falling(lab, 1.10009 - 0.0033)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    report = lab.tick(2)
    assert came_to(report, EURUSD) == NOOP
    assert came_to(report, GBPUSD) == ("OPEN", "SKIP", "DAILY_LOSS")
    code, numbers = refusal(lab)
    assert (code, numbers["equity"], numbers["stopped"], numbers["floor"]) == ("DAILY_LOSS", 9666.5, 9661.0, 9600.0)
    assert (numbers["used_pct"], numbers["possible_pct"]) == (pytest.approx(83.375), pytest.approx(84.75))
    status = read_status(lab.workspace, lab.settings, lab.clock.now()).to_json()["accounts"]["paper"]
    assert status["risk"]["level"] == "no_entries"
    assert status["risk"]["limits"]["daily"] == {"floor": 9600.0, "used_pct": 83.38}
    assert status["models"][GBPUSD]["last"]["numbers"]["equity"] == 9666.5


def test_what_a_position_can_still_lose_at_its_stop_counts(lab: Lab) -> None:
    """The stop stands at 1.09699: equity 9,987.50, but 301.00 less at the stop, and 5.50 to close: 9,681.00.

    So 0.99 may be lost before 9,680; the entry of bar 2 could lose 10.00, 0.07 of commission, and 0.02 of slippage.
    """
    lab.add("EURUSD", "M15", "W L3 L3", lot_strong=1.0, sl_usd=310.0)
    lab.add("GBPUSD", "M15", "W W L1", sl_usd=10.0)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    assert came_to(lab.tick(2), GBPUSD) == ("OPEN", "SKIP", "LOSS_BUDGET")
    _, numbers = refusal(lab)
    assert (numbers["limit"], numbers["needed"]) == (0.99, pytest.approx(10.09))


def test_an_entry_may_lose_what_is_left_before_entries_stop_and_no_more(lab: Lab) -> None:
    """One lot: 7.00 of commission and 2.00 of slippage. 319.99 may be lost before 9,680.

    A stop 31 pips away makes 319.00: with it hit and everything paid, 9,681.00 are left. With 31.1 pips it is 320.00.
    """
    lab.add("EURUSD", "M15", "W L3 W S3", lot_strong=1.0, sl_usd=311.0)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", "LOSS_BUDGET")]
    assert refusal(lab)[1]["needed"] == pytest.approx(320.0)
    lab.trade("EURUSD", lot_strong=1.0, sl_usd=310.0)
    assert lab.play(EURUSD, 4, 2) == [NOOP, OPENED]
    status = read_status(lab.workspace, lab.settings, lab.clock.now()).to_json()["accounts"]["paper"]
    assert status["risk"]["level"] == "ok"


def test_at_90_percent_ours_are_closed_and_nobody_elses(lab: Lab) -> None:
    """3.50 and 360.00 are lost: 9,636.50."""
    falling(lab, 1.10009 - 0.0036, other="W L1 L1 L1 S1")
    lab.tick(0)
    lab.open_by_hand("GBPUSD", -1, label="somebody else")
    lab.tick(1)
    assert len(lab.positions()) == 3
    report = lab.tick(2)
    assert came_to(report, EURUSD) == ("CLOSE", "OK", "DAILY_LOSS")
    assert came_to(report, GBPUSD) == ("CLOSE", "OK", "DAILY_LOSS")
    assert [label for label, _, _ in lab.positions()] == ["somebody else"]
    paused = lab.events("account_paused")[0].detail
    assert (paused["limit"], paused["until"]) == ("daily", T0 + 86400.0)
    assert [one.detail["code"] for one in lab.events("emergency_close")] == ["DAILY_LOSS"] * 2
    assert came_to(lab.tick(3), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")
    assert came_to(lab.tick(4), GBPUSD)[:2] == ("OPEN", "SKIP")


def test_the_daily_pause_ends_at_the_reset(lab: Lab) -> None:
    words = ["W", "L3", "L3", "W", *["W"] * 91, "S1", "L1"]
    falling(lab, 1.10009 - 0.0036, " ".join(words))
    lab.play(EURUSD, 3)
    pause = lab.books().risk.anchors.pause  # type: ignore[union-attr]
    assert pause is not None
    assert came_to(lab.at(lab.close_of(94) + 1), EURUSD) == NOOP
    # Bar 95 closes at midnight UTC: its tick is already in the new day.
    assert came_to(lab.tick(95), EURUSD) == OPENED
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert (anchors.pause, anchors.day, anchors.day_start) == (None, "2024-01-09", T0 + 86400)


@pytest.mark.parametrize(
    ("preset", "until"),
    [("ftmo_2step", "2024-01-08T23:00:00+00:00"), ("the5ers_high_stakes", "2024-01-08T22:00:00+00:00")],
)
def test_a_presets_pause_ends_at_the_firms_reset(lab: Lab, preset: str, until: str) -> None:
    """5 % of 10,000 are 500; flat at 9,550. Midnight in Prague, 17:00 in New York."""
    lab.limit(preset=preset, initial_balance=10_000.0)
    falling(lab, 1.10009 - 0.0045)
    lab.play(EURUSD, 2)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", "DAILY_LOSS")
    assert lab.events("account_paused")[0].detail["until"] == datetime.fromisoformat(until).timestamp()


def test_the_maximum_pause_ends_by_hand_alone(lab: Lab) -> None:
    """The maximum limit alone: flat at 9,280. The operator raises it to 20 %, and still has to say so."""
    lab.limit(max_daily_loss_pct=0.0)
    falling(lab, 1.10009 - 0.0072, other="W W W W L1 S1 L1")
    lab.play(EURUSD, 2)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", "MAXIMUM_LOSS")
    assert lab.events("account_paused")[0].detail["until"] is None
    lab.limit(max_drawdown_pct=20.0)
    assert came_to(lab.tick(4), GBPUSD) == ("OPEN", "SKIP", "LIMIT_PAUSE")
    job = Job(lab.workspace, lab.settings, lab.clock)
    assert reset_risk(job).changed == ["paper"]
    assert reset_risk(job).clean == ["paper"]
    assert lab.events("risk_reset")[0].detail["limit"] == "maximum"
    assert came_to(lab.tick(5), GBPUSD) == OPENED


def test_twenty_entries_that_pass_alone_cannot_breach_together(lab: Lab) -> None:
    """Each may lose 20.00, 0.35 of commission, 0.10 of slippage; 319.99 may be lost before 9,680: 15 entries."""
    names = [lab.add(f"AAA{number:02}", "M15", "W L3", sl_usd=20.0) for number in range(20)]
    lab.tick(0)
    report = lab.tick(1)
    answers = [came_to(report, name) for name in names]
    assert answers == [OPENED] * 15 + [("OPEN", "SKIP", "LOSS_BUDGET")] * 5
    assert len(lab.positions()) == 15


def test_a_crash_after_the_closes_leaves_the_account_paused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the closes 90 % need no longer be used: only the journal knows of the pause."""
    from tests.tick.test_tick_crash import Killer

    lab.add("EURUSD", "M15", "W L3 L3 L3 S1", lot_strong=1.0, sl_usd=310.0)
    lab.play(EURUSD, 2)
    lab.limit(max_daily_loss_pct=3.4)
    killer = Killer(monkeypatch)
    assert killer.run(lab, 2, 3) == "after save_book"
    assert lab.positions() == []
    lab.tick(2, late=5)
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert anchors.pause is not None
    assert anchors.pause.limit == "daily"
    assert came_to(lab.tick(4), EURUSD) == ("OPEN", "SKIP", "LIMIT_PAUSE")


def test_the_profit_target_flattens_and_pauses_until_the_operator_says_so(lab: Lab) -> None:
    """1 % of 10,000 is 100: 0.0011 on one lot are 110, less 9 points, 3.50 and 5.50: reached at 0.0012."""
    lab.limit(profit_target_pct=1.0)
    falling(lab, 1.10009 + 0.0012, other="W W W L1 L1")
    lab.play(EURUSD, 2)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", "PROFIT_TARGET")
    assert came_to(lab.tick(3), GBPUSD) == ("OPEN", "SKIP", "PROFIT_TARGET")
    assert lab.books().risk.target_reached == lab.close_of(2) + 1


def test_the_anchors_survive_every_run(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.play(EURUSD, 4)
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert (anchors.day, anchors.day_balance, anchors.balance_source) == ("2024-01-08", 1_000_000, "rebuilt")
    assert anchors.last_seen.time == lab.close_of(3) + 1
    assert datetime.fromtimestamp(anchors.day_start, UTC).hour == 0


def test_limits_that_are_off_let_everything_pass(lab: Lab) -> None:
    lab.limit(max_daily_loss_pct=0.0, max_drawdown_pct=0.0)
    falling(lab, 1.05)
    lab.play(EURUSD, 2)
    report = lab.tick(2)
    assert (came_to(report, EURUSD), came_to(report, GBPUSD)) == (NOOP, OPENED)
