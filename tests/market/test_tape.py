"""Prices in time: what is known when, whatever timeframes there are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.errors import BarError
from oracle_batch.market.tape import Mark, Tape, reach_of
from oracle_batch.types import TIMEFRAME_SECONDS
from tests.market.build import M15, T0, MemorySource, bars

HOURS = 4


def consistent(seed: int, kept: dict[str, float]) -> dict[tuple[str, str], Bars]:
    """One path of minutes seen in several timeframes; of each a random part of the bars is kept."""
    rng = np.random.default_rng(seed)
    close = 1.1 + np.cumsum(rng.normal(0, 0.001, HOURS * 60))
    open_ = np.concatenate([[1.1], close[:-1]])
    found = {}
    for timeframe, share in kept.items():
        minutes = TIMEFRAME_SECONDS[timeframe] // 60
        opens, closes = open_.reshape(-1, minutes), close.reshape(-1, minutes)
        high, low = np.maximum(opens, closes).max(1), np.minimum(opens, closes).min(1)
        times = T0 + 60 * minutes * np.arange(len(opens), dtype=np.int64)
        series = Bars(times, opens[:, 0].copy(), high, low, closes[:, -1].copy(), np.ones(len(opens)))
        found["EURUSD", timeframe] = series[rng.random(len(opens)) < share]
    return found


WORLDS = st.builds(
    consistent,
    st.integers(0, 10_000),
    st.dictionaries(st.sampled_from(["M1", "M5", "M15", "H1"]), st.sampled_from([0.2, 0.7, 1.0]), min_size=1),
)
INSTANT = st.integers(T0 - 600, T0 + HOURS * 3600 + 600)


@settings(max_examples=150, deadline=None)
@given(WORLDS, INSTANT)
def test_the_newest_price_knows_nothing_of_the_future(world: dict[tuple[str, str], Bars], at: int) -> None:
    mark = Tape(MemorySource(world)).last("EURUSD", at)
    past = {}
    for (symbol, timeframe), series in world.items():
        known = series[series.time <= at]
        forming = known.time + TIMEFRAME_SECONDS[timeframe] > at
        flat = [np.where(forming, known.open, column) for column in (known.high, known.low, known.close)]
        past[symbol, timeframe] = Bars(known.time, known.open, flat[0], flat[1], flat[2], known.volume)
    assert mark == Tape(MemorySource(past)).last("EURUSD", at)
    assert mark is None or mark.time <= at


@settings(max_examples=150, deadline=None)
@given(WORLDS, INSTANT)
def test_an_order_never_fills_before_its_decision_and_no_bar_starts_between(
    world: dict[tuple[str, str], Bars], at: int
) -> None:
    mark = Tape(MemorySource(world)).next_open("EURUSD", at)
    later = [int(time) for series in world.values() for time in series.time if time >= at]
    assert (None if mark is None else mark.time) == min(later, default=None)


@settings(max_examples=100, deadline=None)
@given(WORLDS, st.lists(INSTANT, max_size=8))
def test_steps_in_pieces_are_the_steps_at_once(world: dict[tuple[str, str], Bars], cuts: list[int]) -> None:
    tape = Tape(MemorySource(world))
    edges = sorted({T0 - 601, *cuts, T0 + HOURS * 3600 + 600})
    whole = tape.steps("EURUSD", edges[0], edges[-1])
    pieces = [step for after, until in pairwise(edges) for step in tape.steps("EURUSD", after, until)]
    assert pieces == whole
    assert len(set(whole)) == len(whole)
    extremes = [(series.low.min(), series.high.max()) for series in world.values() if len(series)]
    if whole:
        reach = reach_of(whole)["EURUSD"]
        assert min(low for low, _ in extremes) <= reach.low <= reach.high <= max(high for _, high in extremes)
        assert reach.last == whole[-1].bid


def test_prices_inside_a_bar_can_be_known_before_its_close() -> None:
    source = MemorySource({("EURUSD", "M15"): bars([(1.1, 1.3, 1.0, 1.2)])})
    tape = Tape(source, offsets=(0.25, 0.5, 0.75))
    known = [tape.last("EURUSD", T0 + quarter * M15 / 4) for quarter in range(5)]
    assert known == [Mark(bid, T0 + min(n, 3) * M15 / 4) for n, bid in enumerate((1.1, 1.0, 1.3, 1.2, 1.2))]
    assert [step.time for step in tape.steps("EURUSD", T0, T0 + M15)] == [T0 + n * M15 / 4 for n in (1, 2, 3)]


def test_a_fine_series_that_ended_does_not_hide_a_coarse_one_that_goes_on() -> None:
    tape = Tape(MemorySource({("EURUSD", "M1"): bars([(1.1,)], seconds=60), ("EURUSD", "M15"): bars([(1.1,), (1.2,)])}))
    assert tape.last("EURUSD", T0 + 59) == Mark(1.1, T0)
    assert tape.last("EURUSD", T0 + 2 * M15) == Mark(1.2, T0 + 2 * M15)


def test_a_symbol_without_files_has_no_price_and_cannot_be_played() -> None:
    tape = Tape(MemorySource({}))
    assert tape.last("EURUSD", T0) is None
    assert tape.next_open("EURUSD", T0) is None
    with pytest.raises(BarError, match="no bars of EURUSD"):
        tape.steps("EURUSD", T0, T0 + 1)


def test_daily_bars_on_the_brokers_own_grid_are_played_whole() -> None:
    days = bars([(1.1, 1.2, 1.0, 1.15), (1.15, 1.3, 1.1, 1.2)], T0 - 2 * 3600, 86400)
    tape = Tape(MemorySource({("EURUSD", "D1"): days}))
    start = T0 - 2 * 3600
    assert [step.bid for step in tape.steps("EURUSD", start + 5 * 3600, start + 86400)] == [1.0, 1.2, 1.15, 1.15]
    assert tape.steps("EURUSD", start + 86400, start + 2 * 86400 - 1) == []
