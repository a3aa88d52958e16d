"""Orders on the exchange. EURUSD costs: 7 points spread, 2 slippage, 7.00 a lot; M15 bars show their prices at 0, 225,
675 and 899.1 seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from oracle_batch.market.spec_file import ScheduleSettings
from oracle_batch.sim.events import Event, Execution, MarginCalled, MarginChanged, TrailingStopMoved
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.values import OrderChange, Rejection
from tests.market.build import COSTS, M15, T0, bars
from tests.sim.folders import LOT, fills, kinds, market, of, order, place, refused, taken

STILL = (1.10,)
DIP = (1.10000, 1.10100, 1.09800, 1.10100)
"""Shown: 1.10000, 1.09800, 1.10100, 1.10100."""


def euro(folder: Path, *rows: tuple[float, ...], **options: Any) -> Exchange:
    return market(folder, {"EURUSD": bars(rows)}, **options)


def position_of(events: list[Event]) -> int:
    (position_id,) = {event.position_id for event in of(MarginChanged, events)}
    return position_id


def test_a_market_order_is_accepted_then_filled_then_protected(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    events = place(exchange, order(relative_stop_loss=100, relative_take_profit=200, label="mine", client_order_id="a"))
    assert kinds(events) == ["ORDER_ACCEPTED", "ORDER_FILLED", "ORDER_ACCEPTED"]
    accepted, filled, guard = of(Execution, events)
    assert [event.server for event in (accepted, filled, guard)] == [False, False, True]
    assert accepted.order is not None
    assert filled.deal is not None
    assert filled.position is not None
    assert guard.order is not None
    assert accepted.order.order_id == filled.deal.order_id
    assert (filled.deal.price, filled.deal.commission, filled.deal.label) == (1.10009, 35, "mine")
    assert (filled.position.stop_loss, filled.position.take_profit) == (1.09909, 1.10209)
    assert (guard.order.request.order_type, guard.order.closing) == ("STOP_LOSS_TAKE_PROFIT", True)
    assert exchange.reconcile(exchange.account_ids[0]) == ([filled.position], [])


def test_an_order_in_mid_bar_gets_the_price_of_the_moment(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    exchange.advance(T0 + 300)
    assert fills(place(exchange, order(direction=-1))) == [1.09798]


def test_a_stop_closes_as_the_servers_own_event_and_its_target_goes_with_it(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    opened = place(exchange, order(relative_stop_loss=100, relative_take_profit=900))
    events = exchange.advance(T0 + 226)
    (closed,) = of(Execution, events)
    assert (closed.kind, closed.server, closed.time) == ("ORDER_FILLED", True, T0 + 225)
    assert closed.deal is not None
    assert closed.deal.close is not None
    assert closed.deal.price == 1.09909
    assert closed.deal.close.balance == exchange.trader(exchange.account_ids[0]).balance == 1_000_000 - 1000 - 70
    assert closed.order is not None
    assert closed.order.order_id == of(Execution, opened)[-1].order.order_id  # type: ignore[union-attr]
    assert closed.order.status == "FILLED"


def test_a_close_cancels_the_protection_order(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    account = exchange.account_ids[0]
    position_id = position_of(place(exchange, order(relative_stop_loss=100)))
    part = taken(exchange.close(account, position_id, LOT // 20))
    assert kinds(part) == ["ORDER_ACCEPTED", "ORDER_FILLED", "ORDER_REPLACED"]
    rest = taken(exchange.close(account, position_id, LOT // 20))
    assert kinds(rest) == ["ORDER_ACCEPTED", "ORDER_FILLED", "ORDER_CANCELLED"]
    assert exchange.protection_orders(account) == []
    assert refused(exchange.close(account, position_id, LOT // 20)) == "POSITION_NOT_FOUND"


def test_a_market_range_order_beyond_its_range_is_cancelled(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    narrow = order("MARKET_RANGE", base_slippage_price=1.10007, slippage_points=1)
    assert kinds(place(exchange, narrow)) == ["ORDER_ACCEPTED", "ORDER_CANCELLED"]
    assert fills(place(exchange, replace(narrow, slippage_points=2))) == [1.10009]
    states = [view.status for view in exchange.orders(exchange.account_ids[0], 0, T0)]
    assert states == ["CANCELLED", "FILLED"]


@pytest.mark.parametrize(
    ("kind", "direction", "prices", "price", "when"),
    [
        ("LIMIT", 1, {"limit_price": 1.09900}, 1.09900, 225),
        ("LIMIT", -1, {"limit_price": 1.10050}, 1.10050, 675),
        ("STOP", 1, {"stop_price": 1.10050}, 1.10050, 675),
        ("STOP", -1, {"stop_price": 1.09900}, 1.09900, 225),
        ("STOP_LIMIT", 1, {"stop_price": 1.10050, "slippage_points": 5}, 1.10050, 675),
    ],
)
def test_a_pending_order_fills_when_the_price_gets_there(
    tmp_path: Path, kind: str, direction: int, prices: dict[str, Any], price: float, when: int
) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    (accepted,) = of(Execution, place(exchange, order(kind, direction, **prices)))
    waiting = exchange.reconcile(exchange.account_ids[0])[1]
    assert waiting == [accepted.order]
    assert not of(Execution, exchange.advance(T0 + when - 1))
    (filled,) = of(Execution, exchange.advance(T0 + when))
    assert filled.order is not None
    assert (filled.kind, filled.server, filled.order.order_id) == ("ORDER_FILLED", True, waiting[0].order_id)
    assert fills([filled]) == [price]
    assert exchange.reconcile(exchange.account_ids[0])[1] == []


def test_a_limit_that_the_market_has_reached_fills_at_the_better_quote(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    assert fills(place(exchange, order("LIMIT", limit_price=1.2))) == [1.10007]


def test_the_stop_of_a_pending_order_can_be_hit_on_the_way_on(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    place(exchange, order("LIMIT", limit_price=1.09950, stop_loss=1.09850))
    assert fills(exchange.advance(T0 + 225)) == [1.09950, 1.09850]


def test_a_pending_order_expires_at_its_time(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    place(exchange, order("LIMIT", limit_price=1.09900, time_in_force="GOOD_TILL_DATE", expires_at=T0 + 100.0))
    (ended,) = of(Execution, exchange.advance(T0 + 500))
    assert (ended.kind, ended.time, ended.server) == ("ORDER_EXPIRED", T0 + 100, True)


def test_an_order_that_is_for_now_or_never_does_not_wait(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    never = order("LIMIT", limit_price=1.09, time_in_force="IMMEDIATE_OR_CANCEL")
    assert kinds(place(exchange, never)) == ["ORDER_ACCEPTED", "ORDER_CANCELLED"]


def test_pending_orders_are_amended_and_cancelled(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    account = exchange.account_ids[0]
    (event,) = of(Execution, place(exchange, order("LIMIT", limit_price=1.05, relative_stop_loss=100)))
    assert event.order is not None
    order_id = event.order.order_id
    changed = taken(exchange.amend_order(account, order_id, OrderChange(limit_price=1.099, stop_loss=1.09)))
    assert kinds(changed) == ["ORDER_REPLACED"]
    request = exchange.reconcile(account)[1][0].request
    assert (request.limit_price, request.stop_loss, request.relative_stop_loss) == (1.099, 1.09, 0)
    assert refused(exchange.amend_order(account, order_id, OrderChange(stop_loss=1.2))) == "TRADING_BAD_STOPS"
    assert kinds(taken(exchange.cancel(account, order_id))) == ["ORDER_CANCELLED"]
    assert refused(exchange.cancel(account, order_id)) == "ORDER_NOT_FOUND"
    assert refused(exchange.amend_order(account, order_id, OrderChange())) == "ORDER_NOT_FOUND"
    assert not of(Execution, exchange.advance(T0 + M15))


def test_a_pending_order_without_money_is_rejected_when_its_price_comes(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL, balance=100)
    place(exchange, order("LIMIT", limit_price=1.099, volume=LOT))
    (rejected,) = of(Execution, exchange.advance(T0 + M15))
    assert (rejected.kind, rejected.code, rejected.server) == ("ORDER_REJECTED", "NOT_ENOUGH_MONEY", True)


def test_a_trailing_stop_keeps_its_distance_and_never_goes_back(tmp_path: Path) -> None:
    exchange = euro(tmp_path, (1.10, 1.105, 1.0995, 1.104), (1.104, 1.104, 1.1, 1.1))
    place(exchange, order(relative_stop_loss=200, trailing_stop=True))  # at 1.10009: stop 1.09809, 191 from the bid
    moved = of(TrailingStopMoved, exchange.advance(T0 + M15 - 1))
    assert [event.stop_price for event in moved] == [1.10309]
    assert exchange.protection_orders(exchange.account_ids[0])[0].request.stop_loss == 1.10309
    assert fills(exchange.advance(T0 + 2 * M15)) == [1.10309]


def test_amending_a_position_sets_both_prices_and_the_trailing_flag(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    account = exchange.account_ids[0]
    position_id = position_of(place(exchange, order()))
    first = taken(exchange.amend_position(account, position_id, 1.09, 1.12))
    assert kinds(first) == ["ORDER_ACCEPTED"]
    assert kinds(taken(exchange.amend_position(account, position_id, 1.095, None, trailing_stop=True))) == [
        "ORDER_REPLACED"
    ]
    (view,), _ = exchange.reconcile(account)
    assert (view.stop_loss, view.take_profit, view.trailing_stop) == (1.095, None, True)
    assert kinds(taken(exchange.amend_position(account, position_id, None, None))) == ["ORDER_CANCELLED"]
    assert refused(exchange.amend_position(account, position_id, 1.2, None)) == "TRADING_BAD_STOPS"
    assert refused(exchange.amend_position(account, 5, 1.2, None)) == "POSITION_NOT_FOUND"


def test_a_netted_account_merges_reduces_and_flips(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL, hedged=False)
    account = exchange.account_ids[0]
    place(exchange, order(relative_stop_loss=500))
    place(exchange, order())
    (merged,), _ = exchange.reconcile(account)
    assert merged.volume_cents == LOT // 5
    events = place(exchange, order(direction=-1, volume=LOT // 2))
    assert kinds(events) == ["ORDER_ACCEPTED", "ORDER_PARTIAL_FILL", "ORDER_CANCELLED", "ORDER_FILLED"]
    (flipped,), _ = exchange.reconcile(account)
    assert (flipped.direction, flipped.volume_cents) == (-1, LOT * 3 // 10)
    assert flipped.position_id != merged.position_id


def test_an_order_that_names_a_position_adds_to_it_or_closes_it(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    account = exchange.account_ids[0]
    position_id = position_of(place(exchange, order()))
    place(exchange, order())
    place(exchange, order(position_id=position_id))
    assert [view.volume_cents for view in exchange.reconcile(account)[0]] == [LOT // 5, LOT // 10]
    events = place(exchange, order(direction=-1, volume=LOT // 5, position_id=position_id, client_order_id="out"))
    deal = of(Execution, events)[1].deal
    assert deal is not None
    assert (deal.client_order_id, deal.closing) == ("out", True)
    assert refused(exchange.place(account, order(position_id=position_id))) == "POSITION_NOT_FOUND"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (order(symbol_id=9), "SYMBOL_NOT_FOUND"),
        (order(volume=0), "TRADING_BAD_VOLUME"),
        (order(volume=1), "TRADING_BAD_VOLUME"),
        (order("LIMIT", volume=7, limit_price=1.0), "TRADING_BAD_VOLUME"),
        (order(volume=LOT * 99), "NOT_ENOUGH_MONEY"),
        (order("STOP", stop_price=1.0), "TRADING_BAD_PRICES"),
        (order("LIMIT", limit_price=0.0), "TRADING_BAD_PRICES"),
        (order("LIMIT", limit_price=1.0, expires_at=float(T0)), "TRADING_BAD_EXPIRATION_DATE"),
        (order("LIMIT", limit_price=1.0, stop_loss=1.01), "TRADING_BAD_STOPS"),
        (order(guaranteed_stop=True), "INVALID_REQUEST"),
        (order(trailing_stop=True), "INVALID_REQUEST"),
        (order(relative_stop_loss=20), "PROTECTION_IS_TOO_CLOSE_TO_MARKET"),
        (order("LIMIT", limit_price=1.0, relative_stop_loss=5), "PROTECTION_IS_TOO_CLOSE_TO_MARKET"),
    ],
)
def test_an_impossible_order_is_refused_and_changes_nothing(tmp_path: Path, request_: Any, code: str) -> None:
    exchange = euro(tmp_path, STILL, STILL, settings={"EURUSD": replace(COSTS, min_stop_points=20)})
    account = exchange.account_ids[0]
    before = exchange.trader(account)
    assert refused(exchange.place(account, request_)) == code
    assert exchange.reconcile(account) == ([], [])
    assert exchange.trader(account) == before


def test_a_refused_order_is_on_record_as_rejected(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL)
    account = exchange.account_ids[0]
    found = exchange.place(account, order(volume=LOT * 99, client_order_id="big"))
    assert isinstance(found, Rejection)
    kept = exchange.order(account, found.order_id)
    assert kept is not None
    assert (kept[0].status, kept[0].request.client_order_id, kept[1]) == ("REJECTED", "big", [])


def test_trading_modes_let_close_or_nothing(tmp_path: Path) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    account = exchange.account_ids[0]
    position_id = position_of(place(exchange, order()))
    exchange.set_trading_mode(1, "CLOSE_ONLY_MODE")
    assert refused(exchange.place(account, order())) == "TRADING_DISABLED"
    taken(exchange.close(account, position_id, LOT // 20))
    exchange.set_trading_mode(1, "DISABLED_WITHOUT_PENDINGS_EXECUTION")
    assert refused(exchange.close(account, position_id, LOT // 20)) == "TRADING_DISABLED"


@pytest.mark.parametrize(("mode", "filled"), [("WITH", 1), ("WITHOUT", 0)])
def test_a_disabled_symbol_fills_pending_orders_only_where_it_says_so(tmp_path: Path, mode: str, filled: int) -> None:
    exchange = euro(tmp_path, DIP, STILL)
    place(exchange, order("LIMIT", limit_price=1.099))
    exchange.set_trading_mode(1, f"DISABLED_{mode}_PENDINGS_EXECUTION")  # type: ignore[arg-type]
    assert len(fills(exchange.advance(T0 + M15))) == filled


def test_a_closed_market_and_a_holiday_have_their_own_words(tmp_path: Path) -> None:
    hours = ScheduleSettings("UTC", ("Sun 00:00-Tue 23:10", "Wed 00:00-Sat 00:00"), ("2023-11-15",))
    exchange = euro(tmp_path, *[STILL] * 30, settings={"EURUSD": replace(COSTS, schedule=hours)})
    account = exchange.account_ids[0]  # T0 is Tuesday 2023-11-14 23:00
    position_id = position_of(place(exchange, order()))
    exchange.advance(T0 + 600)
    assert refused(exchange.place(account, order())) == "MARKET_CLOSED"
    assert refused(exchange.close(account, position_id, LOT // 10)) == "MARKET_CLOSED"
    assert kinds(place(exchange, order("LIMIT", limit_price=1.0))) == ["ORDER_ACCEPTED"]
    exchange.advance(T0 + 3600)
    assert refused(exchange.place(account, order())) == "SYMBOL_HAS_HOLIDAY"


def test_without_a_schedule_a_day_without_prices_is_a_closed_market(tmp_path: Path) -> None:
    friday, monday = bars([STILL]), bars([(1.2,)], start=T0 + 2 * 86400)
    exchange = market(tmp_path, {("EURUSD", "M15"): friday, ("EURUSD", "H1"): monday})
    exchange.advance(T0 + M15 + 1)
    assert refused(exchange.place(exchange.account_ids[0], order())) == "MARKET_CLOSED"
    exchange.advance(T0 + 2 * 86400 + 1)
    assert fills(place(exchange, order())) == [1.20009]


def test_margin_calls_come_before_the_stop_out_and_once(tmp_path: Path) -> None:
    falling = [(1.10 - n / 1000, 1.10 - n / 1000, 1.099 - n / 1000, 1.099 - n / 1000) for n in range(20)]
    exchange = euro(tmp_path, *falling, balance=200)
    account = exchange.account_ids[0]
    place(exchange, order(volume=LOT // 10, symbol_id=1))
    events = exchange.advance(T0 + 20 * M15)
    assert [event.call.level_pct for event in of(MarginCalled, events)] == [100, 75, 60]
    (out,) = of(Execution, events)
    assert out.order is not None
    assert (out.order.stop_out, out.order.closing, out.server) == (True, True, True)
    assert exchange.reconcile(account)[0] == []
    assert refused(exchange.update_margin_call(account, 4, 90)) == "INVALID_REQUEST"
    exchange.update_margin_call(account, 1, 120)
    assert [call.level_pct for call in exchange.margin_calls(account)] == [120, 75, 60]


def test_cash_moves_the_balance_and_is_remembered(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL)
    account = exchange.account_ids[0]
    (event,) = of(Execution, exchange.cash(account, -250.5, "rent"))
    assert event.cash is not None
    assert (event.kind, event.cash.delta, event.cash.balance) == ("DEPOSIT_WITHDRAW", -25050, 974_950)
    assert exchange.cash_flows(account, 0, T0) == [event.cash]
    assert exchange.trader(account).balance == 974_950


def test_a_night_books_swap_and_says_so(tmp_path: Path) -> None:
    night = 1_700_085_600  # Wednesday 2023-11-15 17:00 New York: three nights
    costs = {"EURUSD": replace(COSTS, swap_long_points=-5)}
    exchange = market(tmp_path, {"EURUSD": bars([STILL] * 9, start=night - M15)}, start=night - 60, settings=costs)
    place(exchange, order())
    (event,) = of(Execution, exchange.advance(night))
    assert event.position is not None
    assert (event.kind, event.position.swap, event.time) == ("SWAP", -150, night)


def test_margin_and_floating_profit_are_told(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, (1.101,))
    account = exchange.account_ids[0]
    assert exchange.expected_margin(account, 1, LOT) == (110_000, 110_000)
    place(exchange, order())
    exchange.advance(T0 + M15)
    (value,) = exchange.unrealised(account)
    assert (value.gross, value.net) == (910, 910 - 70)
    assert refused(exchange.expected_margin(account, 7, LOT)) == "SYMBOL_NOT_FOUND"


def test_accounts_share_the_market_and_nothing_else(tmp_path: Path) -> None:
    exchange = euro(tmp_path, STILL, STILL, accounts=2)
    first, second = exchange.account_ids
    mine = position_of(place(exchange, order()))
    theirs = position_of(taken(exchange.place(second, order())))
    assert mine != theirs
    assert refused(exchange.close(second, mine, LOT // 10)) == "POSITION_NOT_FOUND"
    assert len(exchange.deals(first, 0, T0)) == len(exchange.deals(second, 0, T0)) == 1
