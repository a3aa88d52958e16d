"""Swap, with numbers worked by hand. T0 is Tuesday 2023-11-14 23:00 UTC, an hour after New York's rollover."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.market.engine import Engine
from oracle_batch.market.fills import Fill, Refusal
from oracle_batch.market.orders import Order
from oracle_batch.market.swaps import next_rollover
from tests.market.build import COSTS, T0, bars, market

FX_LOT = 10_000_000
HOUR = 3600
WEDNESDAY = T0 + 23 * HOUR
"""Its rollover: 17:00 in New York is 22:00 UTC in winter."""
SWAPPED = replace(COSTS, swap_long_points=-6.5, swap_short_points=2)
NIGHTLY = {"EURUSD": SWAPPED, "USDJPY": replace(COSTS, swap_long_points=3, swap_short_points=-10)}


def hourly(price: float, hours: int = 24 * 8) -> Bars:
    return bars([(price,)] * hours, seconds=HOUR)


def holding(symbol: str = "EURUSD", direction: int = 1, price: float = 1.1, **more: Any) -> Engine:
    engine = market({(symbol, "H1"): hourly(price)}, settings={symbol: NIGHTLY[symbol]}, **more)
    assert isinstance(engine.open(Order(symbol, direction, FX_LOT // 10, engine.book.clock)), Fill)
    return engine


def swap(engine: Engine) -> int:
    (position,) = engine.book.positions
    return position.swap


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()


@pytest.mark.parametrize(
    ("after", "expected", "nights"),
    [
        ("2024-01-22 16:59:59", "2024-01-22 17:00", 1),
        ("2024-01-22 17:00", "2024-01-23 17:00", 1),
        ("2024-01-23 17:00", "2024-01-24 17:00", 3),
        ("2024-01-26 17:00", "2024-01-29 17:00", 1),  # no night ends at a weekend
        ("2024-01-27 12:00", "2024-01-29 17:00", 1),
        ("2024-03-08 17:00", "2024-03-11 17:00", 1),  # over the start of summer time
        ("2024-11-01 17:00", "2024-11-04 17:00", 1),  # over its end
    ],
)
def test_nights_end_at_five_in_new_york_on_weekdays(after: str, expected: str, nights: int) -> None:
    assert next_rollover(at(after)) == (at(expected), nights)


def test_a_week_has_seven_nights() -> None:
    instant, nights = at("2024-03-04 17:00"), 0
    while instant < at("2024-03-11 17:00"):
        instant, more = next_rollover(instant)
        nights += more
    assert (instant, nights) == (at("2024-03-11 17:00"), 7)


def test_a_long_euro_position_pays_nightly_and_three_times_on_wednesday() -> None:
    engine = holding()
    balance, floating = engine.book.balance, engine.valuation().floating[1]
    engine.advance(WEDNESDAY - 1)
    assert swap(engine) == 0
    engine.advance(WEDNESDAY)
    assert swap(engine) == -195  # 10,000 · −0.000065 = −0.65, three times
    engine.advance(WEDNESDAY + 24 * HOUR)
    assert swap(engine) == -260
    engine.advance(WEDNESDAY + 5 * 24 * HOUR - 1)
    assert swap(engine) == -325  # Friday's; none at the weekend
    engine.advance(WEDNESDAY + 5 * 24 * HOUR)
    assert swap(engine) == -390
    assert engine.book.balance == balance
    assert engine.valuation().floating[1] == floating - 390
    assert engine.valuation().equity == balance + floating - 390


def test_swap_enters_the_balance_with_the_close() -> None:
    engine = holding(direction=-1)
    engine.advance(WEDNESDAY)
    assert swap(engine) == 60
    equity = engine.valuation().equity
    closed = engine.close(1, FX_LOT // 10, decided_at=WEDNESDAY)
    assert isinstance(closed, Fill)
    (deal,) = closed.deals
    assert (deal.profit, deal.swap, deal.commission) == (-110, 60, 35)
    assert engine.book.balance == 1_000_000 - 35 - 110 + 60 - 35
    assert engine.book.balance == equity - 20 - 35  # slippage and the closing commission


def test_swap_converts_at_the_rate_of_its_night() -> None:
    engine = holding("USDJPY", -1, 150.0)
    engine.advance(WEDNESDAY)
    assert swap(engine) == -200  # 10,000 · −0.010 · 3 = −300 JPY / 150


def test_a_partial_close_takes_its_share() -> None:
    engine = holding()
    engine.advance(WEDNESDAY)
    closed = engine.close(1, FX_LOT * 3 // 100, decided_at=WEDNESDAY)
    assert isinstance(closed, Fill)
    assert closed.deals[0].swap == -59  # 58.5, half away from zero
    assert swap(engine) == -136


def test_a_stop_that_fires_before_the_night_ends_pays_nothing_and_one_after_it_pays() -> None:
    rows = [(1.1,)] * 22 + [(1.1, 1.1, 1.0, 1.1), (1.1,)]
    for stop_hour, expected in [(22, 0), (23, -195)]:
        series = rows[:]
        series[22] = series[22] if stop_hour == 22 else (1.1,)
        series[23] = (1.1,) if stop_hour == 22 else (1.1, 1.1, 1.0, 1.1)
        engine = market({("EURUSD", "H1"): bars(series, seconds=HOUR)}, settings=NIGHTLY)
        assert isinstance(engine.open(Order("EURUSD", 1, FX_LOT // 10, T0, stop_loss=1.05)), Fill)
        (deal,) = engine.advance(T0 + 30 * HOUR)
        assert (deal.reason, deal.swap) == ("stop_loss", expected)


def test_swap_can_break_the_margin_level() -> None:
    costs = {"EURUSD": replace(COSTS, swap_long_points=-215)}
    engine = market({("EURUSD", "H1"): hourly(1.1)}, settings=costs, balance=120)
    assert isinstance(engine.open(Order("EURUSD", 1, FX_LOT // 10, T0)), Fill)
    (deal,) = engine.advance(WEDNESDAY + HOUR)
    assert (deal.reason, deal.swap) == ("stop_out", -6450)  # equity 118.75 − 64.50 is 49 % of 110


def test_a_netted_position_keeps_its_swap_when_more_is_added() -> None:
    engine = holding(hedged=False)
    engine.advance(WEDNESDAY)
    assert isinstance(engine.open(Order("EURUSD", 1, FX_LOT // 10, WEDNESDAY)), Fill)
    assert swap(engine) == -195
    engine.advance(WEDNESDAY + 24 * HOUR)
    assert swap(engine) == -195 - 130


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([-1, 0, 1])), min_size=1, max_size=12),
    st.sampled_from(["USD", "EUR", "JPY"]),
)
def test_swap_does_not_depend_on_how_time_is_cut_and_the_balance_is_its_deals(
    waits: list[tuple[int, int]], currency: str
) -> None:
    series = {("EURUSD", "H1"): hourly(1.1, 600), ("USDJPY", "H1"): hourly(150.0, 600)}
    options: dict[str, Any] = {"settings": NIGHTLY, "currency": currency, "balance": 1_000_000}
    fine, coarse = market(series, **options), market(series, **options)
    for hours, direction in waits:
        for engine in (fine, coarse):
            now = engine.book.clock
            for symbol in ("EURUSD", "USDJPY") if direction else ():
                assert isinstance(engine.open(Order(symbol, direction, FX_LOT // 10, now)), Fill)
            if not direction and engine.book.positions:
                first = engine.book.positions[0]
                part = max(FX_LOT // 100, first.volume_cents // 3 // (FX_LOT // 100) * (FX_LOT // 100))
                assert not isinstance(engine.close(first.position_id, part, decided_at=now), Refusal)
        until = fine.book.clock + hours * HOUR
        for half in range(1, 2 * hours + 1):
            fine.advance(until - hours * HOUR + half * HOUR / 2)
        coarse.advance(until)
        assert fine.book == coarse.book
        book = fine.book
        assert book.balance == book.initial_balance + sum(
            deal.profit + deal.swap - deal.commission for deal in book.deals
        )
        assert fine.valuation().equity == book.balance + sum(fine.valuation().floating.values())
