"""Stops, targets, stop-outs: what the market does by itself between two instants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.market.book import BookedDeal
from oracle_batch.market.engine import Engine
from oracle_batch.market.feed import Feed
from oracle_batch.market.fills import Fill
from oracle_batch.market.orders import Order
from oracle_batch.market.specs import Contracts
from oracle_batch.market.tape import Tape, path_of
from tests.market.build import COSTS, FILE, M15, T0, bars, market

FX_LOT = 10_000_000
LEAN = Path(__file__).parents[1] / "data" / "lean"


def position(engine: Engine, direction: int = 1, lots: float = 0.1, symbol: str = "EURUSD", **stops: Any) -> int:
    found = engine.open(Order(symbol, direction, round(lots * FX_LOT), decided_at=engine.book.clock, **stops))
    assert isinstance(found, Fill), found
    return found.position_id


def played(engine: Engine, to: float = T0 + 10 * M15) -> list[tuple[str, float, float]]:
    return [(deal.reason, deal.price, deal.time) for deal in engine.advance(to)]


@pytest.mark.parametrize(
    ("bar", "outcome"),
    [
        ((1.10, 1.12, 1.08, 1.11), ("stop_loss", 1.09)),  # rising: the low comes first
        ((1.10, 1.12, 1.08, 1.09), ("take_profit", 1.11)),  # falling: the high comes first
        ((1.10, 1.12, 1.095, 1.10), ("take_profit", 1.11)),
        ((1.10, 1.105, 1.08, 1.10), ("stop_loss", 1.09)),
    ],
)
def test_a_bar_that_holds_both_levels_is_decided_by_its_path(
    bar: tuple[float, ...], outcome: tuple[str, float]
) -> None:
    engine = market({"EURUSD": bars([bar])})
    position(engine, stop_loss=1.09, take_profit=1.11)
    assert played(engine) == [(*outcome, T0 + M15)]


def test_a_stop_jumped_over_by_the_open_fills_at_the_worse_open_and_a_target_at_the_better_one() -> None:
    low = market({"EURUSD": bars([(1.10,), (1.05, 1.20, 1.05, 1.20)])})
    position(low, stop_loss=1.09)
    assert played(low) == [("stop_loss", 1.05, T0 + M15)]
    high = market({"EURUSD": bars([(1.10,), (1.15,)])})
    position(high, take_profit=1.11)
    assert played(high) == [("take_profit", 1.15, T0 + M15)]


def test_a_short_position_triggers_on_the_ask() -> None:
    below = market({"EURUSD": bars([(1.10000, 1.10092, 1.09, 1.09)])})
    position(below, -1, stop_loss=1.10100)
    assert played(below) == []
    touched = market({"EURUSD": bars([(1.10000, 1.10093, 1.09, 1.09)])})
    position(touched, -1, stop_loss=1.10100)
    assert played(touched) == [("stop_loss", 1.101, T0 + M15)]
    gap = market({"EURUSD": bars([(1.1,), (1.2,)])})
    position(gap, -1, stop_loss=1.10100)
    assert played(gap) == [("stop_loss", 1.20007, T0 + M15)]
    target = market({"EURUSD": bars([(1.10000, 1.10000, 1.08994, 1.09)])})
    position(target, -1, take_profit=1.09)
    assert played(target) == []


def test_the_bar_in_progress_counts_from_the_entry_on_and_is_known_when_it_closes() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.1, 1.1, 1.0, 1.05)])}, clock=T0 + M15 + 1)
    position(engine, stop_loss=1.05)
    assert played(engine, T0 + 2 * M15 - 1) == []
    assert played(engine, T0 + 2 * M15) == [("stop_loss", 1.05, T0 + 2 * M15)]


def test_minutes_decide_what_the_quarter_hour_leaves_open() -> None:
    quarter = bars([(1.10, 1.12, 1.08, 1.11)])
    minutes = bars([(1.10, 1.12, 1.10, 1.12), (1.12, 1.12, 1.08, 1.11)], seconds=60)
    engine = market({("EURUSD", "M15"): quarter, ("EURUSD", "M1"): minutes})
    position(engine, stop_loss=1.09, take_profit=1.115)
    assert played(engine) == [("take_profit", 1.115, T0 + 60)]


def test_coarse_bars_are_played_where_no_finer_ones_are() -> None:
    hours = bars([(1.1, 1.1, 1.0, 1.1), (1.1, 1.1, 0.9, 1.1), (1.1, 1.1, 0.8, 1.1)], seconds=3600)
    quarters = bars([(1.1,)], T0 + 3600)
    tape = market({("EURUSD", "H1"): hours, ("EURUSD", "M15"): quarters})._tape
    steps = tape.steps("EURUSD", T0 - 1, T0 + 3 * 3600)
    assert [(step.bar_time - T0, step.bid) for step in steps if step.place == 1] == [(0, 1.0), (3600, 1.1), (7200, 0.8)]
    assert [step.time for step in steps] == sorted(step.time for step in steps)


def test_playing_in_pieces_is_playing_at_once() -> None:
    rng = np.random.default_rng(5)
    close = 1.1 + np.cumsum(rng.normal(0, 0.001, 300))
    open_ = np.roll(close, 1)
    open_[0] = 1.1
    high, low = np.maximum(open_, close) + 0.0005, np.minimum(open_, close) - 0.0005
    series = {"EURUSD": Bars(T0 + M15 * np.arange(300), open_, high, low, close, np.ones(300))}
    whole, pieces = market(series), market(series)
    for engine in (whole, pieces):
        for distance in (0.002, 0.005, 0.01, 0.02):
            position(engine, 1, stop_loss=1.1 - distance, take_profit=1.1 + 2 * distance)
            position(engine, -1, stop_loss=1.1 + distance, take_profit=1.1 - 2 * distance)
    once = whole.advance(T0 + 300 * M15)
    parts: list[BookedDeal] = []
    for instant in [*sorted(rng.integers(T0, T0 + 300 * M15, 100).tolist()), T0 + 300 * M15]:
        parts += pieces.advance(instant)
    assert parts == once
    assert len(once) > 4
    assert pieces.book == whole.book


def test_stop_out_closes_the_worst_position_until_the_level_holds() -> None:
    series = {
        "EURUSD": bars([(1.1,), (1.1, 1.1, 1.0860, 1.0860)]),
        "GBPUSD": bars([(1.3,), (1.3, 1.3, 1.2999, 1.2999)]),
    }
    engine = market(series, balance=100)
    worst = position(engine, lots=0.05)  # margin 55.00
    small = position(engine, lots=0.01, symbol="GBPUSD")  # margin 13.00, level at or below 34.00
    (deal,) = engine.advance(T0 + 2 * M15)
    assert (deal.position_id, deal.reason, deal.price) == (worst, "stop_out", 1.08598)
    assert [p.position_id for p in engine.book.positions] == [small]
    assert engine.book.margin_used == 1300


def test_no_stop_out_while_the_level_holds() -> None:
    # 0.05 lots: floating −0.0144 · 5,000 = −72.45; equity 100 − 0.18 − 72.45 = 27.37, half of the margin is 27.50.
    just = market({"EURUSD": bars([(1.1,), (1.1, 1.1, 1.08560, 1.1)])}, balance=100)
    position(just, lots=0.05)
    assert [reason for reason, _, _ in played(just)] == ["stop_out"]
    holds = market({"EURUSD": bars([(1.1,), (1.1, 1.1, 1.08570, 1.1)])}, balance=100)
    position(holds, lots=0.05)
    assert played(holds) == []


def test_a_symbol_with_a_bad_bar_stays_behind_and_is_caught_up_when_it_is_repaired() -> None:
    good = bars([(1.1,), (1.1, 1.1, 1.0, 1.1), (1.1,)])
    bad = bars([(1.1,), (1.1, 1.1, np.nan, 1.1), (1.1,)])
    other = bars([(1.3,), (1.3, 1.3, 1.2, 1.3), (1.3,)])
    engine = market({"EURUSD": bad, "GBPUSD": other})
    position(engine, stop_loss=1.05)
    position(engine, symbol="GBPUSD", stop_loss=1.25)
    assert played(engine, T0 + 3 * M15) == [("stop_loss", 1.25, T0 + 2 * M15)]
    assert engine.book.behind == {"EURUSD": T0}
    assert "low" in engine.problems["EURUSD"]
    assert engine.valuation().equity < engine.book.balance
    repaired = market({"EURUSD": good, "GBPUSD": other}, book=engine.book)
    assert played(repaired, T0 + 3 * M15 + 1) == [("stop_loss", 1.05, T0 + 2 * M15)]
    assert repaired.book.behind == {}


def test_a_position_outlives_the_files_of_its_symbol_and_its_costs() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.2,)])})
    kept = position(engine)
    engine.advance(T0 + M15)
    gone = market({}, book=engine.book)
    gone.advance(T0 + 2 * M15)
    assert gone.valuation() == engine.valuation()
    assert gone.book.behind == {"EURUSD": T0 + M15}
    found = gone.close(kept, FX_LOT // 10, decided_at=T0 + M15)
    assert not isinstance(found, Fill)
    assert found.code == "NO_QUOTES"


def test_amended_stops_trigger_and_wrong_ones_are_refused() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.1, 1.1, 1.0, 1.1)])})
    kept = position(engine)
    refusal = engine.amend(kept, 1.2, None)
    assert refusal is not None
    assert refusal.code == "TRADING_BAD_STOPS"
    assert engine.amend(kept, 1.05, 1.3) is None
    assert played(engine) == [("stop_loss", 1.05, T0 + 2 * M15)]


def test_an_earlier_instant_changes_nothing() -> None:
    engine = market({"EURUSD": bars([(1.1,)])}, clock=T0 + 100)
    before = engine.book
    assert engine.advance(T0) == []
    assert engine.book == before


def test_the_path_of_a_doji_is_low_first() -> None:
    assert path_of(1.0, 2.0, 0.5, 1.0) == (1.0, 0.5, 2.0, 1.0)


def test_real_minutes_and_quarters_agree_on_where_the_day_ended() -> None:
    feed = Feed(LEAN)
    tape = Tape(feed)
    start, end = 1399881600, 1399881600 + 2 * 86400
    steps = tape.steps("EURUSD", start - 1, end)
    quarters = feed.bars("EURUSD", "M15", start, end)
    assert steps[-1].bid == quarters.close[-1]
    assert max(step.bid for step in steps) == quarters.high.max()
    assert min(step.bid for step in steps) == quarters.low.min()
    assert len({step.bar_time for step in steps}) == len(feed.bars("EURUSD", "M1", start, end))


def test_a_real_stop_is_hit_at_the_minute_it_was_reached() -> None:
    feed = Feed(LEAN)
    start = 1399881600
    minutes = feed.bars("EURUSD", "M1", start, start + 86400)
    stop = float(minutes.open[0]) - 0.0010
    engine = market({}, clock=start)
    engine = Engine(engine.book, Tape(feed), Contracts({"EURUSD": COSTS}, (), "USD", FILE))
    position(engine, stop_loss=stop)
    (deal,) = engine.advance(start + 86400)
    first = int(np.argmax(minutes.low <= stop))
    gap = bool(minutes.open[first] <= stop)
    assert deal.time == minutes.time[first] + (0 if gap else 60)
    assert deal.price == (minutes.open[first] if gap else stop)
