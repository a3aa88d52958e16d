"""Stops and targets between bars: break-even, trailing, and what went missing. All numbers are worked by hand.

A hundredth of a lot EURUSD is 1,000 units: 0.0010 is 1 USD. The lab's costs: spread 0.00007, slippage 0.00002,
commission 7 USD a lot and round turn, which is 0.00007.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from oracle_batch.broker.base import Ack, AmendIntent, Gate, Request
from oracle_batch.errors import BrokerError
from oracle_batch.hands.trade_log import counted
from oracle_batch.store import executor as executor_file
from tests.guard.acts import START, STOP, guarded, minute, prices, report, risk, scheduled, spoil, stops, watched
from tests.tick.fakes import Wrapped
from tests.tick.lab import Lab, tree
from tests.tick.test_sync_scenarios import EURUSD, LABEL, opened, waiting

EVEN = 1.10018
"""Entry 1.10009, commission of both sides 0.00007, slippage 0.00002."""


class RefusesAmends(Wrapped):
    """A market in which protection cannot be changed."""

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if any(isinstance(one, AmendIntent) for one in intents):
            return [Ack(one.intent_id, "FAIL", "TRADING_BAD_STOPS") for one in intents]
        return await super().execute(intents, gate)


class LosesAmends(Wrapped):
    """A line that breaks while an amendment is out."""

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if any(isinstance(one, AmendIntent) for one in intents):
            raise BrokerError("the line is gone")
        return await super().execute(intents, gate)


def watch(lab: Lab) -> tuple[float | None, float, bool]:
    found = lab.books().models[EURUSD].watch
    assert found is not None
    return found.stop_loss, found.best_price, found.breakeven_done


# break-even


def test_the_stop_goes_to_entry_plus_costs_once(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab, breakeven_usd=1.0)
    prices(lab, 1.1, 1.1010, 1.1011, 1.1030, 1.1040)
    assert guarded(lab, minute(1)).amends == ()  # 1.1010 - 1.10009 makes 0.91 USD
    (amend,) = guarded(lab, minute(2)).amends
    assert (amend.ack, amend.stop_loss, amend.take_profit) == ("OK", EVEN, None)
    assert stops(lab) == [EVEN]
    assert guarded(lab, minute(3)).amends == guarded(lab, minute(4)).amends == ()
    assert watch(lab) == (EVEN, 1.1040, True)


def test_a_target_stays_when_the_stop_moves(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab, target=1.12, breakeven_usd=1.0)
    prices(lab, 1.1, 1.1020)
    (amend,) = guarded(lab, minute(1)).amends
    assert (amend.stop_loss, amend.take_profit) == (EVEN, 1.12)
    assert lab.account()["positions"][0]["take_profit"] == 1.12


def test_a_stop_at_break_even_ends_the_trade_without_a_loss(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab, breakeven_usd=1.0)
    prices(lab, 1.1, 1.1020, 1.1001)
    guarded(lab, minute(1))
    found = guarded(lab, minute(2))
    assert found.closes == ()
    assert lab.positions() == []
    assert waiting(lab) == ("stopped", 1)
    deals = lab.account()["deals"]
    # Bids of 1.1020 and 1.1001 bracket the stop by a bar's open, so it fills at that open: 1.1001.
    assert deals[-1]["reason"] == "stop_loss"
    assert [one.reason for one in lab.journal() if type(one).__name__ == "Close"] == ["stop_loss"]


# trailing


def test_the_stop_follows_in_steps_and_never_back(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0, trail_step_usd=0.5)
    prices(lab, 1.1, 1.1003, 1.1007, 1.1001, 1.1009, 1.1003, 1.1012)
    seen = []
    for number in range(1, 7):
        guarded(lab, minute(number))
        seen.append((stops(lab)[0], watch(lab)[1]))
    assert seen == [
        (STOP, 1.1003),  # 1.0983 would be 0.21 USD better
        (1.0987, 1.1007),
        (1.0987, 1.1007),  # the market fell
        (1.0987, 1.1009),  # 1.0989 would be 0.20 USD better
        (1.0987, 1.1009),  # every guard starts from the files: the best price is remembered
        (1.0992, 1.1012),
    ]
    intents = [one for one in lab.journal() if isinstance(one, AmendIntent)]
    assert [one.stop_loss for one in intents] == [1.0987, 1.0992]


def test_the_amendment_is_in_the_journal_before_it_leaves(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0)
    prices(lab, 1.1, 1.1030)
    seen: list[int] = []

    class Looks(Wrapped):
        async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
            seen.append(sum(isinstance(one, AmendIntent) for one in lab.journal()))
            return await super().execute(intents, gate)

    spoil(monkeypatch, Looks)
    guarded(lab, minute(1))
    assert seen == [1]
    ack = next(one for one in lab.journal() if getattr(one, "intent_id", "").endswith("-a1") and hasattr(one, "wire"))
    assert (ack.status, ack.model) == ("OK", EURUSD)


def test_a_lost_answer_is_asked_again_by_looking(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0)
    prices(lab, 1.1, 1.1030, 1.1030)
    spoil(monkeypatch, LosesAmends)
    found = report(lab, minute(1))
    assert [one.ack for one in found.accounts["paper"].amends] == ["UNKNOWN"]
    assert found.exit_code == 1
    spoil(monkeypatch, lambda broker: broker)
    assert [one.ack for one in guarded(lab, minute(2)).amends] == ["OK"]
    assert stops(lab) == [1.1010]


# missing stops


def test_a_missing_stop_is_put_back(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    prices(lab, 1.1, 1.0995)
    found = guarded(lab, minute(1))
    assert [(one.ack, one.stop_loss) for one in found.amends] == [("OK", STOP)]
    assert (stops(lab), found.closes) == ([STOP], ())


def test_a_missing_target_is_put_back_too(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab, target=1.11)
    lab.protect(1, STOP, None)
    prices(lab, 1.1, 1.1005)
    assert [(one.stop_loss, one.take_profit) for one in guarded(lab, minute(1)).amends] == [(STOP, 1.11)]


def test_a_position_beyond_its_missing_stop_is_closed_with_an_alert(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    prices(lab, 1.1, 1.0979)
    found = guarded(lab, minute(1))
    assert [(one.ack, one.why) for one in found.closes] == [("OK", "UNPROTECTED")]
    assert (lab.positions(), waiting(lab)) == ([], ("emergency", 1))
    (event,) = lab.events("unprotected")
    assert event.detail == {"position_id": 1, "stop_loss": STOP, "at_broker": None, "reason": "STOP_PASSED"}
    assert any(one.levelname == "ERROR" and "closing position 1" in one.message for one in caplog.records)


def test_a_stop_that_the_broker_refuses_is_replaced_by_a_close(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    prices(lab, 1.1, 1.1)
    spoil(monkeypatch, RefusesAmends)
    found = guarded(lab, minute(1))
    assert [(one.ack, one.reason) for one in found.amends] == [("FAIL", "TRADING_BAD_STOPS")]
    assert [(one.ack, one.why) for one in found.closes] == [("OK", "UNPROTECTED")]
    assert lab.positions() == []


def test_a_refused_move_changes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0)
    prices(lab, 1.1, 1.1030)
    spoil(monkeypatch, RefusesAmends)
    found = guarded(lab, minute(1))
    assert ([one.ack for one in found.amends], found.closes) == (["FAIL"], ())
    assert (stops(lab), watch(lab)) == ([STOP], (STOP, 1.1030, False))


# requests of the day


def used(lab: Lab, requests: int) -> None:
    """Let so many trade requests have been sent today."""
    guarded(lab, minute(0))  # makes the day's anchors
    books = lab.books()
    assert books.risk.anchors is not None
    trades = counted(books.risk.trades, books.risk.anchors.day_start, requests=requests)
    after = replace(books, risk=replace(books.risk, trades=trades))
    lab.workspace.executor_path("paper").write_bytes(executor_file.encode(after))


@pytest.mark.parametrize(("requests", "moves"), [(7, True), (8, False)])
def test_at_80_percent_of_the_days_requests_stops_are_not_moved_any_more(lab: Lab, requests: int, moves: bool) -> None:
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0)
    prices(lab, 1.1, 1.1030)
    risk(lab, max_trade_requests_day=10)
    already = lab.books().risk.trades.day.requests
    used(lab, requests - already)
    found = guarded(lab, minute(1))
    assert (len(found.amends), found.closes) == (int(moves), ())
    assert watch(lab)[:2] == (1.1010 if moves else STOP, 1.1030)
    assert lab.books().risk.trades.day.requests == requests + moves


def test_then_a_missing_stop_means_a_close(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    prices(lab, 1.1, 1.1)
    risk(lab, max_trade_requests_day=10)
    lab.protect(1, STOP)
    used(lab, 8)
    lab.protect(1, None)
    found = guarded(lab, minute(1))
    assert (found.amends, [one.why for one in found.closes]) == ((), ["UNPROTECTED"])
    assert lab.positions() == []


# what is left alone


def test_a_position_that_nobody_watches_is_left_alone(lab: Lab) -> None:
    opened(lab, "L1")
    prices(lab, 1.1, 1.15)
    assert guarded(lab, minute(1)).amends == ()
    assert lab.positions() == [(LABEL, 1, 100_000)]


def test_a_closed_market_is_asked_for_nothing(lab: Lab) -> None:
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    scheduled(lab, "UTC", ["Mon 00:00-Mon 00:31", "Mon 01:00-Fri 22:00"])
    guarded(lab, START + 90)
    before = tree(lab.workspace.state)
    found = guarded(lab, START + 150)
    assert (found.amends, found.closes) == ((), ())
    assert tree(lab.workspace.state) == before
    assert len(guarded(lab, START + 1800).amends) == 1
