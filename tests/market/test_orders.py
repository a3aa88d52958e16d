"""Protection and price limits of an order, with numbers worked by hand. EURUSD: 7 points spread, 2 slippage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.hands.protection import Distances
from oracle_batch.market.engine import Engine
from oracle_batch.market.fills import Fill, Refusal
from oracle_batch.market.orders import Order, protection_prices
from oracle_batch.market.spec_file import ScheduleSettings, SymbolSettings
from tests.market.build import COSTS, M15, T0, bars, contract_of, market

FX_LOT = 10_000_000
NEAR = replace(COSTS, min_stop_points=50, min_target_points=30)


def placed(engine: Engine, symbol: str = "EURUSD", direction: int = 1, at: float = T0, **more: Any) -> Fill | Refusal:
    return engine.open(Order(symbol, direction, FX_LOT // 10, at, **more))


def code(found: object) -> str:
    assert isinstance(found, Refusal), found
    return found.code


def levels(engine: Engine) -> tuple[float | None, float | None]:
    (position,) = engine.book.positions
    return position.stop_loss, position.take_profit


@pytest.mark.parametrize(
    ("direction", "expected"),
    [(1, (1.09609, 1.10609)), (-1, (1.10398, 1.09398))],  # fills at 1.10009 and 1.09998
)
def test_relative_protection_counts_from_the_fill(direction: int, expected: tuple[float, float]) -> None:
    engine = market({"EURUSD": bars([(1.1,)])})
    assert isinstance(placed(engine, direction=direction, stop_relative=400, target_relative=600), Fill)
    assert levels(engine) == expected


def test_relative_protection_of_three_digits_is_in_hundred_thousandths_too() -> None:
    engine = market({"USDJPY": bars([(150.0,)])})
    assert isinstance(placed(engine, "USDJPY", stop_relative=50_000), Fill)  # 0.500 below 150.009
    assert levels(engine) == (149.509, None)


@pytest.mark.parametrize(("symbol", "distance"), [("USDJPY", 50_050), ("EURUSD", -400)])
def test_a_distance_off_the_grid_or_backwards_is_refused(symbol: str, distance: int) -> None:
    engine = market({symbol: bars([(150.0,)])})
    before = engine.book
    assert code(placed(engine, symbol, stop_relative=distance)) == "TRADING_BAD_STOPS"
    assert code(placed(engine, symbol, target_relative=distance)) == "TRADING_BAD_STOPS"
    assert engine.book == before


@pytest.mark.parametrize(
    ("direction", "expected"),
    [(1, (1.0961, 1.1041)), (-1, (1.10398, 1.09598))],  # fills at 1.100094 and 1.099984
)
def test_off_the_grid_a_stop_is_rounded_towards_the_fill_and_a_target_away(
    direction: int, expected: tuple[float, float]
) -> None:
    engine = market({"EURUSD": bars([(1.100004,)])})
    fill = placed(engine, direction=direction, stop_relative=400, target_relative=400)
    assert isinstance(fill, Fill)
    assert levels(engine) == expected == Distances(0.004, 0.004).prices(direction, fill.price, 5)


@given(st.sampled_from([1, -1]), st.integers(1, 10**5), st.integers(1, 10**5), st.floats(2.0, 3.0))
def test_the_market_and_the_hands_agree_where_protection_lies(
    direction: int, stop: int, target: int, price: float
) -> None:
    order = Order("EURUSD", direction, FX_LOT, T0, stop_relative=stop, target_relative=target)
    expected = Distances(stop / 100_000, target / 100_000).prices(direction, price, 5)
    assert protection_prices(order, contract_of("EURUSD"), price) == expected


def test_a_stop_on_the_wrong_side_of_the_market_is_bad_and_one_too_near_is_too_close() -> None:
    engine = market({"EURUSD": bars([(1.1,)])}, settings={"EURUSD": NEAR})
    assert code(placed(engine, stop_relative=9)) == "TRADING_BAD_STOPS"  # 1.10000, where the bid is
    assert code(placed(engine, stop_relative=58)) == "PROTECTION_IS_TOO_CLOSE_TO_MARKET"  # 49 points below the bid
    assert code(placed(engine, target_relative=20)) == "PROTECTION_IS_TOO_CLOSE_TO_MARKET"  # 29 above it
    assert isinstance(placed(engine, stop_relative=59, target_relative=21), Fill)
    assert code(placed(engine, direction=-1, stop_relative=58)) == "PROTECTION_IS_TOO_CLOSE_TO_MARKET"
    assert isinstance(placed(engine, direction=-1, stop_relative=59), Fill)  # 1.10057, 50 points above the ask


def test_amendments_keep_the_same_distances() -> None:
    engine = market({"EURUSD": bars([(1.1,)])}, settings={"EURUSD": NEAR})
    assert isinstance(placed(engine, stop_relative=400), Fill)
    (position,) = engine.book.positions
    for stop, target, expected in [
        (1.1, None, "TRADING_BAD_STOPS"),
        (0.0, None, "TRADING_BAD_STOPS"),
        (1.09951, 1.2, "PROTECTION_IS_TOO_CLOSE_TO_MARKET"),
        (1.09, 1.10029, "PROTECTION_IS_TOO_CLOSE_TO_MARKET"),
    ]:
        assert code(engine.amend(position.position_id, stop, target)) == expected
        assert levels(engine) == (1.09609, None)
    assert engine.amend(position.position_id, 1.0995, 1.1003) is None
    assert levels(engine) == (1.0995, 1.1003)
    assert engine.amend(position.position_id, None, None) is None
    assert levels(engine) == (None, None)


@pytest.mark.parametrize(
    ("direction", "points", "filled"),
    [(1, 0, True), (1, 2, True), (1, 1.9, False), (-1, 2, True), (-1, 1, False)],
)
def test_a_market_range_order_fills_within_its_points_of_the_quote(direction: int, points: float, filled: bool) -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.2,)])}, clock=T0 + M15)
    before = engine.book
    found = placed(engine, direction=direction, at=T0 + M15, max_slippage_points=points)
    if filled:
        assert isinstance(found, Fill)
        assert found.slippage == 0.00002
    else:
        assert code(found) == "ORDER_CANCELLED"
        assert engine.book == before


def test_a_gap_that_is_worse_cancels_a_market_range_order_and_one_that_is_better_does_not() -> None:
    series = {("EURUSD", "M15"): bars([(1.1,)]), ("EURUSD", "M5"): bars([(1.101,)], T0 + 2 * 86400, 300)}
    engine = market(series, clock=T0 + M15)
    assert code(placed(engine, at=T0 + M15, max_slippage_points=101)) == "ORDER_CANCELLED"
    bought = placed(engine, at=T0 + M15, max_slippage_points=102)
    sold = placed(engine, direction=-1, at=T0 + M15, max_slippage_points=1)
    assert isinstance(bought, Fill)
    assert isinstance(sold, Fill)
    assert (bought.price, sold.price) == (1.10109, 1.10098)


def test_without_a_quote_at_the_decision_a_market_range_order_has_no_range() -> None:
    engine = market({"EURUSD": bars([(1.1,)])})
    assert code(placed(engine, at=T0 - 60, max_slippage_points=5)) == "NO_QUOTES"
    assert isinstance(placed(engine, at=T0 - 60), Fill)


@pytest.mark.parametrize(
    ("direction", "stop", "low_or_high", "expected"),
    [
        (1, 1.09, 1.08994, None),  # ask 1.09001
        (1, 1.09, 1.08993, 1.08993),
        (-1, 1.101, 1.10099, None),
        (-1, 1.101, 1.101, 1.10107),
    ],
)
def test_a_stop_on_the_opposite_quote_fills_a_spread_beyond_its_price(
    direction: int, stop: float, low_or_high: float, expected: float | None
) -> None:
    row = (1.1, 1.1, low_or_high, 1.1) if direction > 0 else (1.1, low_or_high, 1.1, 1.1)
    engine = market({"EURUSD": bars([row])})
    assert isinstance(placed(engine, direction=direction, stop_loss=stop, stop_trigger="opposite"), Fill)
    deals = engine.advance(T0 + M15)
    assert [(deal.reason, deal.price) for deal in deals] == ([] if expected is None else [("stop_loss", expected)])


def test_an_amendment_sets_what_triggers_the_stop() -> None:
    engine = market({"EURUSD": bars([(1.1, 1.1, 1.08995, 1.1)])})
    assert isinstance(placed(engine, stop_loss=1.09), Fill)
    assert engine.amend(1, 1.09, None, "opposite") is None
    assert engine.advance(T0 + M15) == []


# T0 is Tuesday 2023-11-14 23:00 UTC, 18:00 in New York
OPEN_LATER = ScheduleSettings("America/New_York", ("Tue 18:15-Tue 18:30", "Wed 09:30-Wed 16:00"))


def closing_at(engine: Engine, seconds: float) -> Fill | Refusal:
    engine.advance(T0 + seconds)
    return engine.close(1, FX_LOT // 10, decided_at=T0 + seconds)


def test_orders_are_taken_only_while_the_schedule_says_open() -> None:
    costs = replace(COSTS, schedule=OPEN_LATER)
    rows = [(1.1,), (1.1,), (1.1, 1.1, 1.05, 1.06), (1.06,)]
    engine = market({"EURUSD": bars(rows)}, settings={"EURUSD": costs})
    assert code(placed(engine)) == "MARKET_CLOSED"
    engine.advance(T0 + M15)
    assert isinstance(placed(engine, at=T0 + M15), Fill)
    assert code(closing_at(engine, 2 * M15)) == "MARKET_CLOSED"
    assert engine.amend(1, 1.01, None) is None, "protection may be set while the market is closed"
    (position,) = engine.book.positions
    assert isinstance(closing_at(engine, 16 * 3600), Fill)  # Wednesday 10:00 in New York
    assert position.stop_loss == 1.01


def test_without_a_schedule_the_market_is_always_open() -> None:
    engine = market({"EURUSD": bars([(1.1,)])}, settings={"EURUSD": SymbolSettings(**costs_of(COSTS))})
    assert isinstance(placed(engine), Fill)


def costs_of(settings: SymbolSettings) -> dict[str, Any]:
    return {key: getattr(settings, key) for key in ("spread_points", "slippage_points", "commission_per_lot")}
