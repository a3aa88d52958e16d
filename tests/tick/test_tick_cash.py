"""Deposits and payouts are no result: they move what limits are measured from, not how much of them is used.

10,000 USD, the default limits: 4 % of the day's balance, 8 % of the highest; see ``test_tick_limits`` for the costs.
"""

from __future__ import annotations

import pytest

from oracle_batch.broker.base import CashFlow, CashKind
from oracle_batch.errors import BrokerError
from oracle_batch.hands.anchors import Anchors
from tests.tick.fakes import Wrapped, install, uninstall
from tests.tick.lab import T0, Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED
from tests.tick.test_tick_entries import refusal
from tests.tick.test_tick_limits import GBPUSD, falling

HOURS = 3600


class KeepsItsBooks(Wrapped):
    """A broker that does not tell its cash flows."""

    async def cash_flows(self, since: float) -> list[CashFlow]:
        raise BrokerError("the cash flows cannot be had", fix="wait")


def anchors_of(lab: Lab) -> Anchors:
    found = lab.books().risk.anchors
    assert found is not None
    return found


def move(lab: Lab, amount: float, kind: CashKind, *, after: float = 60) -> None:
    """Somebody moves money, some seconds after the last look."""
    lab.clock.instant += after
    lab.paper().move_cash(amount, kind)


def test_a_payout_is_no_loss(lab: Lab) -> None:
    """3,000 of 10,000 are paid out, far beyond both limits; they are now measured from 7,000."""
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.tick(0)
    move(lab, -3000.0, "withdrawal")
    assert came_to(lab.tick(1), EURUSD) == OPENED
    anchors = anchors_of(lab)
    assert (anchors.day_balance, anchors.peak_eod_balance, anchors.payout_day) == (700_000, 700_000, "2024-01-08")
    assert [one.detail["amount"] for one in lab.events("cash_flow")] == [-300_000]
    assert came_to(lab.tick(2), EURUSD)[1] == "OK"
    assert len(lab.events("cash_flow")) == 1, "it counts once, though the day's history holds it again"
    assert anchors_of(lab).day_balance == 700_000


def test_a_deposit_hides_no_loss(lab: Lab) -> None:
    """As at 80 % of the daily limit: equity 9,666.50 and 5,000. Of 15,000, 4 % are 600; 333.50 of them are 55.58 %."""
    falling(lab, 1.10009 - 0.0033)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    move(lab, 5000.0, "deposit")
    assert came_to(lab.tick(2), GBPUSD) == OPENED
    anchors = anchors_of(lab)
    assert (anchors.day_balance, anchors.initial_balance, anchors.peak_eod_balance) == (1_500_000,) * 3
    assert lab.books().risk.trades.account.losses == 0
    lab.limit(max_daily_loss_pct=2.7)
    lab.say(GBPUSD, 3, "S1")
    assert came_to(lab.tick(3), GBPUSD)[1:] == ("SKIP", "DAILY_LOSS"), "333.50 and costs are 82.4 % of 405"
    assert refusal(lab)[1]["floor"] == 14_595.0


def test_a_fee_is_a_result_of_the_day(lab: Lab) -> None:
    """325.00 are 81.25 % of the daily limit, whether trading lost them or the firm took them."""
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.tick(0)
    move(lab, -325.0, "other")
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", "DAILY_LOSS")
    assert anchors_of(lab).day_balance == 1_000_000
    assert lab.events("cash_flow") == []


def test_the_anchor_of_a_missed_reset_is_rebuilt_without_deposits_and_payouts(lab: Lab) -> None:
    """Off from 00:45 to the next day 06:00. Before the reset 1,000 came in, after it 200 went out and 50 were lost.

    10,000 and 1,000 stood at the reset; the payout is as if it had been made before: 10,800.
    """
    lab.add("EURUSD", "M15", " ".join(["W"] * 200))
    lab.play(EURUSD, 3)
    moves: list[tuple[int, float, CashKind]] = [
        (20, 1000.0, "deposit"),
        (25, -200.0, "withdrawal"),
        (26, -50.0, "other"),
    ]
    for hours, amount, kind in moves:
        lab.clock.instant = float(T0 + hours * HOURS)
        move(lab, amount, kind, after=0)
    lab.at(T0 + 30 * HOURS + 1)
    anchors = anchors_of(lab)
    assert (anchors.day, anchors.day_start) == ("2024-01-09", T0 + 24 * HOURS)
    assert (anchors.day_balance, anchors.balance_source) == (1_080_000, "rebuilt")
    assert anchors.last_seen.balance == 1_075_000
    assert anchors.peak_eod_balance == 1_080_000
    assert [one.detail["amount"] for one in lab.events("cash_flow")] == [100_000, -20_000]


def test_a_balance_that_moved_unexplained_takes_no_entry_until_the_broker_tells(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.tick(0)
    move(lab, 2000.0, "deposit")
    install(monkeypatch, KeepsItsBooks)
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", "UNKNOWN_LOSS_BUDGET")
    assert refusal(lab) == ("UNKNOWN_LOSS_BUDGET", {"balance": 12_000.0})
    assert came_to(lab.tick(2), EURUSD) == ("OPEN", "SKIP", "UNKNOWN_LOSS_BUDGET")
    uninstall(monkeypatch)
    assert came_to(lab.tick(3), EURUSD) == OPENED
    assert anchors_of(lab).day_balance == 1_200_000
