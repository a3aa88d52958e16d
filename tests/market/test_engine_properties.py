"""What holds after any sequence of orders on any market."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.market.book import Book
from oracle_batch.market.engine import Engine
from oracle_batch.market.fills import Fill, Refusal
from oracle_batch.market.orders import Order
from tests.market.build import COSTS, M15, T0, market

FX_LOT = 10_000_000
BARS = 60
SYMBOLS = {"EURUSD": 1.1, "USDJPY": 150.0, "EURGBP": 0.85, "GBPUSD": 1.25}


def random_walk(price: float, seed: int, volatility: float) -> Bars:
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, volatility, BARS)))
    open_ = np.concatenate([[price], close[:-1]]) * (1 + rng.choice([0, 0, 0, volatility], BARS))
    wick = price * volatility * rng.random((2, BARS))
    high, low = np.maximum(open_, close) + wick[0], np.minimum(open_, close) - wick[1]
    open_, high, low, close = (column.round(5) for column in (open_, high, low, close))
    keep = rng.random(BARS) < 0.9
    keep[0] = True
    times = T0 + M15 * np.arange(BARS, dtype=np.int64)
    return Bars(times, open_, high, low, close, np.ones(BARS))[keep]


@dataclass(frozen=True)
class Market:
    """A random market and the account on it."""

    seed: int
    volatility: float
    currency: str
    hedged: bool
    leverage: float

    def engine(self, book: Book | None = None) -> Engine:
        series = {
            name: random_walk(price, self.seed + n, self.volatility) for n, (name, price) in enumerate(SYMBOLS.items())
        }
        options: dict[str, Any] = {
            "balance": 150_000 if self.currency == "JPY" else 1000,
            "currency": self.currency,
            "hedged": self.hedged,
        }
        costs = {"EURUSD": replace(COSTS, swap_long_points=-6.5, swap_short_points=2, min_stop_points=20)}
        return market(series, leverage=self.leverage, book=book, settings=costs, **options)


MARKETS = st.builds(
    Market,
    seed=st.integers(0, 10_000),
    volatility=st.sampled_from([0.0005, 0.005, 0.05]),
    currency=st.sampled_from(["USD", "EUR", "JPY"]),
    hedged=st.booleans(),
    leverage=st.sampled_from([1.0, 100.0, 500.0]),
)
LOTS = st.integers(0, 30).map(lambda hundredths: hundredths * FX_LOT // 100)
DISTANCE = st.one_of(st.none(), st.floats(0.0001, 0.05))
OPEN = st.tuples(st.just("open"), st.sampled_from(sorted(SYMBOLS)), st.sampled_from([1, -1]), LOTS, DISTANCE, DISTANCE)
CLOSE = st.tuples(st.just("close"), st.integers(0, 5), st.integers(1, 100))
AMEND = st.tuples(st.just("amend"), st.integers(0, 5), DISTANCE)
WAIT = st.tuples(st.just("wait"), st.integers(1, 10 * M15))
STEPS = st.lists(st.one_of(OPEN, CLOSE, AMEND, WAIT), max_size=25)


def act(engine: Engine, step: tuple[Any, ...]) -> Fill | Refusal | None:
    """Carry out one step; what it refers to is taken from the positions there are."""
    now = engine.book.clock
    positions = engine.book.positions
    match step:
        case ("open", symbol, direction, volume, stop, target):
            quote = engine.quote(symbol)
            assert quote is not None
            price = quote.bid
            loss = None if stop is None else price * (1 - direction * stop)
            profit = None if target is None else price * (1 + direction * target)
            return engine.open(Order(symbol, direction, volume, decided_at=now, stop_loss=loss, take_profit=profit))
        case ("close", which, percent) if positions:
            position = positions[which % len(positions)]
            part = position.volume_cents * percent // 100 // (FX_LOT // 100) * (FX_LOT // 100)
            return engine.close(position.position_id, part, decided_at=now)
        case ("amend", which, stop) if positions:
            position = positions[which % len(positions)]
            level = None if stop is None else position.mark * (1 - position.direction * stop)
            return engine.amend(position.position_id, level, None)
        case ("wait", seconds):
            engine.advance(now + seconds)
    return None


def check(engine: Engine) -> None:
    book = engine.book
    assert not engine.problems
    assert book.balance == book.initial_balance + sum(deal.profit + deal.swap - deal.commission for deal in book.deals)
    value = engine.valuation()
    assert value.equity == book.balance + sum(value.floating.values())
    assert set(value.floating) == {position.position_id for position in book.positions}
    assert [deal.deal_id for deal in book.deals] == list(range(1, book.next_deal_id))
    assert all(deal.commission >= 0 for deal in book.deals)
    assert all(not deal.profit for deal in book.deals if not deal.closing)
    open_volume: dict[int, int] = defaultdict(int)
    for deal in book.deals:
        open_volume[deal.position_id] += -deal.volume_cents if deal.closing else deal.volume_cents
    assert {key: volume for key, volume in open_volume.items() if volume} == {
        position.position_id: position.volume_cents for position in book.positions
    }
    assert all(position.margin >= 0 and position.commission >= 0 for position in book.positions)
    if not book.hedged:
        symbols = [position.symbol for position in book.positions]
        assert len(symbols) == len(set(symbols))


@settings(max_examples=120, deadline=None)
@given(MARKETS, STEPS)
def test_no_sequence_of_orders_breaks_the_books(world: Market, steps: list[tuple[Any, ...]]) -> None:
    engine = world.engine()
    for step in steps:
        before = engine.book
        found = act(engine, step)
        if isinstance(found, Refusal):
            assert engine.book == before
        check(engine)
    engine.advance(T0 + BARS * M15)
    check(engine)


@settings(max_examples=60, deadline=None)
@given(MARKETS, STEPS, STEPS)
def test_a_book_written_and_read_midway_has_the_same_future(
    world: Market, first: list[tuple[Any, ...]], then: list[tuple[Any, ...]]
) -> None:
    engine = world.engine()
    for step in first:
        act(engine, step)
    copy = world.engine(msgspec.json.decode(msgspec.json.encode(engine.book), type=Book))
    assert copy.book == engine.book
    for step in then:
        assert act(copy, step) == act(engine, step)
        assert copy.book == engine.book


@settings(max_examples=60, deadline=None)
@given(MARKETS, STEPS)
def test_closing_everything_leaves_no_margin_and_equity_is_balance(world: Market, steps: list[tuple[Any, ...]]) -> None:
    engine = world.engine()
    for step in steps:
        act(engine, step)
    for position in engine.book.positions:
        closed = engine.close(position.position_id, position.volume_cents, decided_at=engine.book.clock)
        assert isinstance(closed, Fill)
    assert engine.book.positions == ()
    assert engine.book.margin_used == 0
    assert engine.valuation().equity == engine.book.balance


@settings(max_examples=60, deadline=None)
@given(MARKETS, st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_a_round_turn_costs_its_commission_however_it_is_cut(world: Market, parts: list[int]) -> None:
    engine = world.engine()
    engine.book = msgspec.structs.replace(engine.book, balance=10**12, initial_balance=10**12)
    hundredth = FX_LOT // 100
    opened = engine.open(Order("EURUSD", 1, sum(parts) * hundredth, decided_at=T0))
    assert isinstance(opened, Fill)
    for part in parts:
        engine.close(opened.position_id, part * hundredth, decided_at=T0)
    paid = sum(deal.commission for deal in engine.book.deals)
    assert abs(paid - 7 * sum(parts)) <= len(parts)
    assert engine.book.positions == ()
