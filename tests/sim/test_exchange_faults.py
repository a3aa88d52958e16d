"""Faults of the market: bars withheld or revised, prices that gap, orders that go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle_batch.sim.events import Execution, MarginChanged, Spot
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.market_faults import OrderFault
from tests.market.build import M15, T0, bars
from tests.market.test_track import ticks
from tests.sim.folders import LOT, fills, kinds, market, of, order, place, refused, taken

FLAT = (1.10,)
ALL = (T0, T0 + 9 * M15)


class Real:
    """A real clock that a test turns by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def euro(folder: Path, real: Real | None = None) -> Exchange:
    return market(folder, {"EURUSD": bars([FLAT] * 9)}, monotonic=real or Real())


def times(exchange: Exchange) -> list[int]:
    return [(time - T0) // M15 for time in exchange.trendbars(1, "M15", *ALL).time.tolist()]


def test_a_bar_is_withheld_for_real_seconds_after_its_close(tmp_path: Path) -> None:
    real = Real()
    exchange = euro(tmp_path, real)
    exchange.faults.withhold("EURUSD", "M15", None, 3.0)
    real.now += 60
    exchange.advance(T0 + M15 + 1)
    assert times(exchange) == [1]
    real.now += 2.9
    assert times(exchange) == [1]
    real.now += 0.2
    assert times(exchange) == [0, 1]


def test_a_bar_is_withheld_for_good_and_from_the_stream(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    exchange.faults.withhold("EURUSD", "M15", T0 + M15, None)
    shown = [bar.time for spot in of(Spot, exchange.advance(T0 + 3 * M15)) for bar in spot.bars]
    assert sorted({(time - T0) // M15 for time in shown}) == [0, 2, 3]
    assert times(exchange) == [0, 2, 3]


def test_a_bar_may_be_missing_from_history_alone(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    exchange.faults.withhold("EURUSD", "M15", T0, None, live=False)
    spots = of(Spot, exchange.advance(T0 + M15))
    assert {bar.time for spot in spots for bar in spot.bars} == {T0, T0 + M15}
    assert times(exchange) == [1]


def test_history_tells_a_revised_bar_that_is_still_one(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    exchange.faults.revise("EURUSD", "M15", None, {"close": 0.005, "volume": 3})
    exchange.advance(T0 + M15)
    told = exchange.trendbars(1, "M15", T0, T0)
    columns = (told.open, told.high, told.low, told.close, told.volume)
    assert [float(column[0]) for column in columns] == [1.10, 1.105, 1.10, 1.105, 4.0]


def test_prices_gap_from_the_next_bar_on_and_come_back(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    exchange.advance(T0 + 10)
    place(exchange, order(relative_stop_loss=100))
    exchange.faults.gap("EURUSD", -0.01, seconds=2 * M15)
    events = exchange.advance(T0 + 3 * M15)
    assert fills(events) == [1.09]
    bids = {spot.time: spot.bid for spot in of(Spot, events)}
    assert [bids[T0 + n * M15] for n in (1, 2, 3)] == [1.09, 1.09, 1.10]
    assert exchange.trendbars(1, "M15", *ALL).open.tolist() == [1.10, 1.09, 1.09, 1.10]


def test_ticks_gap_too(tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    ticks(tmp_path / "bars", [(T0 + 5.0, 1.1), (T0 + 15.0, 1.1)])
    exchange = euro(tmp_path)
    exchange.advance(T0 + 10)
    exchange.faults.gap("EURUSD", 0.5)
    assert [spot.bid for spot in of(Spot, exchange.advance(T0 + 20))] == [1.6]


def test_the_nth_order_is_refused_with_a_code(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    account = exchange.account_ids[0]
    exchange.faults.order(OrderFault("refuse", nth=2, code="MAX_EXPOSURE_REACHED"))
    place(exchange, order())
    assert refused(exchange.place(account, order())) == "MAX_EXPOSURE_REACHED"
    place(exchange, order())
    assert len(exchange.reconcile(account)[0]) == 2


def test_a_close_can_be_refused_too(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    account = exchange.account_ids[0]
    position_id = of(MarginChanged, place(exchange, order()))[0].position_id
    exchange.faults.order(OrderFault("refuse", code="POSITION_LOCKED"))
    assert refused(exchange.close(account, position_id, LOT // 10)) == "POSITION_LOCKED"
    assert fills(taken(exchange.close(account, position_id, LOT // 10)))


@pytest.mark.parametrize(("fraction", "filled"), [(0.55, LOT // 20), (0.0, LOT // 100)])
def test_an_order_is_filled_in_part_and_the_rest_cancelled(tmp_path: Path, fraction: float, filled: int) -> None:
    exchange = euro(tmp_path)
    exchange.faults.order(OrderFault("partial_then_cancel", fraction=fraction))
    events = place(exchange, order(relative_stop_loss=100))
    assert kinds(events) == ["ORDER_ACCEPTED", "ORDER_PARTIAL_FILL", "ORDER_ACCEPTED", "ORDER_CANCELLED"]
    last = of(Execution, events)[-1].order
    assert last is not None
    assert (last.status, last.executed_cents) == ("CANCELLED", filled)
    (view,), _ = exchange.reconcile(exchange.account_ids[0])
    assert view.volume_cents == filled


def test_a_position_comes_without_the_stop_that_was_asked_for(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    exchange.faults.order(OrderFault("no_protection"))
    assert kinds(place(exchange, order(relative_stop_loss=100))) == ["ORDER_ACCEPTED", "ORDER_FILLED"]
    assert exchange.reconcile(exchange.account_ids[0])[0][0].stop_loss is None


def test_a_locked_position_opens_up_after_so_many_requests(tmp_path: Path) -> None:
    exchange = euro(tmp_path)
    account = exchange.account_ids[0]
    position_id = of(MarginChanged, place(exchange, order()))[0].position_id
    exchange.faults.lock_position(account, position_id, 2)
    assert refused(exchange.amend_position(account, position_id, 1.0, None)) == "POSITION_LOCKED"
    assert refused(exchange.close(account, position_id, LOT // 10)) == "POSITION_LOCKED"
    taken(exchange.close(account, position_id, LOT // 20))
    exchange.faults.lock_position(account, position_id)
    for _ in range(5):
        assert refused(exchange.close(account, position_id, LOT // 20)) == "POSITION_LOCKED"
