"""Scales and signs of the wire, read as the public proto files document them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.calendar import Holiday, Schedule
from oracle_batch.market.specs import Contract
from oracle_batch.openapi.messages import model
from oracle_batch.sim import wire
from oracle_batch.sim.events import LiveBar
from oracle_batch.sim.values import (
    CashFlow,
    CloseDetail,
    DealView,
    MarginCall,
    OrderRequest,
    OrderView,
    PositionView,
    SymbolInfo,
    TickData,
    TraderView,
)

NOON = 1_784_980_800.0
"""2026-07-25 12:00 UTC."""

prices = st.integers(1, 10**10).map(lambda whole: whole / 10**5)


def position(**changes: Any) -> PositionView:
    fields: dict[str, Any] = {
        "position_id": 5,
        "symbol_id": 2,
        "direction": -1,
        "volume_cents": 100_000,
        "entry_price": 150.123,
        "opened_at": NOON,
        "updated_at": NOON + 1,
        "label": "",
        "comment": "",
        "stop_loss": None,
        "take_profit": 149.5,
        "stop_trigger": "trade",
        "trailing_stop": False,
        "swap": -12,
        "commission": 30,
        "used_margin": 1_000,
        "margin_rate": 0.9,
    }
    return PositionView(**fields | changes)


def test_a_position_shows_prices_as_they_are_costs_as_negative_and_what_is_unset_not_at_all() -> None:
    shown = wire.Wire(2).position(position())
    assert shown.price == 150.123
    assert (shown.swap, shown.commission, shown.usedMargin, shown.moneyDigits) == (-12, -30, 1_000, 2)
    assert shown.takeProfit == 149.5
    assert not shown.HasField("stopLoss")
    assert not shown.tradeData.HasField("label")
    assert shown.tradeData.openTimestamp == 1_784_980_800_000
    assert shown.tradeData.tradeSide == model.SELL
    assert shown.positionStatus == model.POSITION_STATUS_OPEN
    assert wire.Wire(2).position(position(open=False)).positionStatus == model.POSITION_STATUS_CLOSED


def test_label_and_comment_are_on_positions_and_the_client_order_id_on_orders_only() -> None:
    request = OrderRequest(2, "MARKET", 1, 100_000, label="l", comment="c", client_order_id="id")
    order = wire.Wire(2).order(OrderView(9, request, "FILLED", NOON, NOON, 1.1, 100_000, 5))
    assert (order.clientOrderId, order.tradeData.label, order.tradeData.comment) == ("id", "l", "c")
    assert order.orderStatus == model.ORDER_STATUS_FILLED
    assert (order.executionPrice, order.executedVolume, order.positionId) == (1.1, 100_000, 5)
    held = wire.Wire(2).position(position(label="l", comment="c"))
    assert (held.tradeData.label, held.tradeData.comment) == ("l", "c")
    assert "clientOrderId" not in str(held)


def test_a_closing_deal_says_what_it_realised() -> None:
    close = CloseDetail(1.1, 2_000, -5, 60, 1_001_935, 1.0, 100_000, 3)
    deal = DealView(1, 2, 5, 1, -1, 100_000, 100_000, 1.12, NOON, NOON, "FILLED", 30, 1.1, "", "", close)
    shown = wire.Wire(2).deal(deal)
    assert shown.commission == -30
    detail = shown.closePositionDetail
    assert (detail.grossProfit, detail.swap, detail.commission, detail.balance) == (2_000, -5, -60, 1_001_935)
    assert detail.moneyDigits == shown.moneyDigits == 2
    assert (
        not wire.Wire(2)
        .deal(DealView(*[getattr(deal, name) for name in deal.__struct_fields__[:-1]]))
        .HasField("closePositionDetail")
    )


@pytest.mark.parametrize("digits", range(9))
def test_money_travels_with_its_digits(digits: int) -> None:
    view = TraderView(7, 7, 10_000 * 10**digits, 1, 0, 0, 3, 100.0, False, digits, NOON)
    shown = wire.Wire(digits).trader(view)
    assert shown.balance / 10**shown.moneyDigits == 10_000
    assert (shown.leverageInCents, shown.accountType) == (10_000, model.NETTED)


def test_a_withdrawal_is_a_type_and_not_a_sign() -> None:
    shown = wire.Wire(2).cash_flow(CashFlow(1, -500, 9_500, 9_500, NOON, 2, "rent"))
    assert (shown.operationType, shown.delta, shown.balance) == (model.BALANCE_WITHDRAW, 500, 9_500)


def test_margin_calls_have_the_numbers_of_the_api() -> None:
    kinds = [wire.Wire(2).margin_call(MarginCall(number, 90.0, NOON)).marginCallType for number in (1, 2, 3)]
    assert kinds == [model.MARGIN_LEVEL_THRESHOLD_1, model.MARGIN_LEVEL_THRESHOLD_2, model.MARGIN_LEVEL_THRESHOLD_3]


@given(prices, st.lists(prices, min_size=2, max_size=2), st.integers(0, 10**6))
def test_a_bar_is_its_low_and_what_lies_above(low: float, others: list[float], volume: int) -> None:
    low, open_, close = sorted([low, *others])
    shown = wire.Wire(2).bar(LiveBar("M15", int(NOON), open_, close, low, close, float(volume)))
    assert shown.low / 10**5 == low
    assert (shown.low + shown.deltaOpen) / 10**5 == open_
    assert (shown.low + shown.deltaHigh) / 10**5 == (shown.low + shown.deltaClose) / 10**5 == close
    assert (shown.utcTimestampInMinutes * 60, shown.volume, shown.period) == (NOON, volume, model.M15)


def test_bars_come_oldest_first() -> None:
    times = np.array([0, 900, 1800], np.int64)
    bars = Bars(times, *(np.full(3, price) for price in (1.1, 1.3, 1.0, 1.2, 4.0)))
    assert [bar.utcTimestampInMinutes for bar in wire.Wire(2).bars(bars, "M15")] == [0, 15, 30]


def test_ticks_are_told_newest_first_as_differences() -> None:
    ticks = [TickData(NOON + 2, 1.10005), TickData(NOON + 0.5, 1.10002), TickData(NOON, 1.1001)]
    shown = list(wire.Wire(2).ticks(ticks))
    assert (shown[0].timestamp, shown[0].tick) == (1_784_980_802_000, 110_005)
    assert [(tick.timestamp, tick.tick) for tick in shown[1:]] == [(-1_500, -3), (-500, 8)]


def test_a_skewed_clock_shows_in_times_but_not_in_the_grid_of_bars() -> None:
    skewed = wire.Wire(2, lambda: -3.0)
    assert skewed.position(position()).tradeData.openTimestamp == 1_784_980_797_000
    assert skewed.bar(LiveBar("M15", int(NOON), 1.0, 1.0, 1.0, 1.0, 0.0)).utcTimestampInMinutes * 60 == NOON


def test_a_symbol_tells_volumes_in_cents_distances_in_points_and_its_hours() -> None:
    spec = SymbolSpec("XAUUSD", 2, 10_000, 100, 100, 1_000_000, "XAU", "USD")
    contract = Contract(spec, 0.3, 0.0, 7.0, "table", None, min_stop=0.5, min_target=0.25, swap_long=-0.12)
    hours = Schedule("America/New_York", ((61_200, 493_200),), (Holiday(date(2026, 12, 25), "UTC", 0, 43_200, True),))
    shown = wire.symbol(SymbolInfo(3, "XAUUSD", contract, 1, 2, hours, "CLOSE_ONLY_MODE"))
    assert (shown.digits, shown.pipPosition, shown.lotSize) == (2, 2, 10_000)
    assert (shown.minVolume, shown.stepVolume, shown.maxVolume) == (100, 100, 1_000_000)
    assert (shown.slDistance, shown.tpDistance, shown.distanceSetIn) == (50, 25, model.SYMBOL_DISTANCE_IN_POINTS)
    assert shown.preciseTradingCommissionRate == 350_000_000
    assert shown.swapLong == pytest.approx(-12.0)
    assert shown.tradingMode == model.CLOSE_ONLY_MODE
    assert shown.scheduleTimeZone == "America/New_York"
    assert [(one.startSecond, one.endSecond) for one in shown.schedule] == [(61_200, 493_200)]
    holiday = shown.holiday[0]
    assert (holiday.holidayDate, holiday.isRecurring, holiday.endSecond) == (20_812, True, 43_200)


def test_a_symbol_without_hours_is_always_open() -> None:
    spec = SymbolSpec("EURUSD", 5, 10_000_000, 100_000, 100_000, 10**9, "EUR", "USD")
    shown = wire.symbol(SymbolInfo(1, "EURUSD", Contract(spec, 0.0, 0.0, 0.0, "table", None), 1, 2, None))
    assert [(one.startSecond, one.endSecond) for one in shown.schedule] == [(0, 604_800)]
    assert (shown.pipPosition, shown.digits) == (4, 5)
