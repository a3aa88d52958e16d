"""Excerpts of series answer as the whole file does, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.market.excerpts import Excerpt, Excerpts, NotHeldError
from oracle_batch.market.feed import Feed
from tests.tick.lab import shaped, write_bars

STEP = 900
TIMES = [0, 900, 1800, 3600, 4500, 9000]


def bars(times: list[int]) -> Bars:
    one = shaped([0] * len(times), 0, STEP)
    return Bars(np.array(times, np.int64), one.open, one.high, one.low, one.close, one.volume)


def settled(path: Path) -> None:
    """Let a file be old enough for its stamp to be believed."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))


@given(
    st.integers(0, 5),
    st.integers(1, 6),
    st.integers(-1000, 10_000),
    st.integers(-1000, 10_000),
)
@settings(max_examples=500)
def test_an_excerpt_never_says_anything_else_than_the_whole(low: int, count: int, start: int, end: int) -> None:
    whole = Excerpt(bars(TIMES), first=True, last=True)
    rows = TIMES[low : low + count]
    part = Excerpt(bars(rows), first=low == 0, last=low + count >= len(TIMES))
    for ask in (
        lambda one: one.between(start, end).time.tolist() if start <= end else None,
        lambda one: one.at_or_after(start),
        lambda one: one.at_or_before(start),
    ):
        try:
            found = ask(part)
        except NotHeldError:
            continue
        assert found == ask(whole)
    if rows and start >= rows[0] and end <= rows[-1] and start <= end:
        assert part.between(start, end).time.tolist() == [time for time in rows if start <= time < end]


def test_what_one_feed_has_read_the_next_one_knows_without_the_file(tmp_path: Path) -> None:
    write_bars(tmp_path / "EURUSD_M15.parquet", shaped([0] * 3000, STEP, STEP))
    settled(tmp_path / "EURUSD_M15.parquet")
    excerpts = Excerpts(tmp_path, "data")
    feed = Feed(tmp_path)
    asked = feed.bars("EURUSD", "M15", 2000 * STEP, 2010 * STEP)
    feed.keep(excerpts)
    (kept,) = tmp_path.glob("feed-*.bars")
    content = kept.read_bytes()
    program = (
        "import sys; from pathlib import Path; from oracle_batch.market.excerpts import Excerpts\n"
        "from oracle_batch.market.feed import Feed\n"
        "folder = Path(sys.argv[1]); feed = Feed(folder, Excerpts(folder, 'data'))\n"
        f"found = feed.bars('EURUSD', 'M15', {2000 * STEP}, {2010 * STEP})\n"
        f"print(len(found), feed.at_or_before('EURUSD', 'M15', {2100 * STEP + 5}), 'pyarrow' in sys.modules)\n"
        f"print(len(feed.bars('EURUSD', 'M15', 0, {11 * STEP})), 'pyarrow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["10", str(2100 * STEP), "False", "10", "True"]
    assert len(asked) == 10
    again = Feed(tmp_path)
    again.bars("EURUSD", "M15", 2005 * STEP, 2012 * STEP)
    again.keep(excerpts)
    assert kept.read_bytes() == content, "what it holds already is not written again"


def test_another_state_of_the_file_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD_M15.parquet"
    write_bars(path, shaped([0] * 50, STEP, STEP))
    settled(path)
    excerpts = Excerpts(tmp_path, "data")
    feed = Feed(tmp_path)
    feed.bars("EURUSD", "M15", STEP, 51 * STEP)
    feed.keep(excerpts)
    write_bars(path, shaped([6] * 50, STEP, STEP))
    close = Feed(tmp_path, excerpts).bars("EURUSD", "M15", STEP, 2 * STEP).close[0]
    assert close == shaped([6], STEP, STEP).close[0]


def test_a_file_that_has_just_been_written_is_not_excerpted(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD_M15.parquet"
    write_bars(path, shaped([0] * 50, STEP, STEP))
    os.utime(path)
    feed = Feed(tmp_path)
    feed.bars("EURUSD", "M15", STEP, 51 * STEP)
    os.utime(path)
    feed.keep(Excerpts(tmp_path, "data"))
    assert list(tmp_path.glob("feed-*")) == []


@pytest.mark.parametrize("spoilt", ["short", "magic", "sum", "length"])
def test_an_odd_excerpt_is_passed_over(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "EURUSD_M15.parquet"
    write_bars(path, shaped([0] * 50, STEP, STEP))
    settled(path)
    excerpts = Excerpts(tmp_path, "data")
    feed = Feed(tmp_path)
    feed.bars("EURUSD", "M15", STEP, 51 * STEP)
    feed.keep(excerpts)
    (kept,) = tmp_path.glob("feed-*.bars")
    data = bytearray(kept.read_bytes())
    status = path.stat()
    stamp = (status.st_size, status.st_mtime_ns)
    assert excerpts.load(path, stamp) is not None
    if spoilt == "magic":
        data[0] ^= 1
    if spoilt == "sum":
        data[-1] ^= 1
    kept.write_bytes({"short": data[:20], "length": data + b"\0" * 8}.get(spoilt, data))
    assert excerpts.load(path, stamp) is None
    assert len(Feed(tmp_path, excerpts).bars("EURUSD", "M15", STEP, 51 * STEP)) == 50


def test_a_series_without_rows_is_known_to_have_none() -> None:
    nothing = Excerpt(bars([]), first=True, last=True)
    assert len(nothing.between(0, 900)) == 0
    assert nothing.at_or_after(0) is nothing.at_or_before(0) is None
    with pytest.raises(NotHeldError):
        Excerpt(bars([]), first=False, last=True).at_or_after(0)
