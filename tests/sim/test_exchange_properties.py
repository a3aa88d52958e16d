"""What holds after any sequence of requests, and that the market does not care in how many steps it is played."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.sim.events import Event, Execution, Spot
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.values import OrderChange, OrderRequest, Rejection
from tests.market.build import COSTS, M15, T0
from tests.sim.folders import market

SYMBOLS = {"EURUSD": 1.1, "USDJPY": 150.0}
BARS = 40
STEP = 100_000
DIGITS = {1: 5, 2: 3}


def walk(price: float, seed: int, volatility: float) -> Bars:
    rng = np.random.default_rng(seed)
    close = price * np.exp(rng.normal(0, volatility, BARS).cumsum())
    open_ = np.concatenate([[price], close[:-1]]) * (1 + rng.choice([0, 0, volatility], BARS))
    wick = price * volatility * rng.random((2, BARS))
    high, low = np.maximum(open_, close) + wick[0], np.minimum(open_, close) - wick[1]
    times = T0 + M15 * np.arange(BARS, dtype=np.int64)
    keep = rng.random(BARS) < 0.9
    keep[0] = True
    return Bars(times, *(column.round(3) for column in (open_, high, low, close)), np.ones(BARS))[keep]


@dataclass(frozen=True)
class World:
    seed: int
    volatility: float
    hedged: bool
    balance: float

    def exchange(self, folder: Path) -> Exchange:
        series = {name: walk(price, self.seed + n, self.volatility) for n, (name, price) in enumerate(SYMBOLS.items())}
        costs = {"EURUSD": replace(COSTS, swap_long_points=-6.5, swap_short_points=2)}
        return market(
            folder, series, hedged=self.hedged, balance=self.balance, settings=costs, timeframes=["M15", "H1"]
        )


WORLDS = st.builds(
    World,
    seed=st.integers(0, 10_000),
    volatility=st.sampled_from([0.001, 0.01]),
    hedged=st.booleans(),
    balance=st.sampled_from([150.0, 10_000.0]),
)
SIDE = st.sampled_from([1, -1])
POINTS = st.integers(-400, 400)
RELATIVE = st.sampled_from([0, 0, 200, 1000, 5000])
SYMBOL = st.sampled_from([1, 2])
LOTS = st.integers(0, 12)
ENTER = st.tuples(st.just("market"), SYMBOL, SIDE, LOTS, RELATIVE, RELATIVE, st.booleans())
KIND = st.sampled_from(["LIMIT", "STOP", "STOP_LIMIT"])
PEND = st.tuples(st.just("pend"), KIND, SYMBOL, SIDE, LOTS, POINTS, RELATIVE, st.integers(0, 20 * M15))
CLOSE = st.tuples(st.just("close"), st.integers(0, 5), LOTS)
GUARD = st.tuples(st.just("guard"), st.integers(0, 5), POINTS, st.booleans())
CHANGE = st.tuples(st.just("change"), st.integers(0, 5), POINTS)
CANCEL = st.tuples(st.just("cancel"), st.integers(0, 5))
WAIT = st.tuples(st.just("wait"), st.integers(1, 8 * M15))
SCRIPTS = st.lists(st.one_of(ENTER, PEND, CLOSE, GUARD, CHANGE, CANCEL, WAIT, WAIT), max_size=25)


def price_near(exchange: Exchange, symbol_id: int, points: int) -> float:
    quote = exchange.quote(symbol_id)
    assert quote is not None
    return round(quote.bid + points * 10.0 ** -DIGITS[symbol_id], DIGITS[symbol_id])


def act(exchange: Exchange, step: tuple[Any, ...], parts: int) -> list[Event] | Rejection:
    """Carry out one step; a wait is played in so many parts."""
    account = exchange.account_ids[0]
    held, pending = exchange.reconcile(account)
    match step:
        case ("market", symbol, side, lots, stop, target, trailing):
            more: dict[str, Any] = {"relative_stop_loss": stop, "relative_take_profit": target}
            return exchange.place(
                account, OrderRequest(symbol, "MARKET", side, lots * STEP, trailing_stop=trailing, **more)
            )
        case ("pend", kind, symbol, side, lots, points, stop, life):
            price = price_near(exchange, symbol, points)
            prices: dict[str, Any] = {"limit_price": price} if kind == "LIMIT" else {"stop_price": price}
            if life:
                prices["expires_at"] = exchange.now + life
            request = OrderRequest(
                symbol, kind, side, lots * STEP, slippage_points=9, relative_stop_loss=stop, **prices
            )
            return exchange.place(account, request)
        case ("close", which, lots) if held:
            return exchange.close(account, held[which % len(held)].position_id, lots * STEP)
        case ("guard", which, points, trailing) if held:
            one = held[which % len(held)]
            stop = price_near(exchange, one.symbol_id, points)
            return exchange.amend_position(account, one.position_id, stop, None, trailing_stop=trailing)
        case ("change", which, points) if pending:
            view = pending[which % len(pending)]
            price = price_near(exchange, view.request.symbol_id, points)
            limit = view.request.limit_price is not None
            change = OrderChange(limit_price=price) if limit else OrderChange(stop_price=price)
            return exchange.amend_order(account, view.order_id, change)
        case ("cancel", which) if pending:
            return exchange.cancel(account, pending[which % len(pending)].order_id)
        case ("wait", seconds):
            start = exchange.now
            return [e for part in range(1, parts + 1) for e in exchange.advance(start + seconds * part / parts)]
    return []


def check(exchange: Exchange, world: World, events: list[Event]) -> None:
    account = exchange.account_ids[0]
    trader, (held, pending) = exchange.trader(account), exchange.reconcile(account)
    deals = exchange.deals(account, 0, exchange.now)
    made = sum(deal.close.gross_profit + deal.close.swap for deal in deals if deal.close)
    assert trader.balance == world.balance * 100 + made - sum(deal.commission for deal in deals)
    assert trader.used_margin == sum(view.used_margin for view in held)
    assert trader.equity == trader.balance + sum(one.gross + view.swap for one, view in zip(
        exchange.unrealised(account), held, strict=True))  # fmt: skip
    if not world.hedged:
        assert len({view.symbol_id for view in held}) == len(held)
    open_cents: dict[int, int] = {}
    for deal in deals:
        change = -deal.filled_cents if deal.closing else deal.filled_cents
        open_cents[deal.position_id] = open_cents.get(deal.position_id, 0) + change
    assert {key: cents for key, cents in open_cents.items() if cents} == {v.position_id: v.volume_cents for v in held}
    assert len({deal.deal_id for deal in deals}) == len(deals)
    known = exchange.orders(account, 0, exchange.now)
    assert all(view.status == "ACCEPTED" for view in pending)
    assert {view.order_id for view in known if view.status == "ACCEPTED"} == {
        view.order_id for view in (*pending, *exchange.protection_orders(account))
    }
    guarded = {view.position_id for view in held if view.stop_loss is not None or view.take_profit is not None}
    assert {view.position_id for view in exchange.protection_orders(account)} == guarded
    times = [event.time for event in events if isinstance(event, Spot | Execution)]
    assert all(before <= after for before, after in pairwise(times))


@settings(max_examples=40, deadline=None)
@given(WORLDS, st.lists(PEND, min_size=1, max_size=6))
def test_a_pending_order_fills_only_where_the_market_went(world: World, script: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        exchange = world.exchange(Path(folder))
        for step in script:
            act(exchange, step, 1)
        quotes = [spot for symbol_id in DIGITS if (spot := exchange.spot(symbol_id)) is not None]
        seen: dict[int, list[float]] = {}
        for event in [*quotes, *exchange.advance(T0 + BARS * M15)]:
            if isinstance(event, Spot):
                seen.setdefault(event.symbol_id, []).append(event.bid)
            elif isinstance(event, Execution) and event.deal is not None and not event.deal.closing:
                lately = seen[event.deal.symbol_id][-2:]
                spread = 7.1 * 10.0 ** -DIGITS[event.deal.symbol_id]
                assert min(lately) - 1e-9 <= event.deal.price <= max(lately) + spread


@settings(max_examples=60, deadline=None)
@given(WORLDS, SCRIPTS)
def test_no_sequence_of_requests_breaks_the_books(world: World, script: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        exchange = world.exchange(Path(folder))
        for step in script:
            found = act(exchange, step, 1)
            check(exchange, world, [] if isinstance(found, Rejection) else found)
        check(exchange, world, exchange.advance(T0 + BARS * M15))
        assert exchange.problems == {}


@settings(max_examples=40, deadline=None)
@given(WORLDS, SCRIPTS, st.integers(2, 9))
def test_the_same_requests_have_the_same_result_in_however_many_steps(
    world: World, script: list[tuple[Any, ...]], parts: int
) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        (Path(folder) / "b").mkdir()
        once, often = world.exchange(Path(folder) / "a"), world.exchange(Path(folder) / "b")
        for step in script:
            assert act(once, step, 1) == act(often, step, parts)
        account = once.account_ids[0]
        assert once.trader(account) == often.trader(account)
        assert once.orders(account, 0, once.now) == often.orders(account, 0, often.now)


def test_money_from_nowhere_would_be_noticed(tmp_path: Path) -> None:
    world = World(1, 0.001, True, 10_000.0)
    exchange = world.exchange(tmp_path)
    check(exchange, world, exchange.advance(T0 + M15))
    exchange.cash(exchange.account_ids[0], 1.0)
    with pytest.raises(AssertionError):
        check(exchange, world, [])
