"""How the books change: by answers, by ends without us, by what the broker holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_

from oracle_batch.broker.base import Ack, CloseCause, CloseIntent, CloseReason, Deal, OpenIntent, Position
from oracle_batch.hands import ledger
from oracle_batch.hands.account_risk import AccountRisk, reset, with_end
from oracle_batch.hands.anchors import AccountMoney, paused, start
from oracle_batch.hands.books import HeldPosition, ModelBooks, PendingClose, Waiting
from oracle_batch.hands.limit_rules import own_rules
from oracle_batch.hands.outcome import answer, conclude
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.trade_log import ClosedTrade, Streak, TradeLog
from oracle_batch.hands.watch import Upkeep, Watch

MODEL = "EURUSD_M15"
HELD = HeldPosition(7, 1, 2, 300_000, 1.1, 900.0)
OPEN = OpenIntent("ob-EURUSD_M15-900-1", MODEL, "EURUSD", 1, 2, 300_000, "oracle:EURUSD_M15", "", 1800.0, 1860.0)
CLOSE = CloseIntent("ob-EURUSD_M15-900-0", MODEL, "EURUSD", 7, 300_000, 1800.0)
POSITION = Position(7, "EURUSD", 1, 300_000, 1.1, 900.0, "oracle:EURUSD_M15", "O|2.0|3|2|2|10000|0.0|0.00")


def deal(
    position: int = 7, *, closing: bool, profit: float = 0.0, reason: CloseReason = "order", client: str = ""
) -> Deal:
    return Deal(1, 1, client, position, "", "EURUSD", 1, 300_000, 1.1, 1801.0, closing, reason, profit, 0.1)


FILLED = Ack(OPEN.intent_id, "OK", None, 7, 1.1, 0.0, (deal(closing=False, client=OPEN.intent_id),))
DONE = Ack(CLOSE.intent_id, "OK", None, 7, 1.1, 0.0, (deal(closing=True, profit=5.0),))


def test_a_filled_entry_is_held_and_waits_for_nothing() -> None:
    books = ledger.after_ack(ModelBooks(waiting=Waiting("missed", 1)), OPEN, FILLED)
    assert books.position == HeldPosition(7, 1, 2, 300_000, 1.1, 1801.0, commission=0.1)
    assert books.waiting is None


@pytest.mark.parametrize("status", ["FAIL", "SKIP"])
def test_an_entry_that_came_to_nothing_is_missed(status: str) -> None:
    books = ledger.after_ack(ModelBooks(), OPEN, Ack(OPEN.intent_id, status, "NO"))  # type: ignore[arg-type]
    assert books == ModelBooks(waiting=Waiting("missed", 1))


def test_an_unknown_outcome_changes_nothing() -> None:
    books = ModelBooks(position=HELD, waiting=Waiting("missed", -1))
    for leg in (OPEN, CLOSE):
        assert ledger.after_ack(books, leg, Ack(leg.intent_id, "UNKNOWN")) == books


@pytest.mark.parametrize(("profit", "losses"), [(5.0, 0), (0.05, 3), (-5.0, 3)])
def test_losses_in_a_row_are_counted_net_of_commission(profit: float, losses: int) -> None:
    two = AccountRisk(trades=TradeLog(models={MODEL: Streak(2, 900.0)}))
    end = ledger.ended(7, [deal(closing=True, profit=profit)])
    after = with_end(two, MODEL, "EURUSD", end, 2000.0, 86400.0)
    assert after.trades.streak(MODEL).losses == losses
    assert [(one.time, one.net) for one in after.trades.trades] == [(1801.0, end.net)]


def test_a_trade_costs_what_its_opening_cost_too() -> None:
    held = with_(HELD, commission=0.35)
    done = Ack(CLOSE.intent_id, "OK", None, 7, 1.1, 0.0, (replace(deal(closing=True, profit=0.5), swap=-0.1),))
    end = ledger.ended_by(ModelBooks(position=held), CLOSE, done)
    assert end.net == pytest.approx(0.5 - 0.1 - 0.1 - 0.35)
    after = with_end(AccountRisk(), MODEL, "EURUSD", end, 2000.0, 86400.0)
    assert after.trades.streak(MODEL).losses == 1, "0.30 for both sides' commission and the swap: a loss"


def test_the_cost_of_the_opening_is_told_by_its_deal_or_by_the_books_whichever_knows_more() -> None:
    opened, closed = deal(closing=False), deal(closing=True, profit=1.0)
    assert ledger.ended(7, [opened, closed]).opening_commission == 0.1
    assert ledger.ended(7, [closed], opening_commission=0.3).opening_commission == 0.3
    assert ledger.ended(7, [opened, closed], opening_commission=0.05).opening_commission == 0.1


def test_a_close_by_another_position_than_the_one_held_costs_only_itself() -> None:
    other = with_(HELD, position_id=8, commission=9.0)
    assert ledger.ended_by(ModelBooks(position=other), CLOSE, DONE).opening_commission == 0.0


def test_a_position_that_was_closed_in_part_has_cost_all_the_same() -> None:
    half = replace(POSITION, volume_cents=150_000, commission=0.05)
    left = ledger.adopted(ModelBooks(position=with_(HELD, commission=0.1)), half).position
    assert left is not None
    assert (left.volume_cents, left.commission, left.in_parts) == (150_000, 0.1, True)


def test_an_end_without_deals_is_remembered_as_of_now() -> None:
    after = with_end(AccountRisk(), MODEL, "EURUSD", ledger.ended(7, []), 2000.0, 86400.0)
    assert after.trades.trades[0] == ClosedTrade(MODEL, "EURUSD", 2000.0, 0, "manual")


def test_a_position_that_is_gone_takes_its_watch_along() -> None:
    watched = ModelBooks(position=HELD, watch=Watch(7, 1.09, None, 1.1, False, Upkeep()))
    assert ledger.after_ack(watched, CLOSE, DONE).watch is None
    assert ledger.after_end(watched, ledger.ended(7, [])).watch is None


def test_the_operators_reset_forgives_the_streaks_and_keeps_the_anchors() -> None:
    rules = own_rules(4.0, 8.0)
    anchors = paused(start(rules, 0.0, AccountMoney(1000, 1000, 2), 1000)[0], "maximum", rules, 0.0)
    risk = AccountRisk(anchors=anchors, trades=TradeLog(account=Streak(9, 1.0)), target_reached=5.0)
    after = reset(risk)
    assert after.anchors is not None
    assert (after.anchors.pause, after.anchors.day_balance) == (None, 1000)
    assert (after.trades.account.losses, after.target_reached) == (0, None)


@pytest.mark.parametrize(("cause", "waiting"), [("signal", None), ("emergency", "emergency"), ("operator", "operator")])
def test_a_close_waits_by_its_cause(cause: CloseCause, waiting: str | None) -> None:
    books = ledger.after_ack(ModelBooks(position=HELD), replace(CLOSE, cause=cause), DONE)
    assert books.waiting == (None if waiting is None else Waiting(waiting, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["stop_loss", "take_profit", "stop_out"])
def test_a_stop_that_was_quicker_than_our_close_keeps_its_cause(reason: CloseReason) -> None:
    ack = replace(DONE, reason="ALREADY_CLOSED", deals=(deal(closing=True, reason=reason),))
    books = ledger.after_ack(ModelBooks(position=HELD), CLOSE, ack)
    assert books.waiting == Waiting("stopped", 1)
    plan = ModelPlan(MODEL, 900, 1, "CLOSE", Waiting("missed", 1), CLOSE)
    assert conclude(books, plan, [ack]).waiting == Waiting("stopped", 1)
    assert conclude(books, with_(plan, action=4, waiting=Waiting("missed", -1)), [ack]).waiting == Waiting("missed", -1)
    assert conclude(books, with_(plan, action=0, waiting=None), [ack]).waiting is None


def test_a_refused_close_is_pending_since_the_first_refusal() -> None:
    refused = Ack(CLOSE.intent_id, "FAIL", "MARKET_CLOSED")
    books = ledger.after_ack(ModelBooks(position=HELD), CLOSE, refused)
    assert books.pending_close == PendingClose(7, 1800.0, "signal")
    again = ledger.after_ack(books, replace(CLOSE, decided_at=2700.0), refused)
    assert again == books
    assert ledger.after_ack(again, CLOSE, DONE).pending_close is None


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("stop_loss", "stopped"),
        ("take_profit", "stopped"),
        ("stop_out", "stopped"),
        ("manual", "manual"),
        ("order", "manual"),
    ],
)
def test_an_end_without_us_has_a_cause(reason: CloseReason, cause: str) -> None:
    result = ledger.ended(7, [deal(closing=True, reason=reason, profit=-1.0), deal(8, closing=True, profit=99.0)])
    books = ledger.after_end(ModelBooks(position=HELD), result)
    assert books == ModelBooks(waiting=Waiting(cause, 1))  # type: ignore[arg-type]
    assert (result.net, result.time) == (-1.1, 1801.0)


def test_an_end_that_the_broker_does_not_explain_is_somebodys_hand() -> None:
    result = ledger.ended(7, [])
    assert (result.reason, result.time) == ("manual", None)


def test_the_intensity_is_read_from_the_comment_then_the_books_never_from_the_volume() -> None:
    foreign = replace(POSITION, comment="by hand")
    assert ledger.real_intensity(POSITION, ModelBooks()) == 2
    assert ledger.real_intensity(POSITION, ModelBooks(position=with_(HELD, intensity=3))) == 2
    assert ledger.real_intensity(POSITION, ModelBooks(position=with_(HELD, intensity=3, relabelled=True))) == 3
    assert ledger.real_intensity(foreign, ModelBooks(position=HELD)) == 2
    assert ledger.real_intensity(foreign, ModelBooks(position=with_(HELD, position_id=8))) is None
    assert ledger.real_intensity(foreign, ModelBooks()) is None


def test_a_position_that_lost_a_part_is_held_with_what_is_left() -> None:
    books = ledger.adopted(ModelBooks(position=HELD), replace(POSITION, volume_cents=100_000))
    assert books.position == with_(HELD, volume_cents=100_000, in_parts=True)
    assert ledger.adopted(books, replace(POSITION, volume_cents=100_000)) is books
    assert ledger.adopted(ModelBooks(), replace(POSITION, comment="")) == ModelBooks()


# what a plan comes to


@pytest.mark.parametrize(
    ("close", "entry", "word", "reason"),
    [
        ("OK", "OK", "OK", None),
        ("OK", "FAIL", "FAIL", "entry"),
        ("OK", "SKIP", "SKIP", "entry"),
        ("FAIL", "FAIL", "FAIL", "entry"),
        ("UNKNOWN", "FAIL", "UNKNOWN", "close"),
        ("FAIL", "UNKNOWN", "UNKNOWN", "entry"),
        ("OK", "UNKNOWN", "UNKNOWN", "entry"),
    ],
)
def test_a_reversal_reports_its_worse_leg(close: str, entry: str, word: str, reason: str | None) -> None:
    plan = ModelPlan(MODEL, 900, 5, "CLOSE_OPEN", None, CLOSE, OPEN)
    acks = [
        Ack(leg.intent_id, status, None if status == "OK" else name)  # type: ignore[arg-type]
        for leg, status, name in ((CLOSE, close, "close"), (OPEN, entry, "entry"))
    ]
    assert answer(plan, acks) == (word, reason)


def test_a_refused_entry_is_worse_than_its_confirmed_close() -> None:
    plan = ModelPlan(MODEL, 900, 5, "CLOSE_OPEN", Waiting("missed", -1), CLOSE, None, "LATE")
    assert answer(plan, [DONE]) == ("SKIP", "LATE")
    assert answer(ModelPlan(MODEL, 900, 0, "NOOP", None), []) == (None, None)
