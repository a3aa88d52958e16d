"""The live tape: the same prices as the plain one, each at an instant of its own; and ticks, where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.errors import BarError
from oracle_batch.market.tape import Tape
from oracle_batch.market.ticks import TickFiles
from oracle_batch.market.track import Track
from tests.market.build import M15, T0, MemorySource, bars

RISING = (1.10, 1.13, 1.09, 1.12)


def ticks(folder: Path, rows: list[tuple[float, float]], name: str = "ticks_EURUSD_a.parquet") -> Path:
    times = pa.array([round(time * 1000) for time, _ in rows], pa.int64())
    columns = {"time_ms": times, "bid": [bid for _, bid in rows], "ask": [bid + 1 for _, bid in rows]}
    parquet.write_table(pa.table(columns), folder / name)
    return folder


def minutes(present: list[bool]) -> Bars:
    """Minute bars over half an hour, some of them missing."""
    every = bars([(1 + n / 100, 1.5 + n / 100, 0.5 + n / 100, 1.2 + n / 100) for n in range(30)], seconds=60)
    return every[np.array(present)]


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=30), st.integers(0, 2 * M15), st.integers(1, 3 * M15))
def test_it_plays_the_steps_of_the_plain_tape(present: list[bool], after: int, length: int) -> None:
    source = MemorySource({("EURUSD", "M1"): minutes(present), ("EURUSD", "M15"): bars([RISING] * 4)})
    track = Track(source)
    played = [point.step for point in track.points("EURUSD", 0.0, T0 + 7200)]
    assert sorted(played) == Tape(source).steps("EURUSD", 0.0, T0 + 7200)
    window = list(track.points("EURUSD", T0 + after, T0 + after + length))
    assert all(T0 + after < point.shown <= T0 + after + length for point in window)
    assert [point.shown for point in window] == sorted(point.shown for point in window)


def test_the_prices_of_a_bar_come_one_after_another_and_all_before_its_close() -> None:
    track = Track(MemorySource({("EURUSD", "M15"): bars([RISING, (1.12,)])}))
    first = [point for point in track.points("EURUSD", T0 - 1, T0 + M15) if point.step.bar_time == T0]
    assert [point.step.bid for point in first] == [1.10, 1.09, 1.13, 1.12]
    assert [point.shown - T0 for point in first] == [0, 225, 675, pytest.approx(899.1)]
    assert [point.step.time - T0 for point in first] == [0, M15, M15, M15]
    assert sum(point.volume for point in first) == 1.0


def test_an_order_gets_the_price_of_the_moment_and_between_bars_the_next_open() -> None:
    track = Track(MemorySource({("EURUSD", "M15"): bars([RISING])}))
    for second, bid in ((0, 1.10), (1, 1.10), (300, 1.09), (700, 1.13)):
        mark = track.next_open("EURUSD", T0 + second)
        assert mark is not None
        assert mark.bid == bid
    gap = Track(MemorySource({("EURUSD", "M15"): bars([RISING, (2.0,)], seconds=7200)[np.array([True, True])]}))
    found = gap.next_open("EURUSD", T0 + 2000)
    assert found is not None
    assert (found.bid, found.time) == (2.0, T0 + 7200)


def test_the_last_price_is_found_over_a_weekend() -> None:
    track = Track(MemorySource({("EURUSD", "M15"): bars([RISING])}))
    assert track.last("EURUSD", T0 - 1) is None
    mark = track.last("EURUSD", T0 + 20 * 86400)
    assert mark is not None
    assert mark.bid == 1.12


def test_ticks_take_the_place_of_the_bars_that_they_lie_in(tmp_path: Path) -> None:
    rows = [(T0 + 10.5, 1.101), (T0 + 20.25, 1.102)]
    track = Track(MemorySource({("EURUSD", "M15"): bars([RISING, (1.2,)])}), TickFiles(ticks(tmp_path, rows)))
    points = list(track.points("EURUSD", T0 - 1, T0 + M15))
    assert [(point.shown, point.step.bid) for point in points] == [*rows, (T0 + M15, 1.2)]
    assert all(point.step.place == 0 for point in points)
    standing = track.next_open("EURUSD", T0 + 600)
    assert standing is not None
    assert standing.bid == 1.102
    assert track.next_price("EURUSD", T0 + 11) == T0 + 20.25


def test_trade_prints_are_no_quotes(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"time_ms": [T0 * 1000], "price": [9.0]}), tmp_path / "ticks_EURUSD_trades.parquet")
    assert len(TickFiles(tmp_path).between("EURUSD", 0, T0 + 99)) == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(T0 + 5, 1.1), (T0 + 1, 1.1)], "not in order"),
        ([(T0, float("nan"))], "no price above 0"),
        ([(T0, 0.0)], "no price above 0"),
    ],
)
def test_bad_ticks_are_refused_by_file(tmp_path: Path, rows: list[tuple[float, float]], words: str) -> None:
    files = TickFiles(ticks(tmp_path, rows))
    with pytest.raises(BarError, match=rf"ticks_EURUSD_a\.parquet.*{words}"):
        files.between("EURUSD", 0, T0 + 99)


def test_tick_files_that_overlap_are_refused(tmp_path: Path) -> None:
    ticks(tmp_path, [(T0, 1.1), (T0 + 9, 1.1)])
    ticks(tmp_path, [(T0 + 5, 1.1)], "ticks_EURUSD_b.parquet")
    with pytest.raises(BarError, match="overlap"):
        TickFiles(tmp_path).between("EURUSD", 0, T0 + 99)


def test_a_lone_daily_bar_is_played_to_its_end() -> None:
    track = Track(MemorySource({("EURUSD", "D1"): bars([RISING], seconds=86400)}))
    points = list(track.points("EURUSD", 0.0, T0 + 10 * 86400))
    assert [point.step.bid for point in points] == [1.10, 1.09, 1.13, 1.12]
    for point in points:
        assert track.current("EURUSD", point.shown + 3600) in (point, points[-1])
