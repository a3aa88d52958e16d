"""Folders of bars: what is read, and what is refused in which words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.errors import BarError, ConfigError
from oracle_batch.market import readers
from oracle_batch.market.feed import Feed
from tests.market.build import M15, T0, bars, columns

SOME = bars([(1.1, 1.2, 1.0, 1.15), (1.15, 1.3, 1.1, 1.2), (1.2,)])


def parquet(path: Path, source: Bars, row_group_size: int | None = None, **changes: Any) -> None:
    table = pa.table({name: values for name, values in (columns(source) | changes).items() if values is not None})
    pq.write_table(table, path, row_group_size=row_group_size)


def csv(path: Path, source: Bars) -> None:
    rows = zip(*columns(source).values(), strict=True)
    path.write_text(",".join(FIELDS) + "\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))


def refusal(folder: Path, start: int = 0, end: int = 10**10, timeframe: str = "M15") -> str:
    with pytest.raises(BarError) as caught:
        Feed(folder).bars("EURUSD", timeframe, start, end)
    return str(caught.value)


@pytest.mark.parametrize("write", [parquet, csv])
def test_both_formats_give_the_same_bars(tmp_path: Path, write: Any) -> None:
    write(tmp_path / f"EURUSD_M15.{write.__name__}", SOME)
    feed = Feed(tmp_path)
    assert feed.bars("EURUSD", "M15", 0, 10**10).equals(SOME)
    assert feed.bars("EURUSD", "M15", T0 + 1, T0 + 2 * M15).equals(SOME[1:2])
    assert len(feed.bars("EURUSD", "M15", T0 + 3 * M15, 10**10)) == 0
    assert feed.at_or_after("EURUSD", "M15", T0 + 0.5) == T0 + M15
    assert feed.at_or_after("EURUSD", "M15", T0 + 3 * M15) is None
    assert feed.at_or_before("EURUSD", "M15", T0 + M15 + 0.5) == T0 + M15
    assert feed.at_or_before("EURUSD", "M15", T0 - 1) is None


def test_names_say_what_a_file_holds_and_others_are_left_alone(tmp_path: Path) -> None:
    csv(tmp_path / "EURUSD_M15.csv", SOME)
    csv(tmp_path / "US_500_M15.csv", SOME)
    parquet(tmp_path / "EURUSD_M1.parquet", bars([(1.1,)], seconds=60))
    for name in ("ticks_EURUSD.csv", "EURUSD_M2.csv", "SOURCES.md", "EURUSD_M5.txt"):
        (tmp_path / name).write_text("not bars")
    feed = Feed(tmp_path)
    assert feed.symbols() == ["EURUSD", "US_500"]
    assert feed.timeframes("EURUSD") == ["M1", "M15"]
    assert feed.timeframes("GBPUSD") == []
    with pytest.raises(BarError, match=r"no bars of GBPUSD M15 \(put GBPUSD_M15.parquet or .csv into the folder\)"):
        feed.bars("GBPUSD", "M15", 0, 1)


def test_two_files_of_one_series_and_a_missing_folder_are_configuration_errors(tmp_path: Path) -> None:
    csv(tmp_path / "EURUSD_M15.csv", SOME)
    parquet(tmp_path / "EURUSD_M15.parquet", SOME)
    with pytest.raises(ConfigError, match=r"EURUSD_M15\.csv and EURUSD_M15\.parquet hold the same series"):
        Feed(tmp_path)
    with pytest.raises(ConfigError, match=r"no such folder of bars \(\[broker.paper\] data names it\)"):
        Feed(tmp_path / "nowhere")


def test_columns_come_in_any_order_and_case_and_volume_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "EURUSD_M15.csv").write_text(f"Close,extra,HIGH,low, open ,Time\n1.1,x,1.2,1.0,1.05,{T0}\n")
    parquet(tmp_path / "GBPUSD_M15.parquet", SOME, volume=None, spread=[1, 2, 3])
    feed = Feed(tmp_path)
    expected = Bars(np.array([T0]), *(np.array([price]) for price in (1.05, 1.2, 1.0, 1.1, 0.0)))
    assert feed.bars("EURUSD", "M15", 0, 10**10).equals(expected)
    assert feed.bars("GBPUSD", "M15", 0, 10**10).volume.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("text", ["2023-11-14T23:00:00Z", "2023-11-15T00:00:00+01:00", f"{T0}", f"{T0}.0"])
def test_csv_times_are_seconds_or_iso_with_an_offset(tmp_path: Path, text: str) -> None:
    (tmp_path / "EURUSD_M15.csv").write_text(f"time,open,high,low,close\n{text},1,1,1,1\n")
    assert Feed(tmp_path).bars("EURUSD", "M15", 0, 10**10).time.tolist() == [T0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column time; there are none"),
        ("time,open,high,low\n", "no column close; there are 'time', 'open', 'high', 'low'"),
        ("time,open,high,low,close,Time\n", "two columns for time: 'time', 'Time'"),
        (
            "time,open,high,low,close\n2023-11-14T23:00:00,1,1,1,1\n",
            "line 2: time '2023-11-14T23:00:00' has no UTC offset",
        ),
        ("time,open,high,low,close\nnoon,1,1,1,1\n", "line 2: time 'noon' is no instant"),
        (f"time,open,high,low,close\n{T0}000,1,1,1,1\n", f"time {T0}000 is in milliseconds or finer"),
        (f"time,open,high,low,close\n{T0}.5,1,1,1,1\n", f"time {T0}.5 is not a whole second"),
        (f"time,open,high,low,close\n{T0},1,1,1\n", "line 2 has 4 of 5 cells"),
        (f"time,open,high,low,close\n{T0},1,1,one,1\n", "low: line 2: 'one' is no number"),
        (f"time,open,high,low,close\n{T0},1,1,,1\n", "is not finite"),
        (f"time,open,high,low,close\n{T0},1,1,1,1\n{T0},1,1,1,1\n", f"time {T0} (2023-11-14 23:00Z) stands twice"),
        (f"time,open,high,low,close\n{T0},1,1,1,1\n{T0 - 900},1,1,1,1\n", f"comes after {T0}"),
        (f"time,open,high,low,close\n{T0 + 60},1,1,1,1\n", "is not on the M15 grid"),
        (f"time,open,high,low,close\n{T0},1,0.5,1,1\n", "is below open or close"),
    ],
)
def test_a_csv_that_cannot_be_right_is_refused_with_its_name(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "EURUSD_M15.csv").write_text(content)
    message = refusal(tmp_path)
    assert words in message
    assert str(tmp_path / "EURUSD_M15.csv") in message
    assert message.endswith(")"), "every refusal says what to do"


def test_bytes_that_are_no_text_and_files_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "EURUSD_M15.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(tmp_path)
    (tmp_path / "EURUSD_M15.csv").unlink()
    (tmp_path / "EURUSD_M15.parquet").write_bytes(b"PAR1 and nothing more PAR1")
    assert "cannot be read" in refusal(tmp_path)
    parquet(tmp_path / "EURUSD_M15.parquet", SOME)
    whole = (tmp_path / "EURUSD_M15.parquet").read_bytes()
    (tmp_path / "EURUSD_M15.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time": [T0 * 1000, T0 * 1000 + 1, T0 * 1000 + 2]}, "is in milliseconds or finer"),
        ({"time": [T0, T0, T0 + M15]}, "stands twice"),
        ({"time": [T0 + M15, T0, T0 + 2 * M15]}, "comes after"),
        ({"time": ["a", "b", "c"]}, "times are string"),
        ({"time": [T0, None, T0 + M15]}, "a time is missing"),
        ({"time": [T0, T0 + 0.5, T0 + M15]}, "is not a whole second"),
        ({"time": pa.array([T0, T0 + M15, T0 + 2 * M15], pa.timestamp("s"))}, "times have no time zone"),
        ({"close": ["1", "2", "3"]}, "close: holds text"),
        ({"close": [[1.0], [2.0], [3.0]]}, "close: holds list"),
        ({"close": [1.1, None, 1.2]}, "is not finite"),
        ({"high": None}, "no column high"),
    ],
)
def test_a_parquet_that_cannot_be_right_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    parquet(tmp_path / "EURUSD_M15.parquet", SOME, **changes)
    message = refusal(tmp_path)
    assert words in message
    assert "EURUSD_M15.parquet" in message


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ms", "UTC"), pa.timestamp("ns", "Europe/Athens"), pa.int32(), pa.float64()]
)
def test_parquet_times_may_be_zoned_timestamps_or_any_number_of_seconds(tmp_path: Path, kind: Any) -> None:
    times = pa.array(SOME.time.tolist(), pa.int64())
    scaled = times if not pa.types.is_timestamp(kind) else times.cast(pa.timestamp("s", kind.tz))
    parquet(tmp_path / "EURUSD_M15.parquet", SOME, time=scaled.cast(kind))
    assert Feed(tmp_path).bars("EURUSD", "M15", 0, 10**10).equals(SOME)


@pytest.mark.parametrize("write", [parquet, csv])
def test_a_bad_bar_outside_the_range_does_not_matter(tmp_path: Path, write: Any) -> None:
    spoiled = Bars(SOME.time, SOME.open, SOME.high, SOME.low, np.array([np.nan, 1.2, 1.2]), SOME.volume)
    write(tmp_path / f"EURUSD_M15.{write.__name__}", spoiled)
    assert Feed(tmp_path).bars("EURUSD", "M15", T0 + M15, 10**10).equals(SOME[1:])
    message = refusal(tmp_path)
    assert f"EURUSD bar {T0} (2023-11-14 23:00Z): close" in message
    assert "is not finite" in message


def long_series(rows: int) -> Bars:
    price = 1 + np.arange(rows) / rows
    return Bars(T0 + M15 * np.arange(rows), price, price + 0.1, price - 0.1, price, np.ones(rows))


def test_every_range_of_a_file_in_row_groups_is_the_same_as_a_slice(tmp_path: Path) -> None:
    series = long_series(5000)
    parquet(tmp_path / "EURUSD_M15.parquet", series, row_group_size=700)
    feed = Feed(tmp_path)
    rng = np.random.default_rng(1)
    for low, high in [(4990, 5000), *np.sort(rng.integers(0, 5000, (60, 2)), axis=1).tolist()]:
        got = feed.bars("EURUSD", "M15", T0 + M15 * low, T0 + M15 * high)
        assert got.equals(series[low:high])
        assert feed.at_or_before("EURUSD", "M15", T0 + M15 * high - 1) == T0 + M15 * (high - 1)
        assert feed.at_or_after("EURUSD", "M15", T0 + M15 * low - 1) == T0 + M15 * low


def test_a_tail_is_read_from_its_row_group_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "EURUSD_M15.parquet", long_series(5000), row_group_size=1000)
    read: list[int] = []
    original = readers.ParquetReader._read

    def spy(self: Any, file: Any, index: int, wanted: list[str]) -> Any:
        read.append(index)
        return original(self, file, index, wanted)

    monkeypatch.setattr(readers.ParquetReader, "_read", spy)
    feed = Feed(tmp_path)
    feed.bars("EURUSD", "M15", T0 + M15 * 4600, 10**10)
    feed.bars("EURUSD", "M15", T0 + M15 * 4990, 10**10)
    feed.at_or_before("EURUSD", "M15", 10**10)
    assert read == [4, 4], "one read for the times, one for the prices"


def test_row_groups_out_of_order_are_refused(tmp_path: Path) -> None:
    series = long_series(100)
    order = np.r_[50:100, 0:50]
    parquet(tmp_path / "EURUSD_M15.parquet", series[order], row_group_size=50)
    assert "comes after" in refusal(tmp_path)


def test_statistics_are_a_help_and_no_need(tmp_path: Path) -> None:
    series = long_series(100)
    pq.write_table(
        pa.table(columns(series)), tmp_path / "EURUSD_M15.parquet", row_group_size=30, write_statistics=False
    )
    assert Feed(tmp_path).bars("EURUSD", "M15", 0, 10**10).equals(series)


def test_an_empty_file_has_no_bars(tmp_path: Path) -> None:
    parquet(tmp_path / "EURUSD_M15.parquet", SOME[:0])
    (tmp_path / "EURUSD_M5.csv").write_text("time,open,high,low,close\n")
    for timeframe in ("M15", "M5"):
        assert len(Feed(tmp_path).bars("EURUSD", timeframe, 0, 10**10)) == 0


def test_reading_parquet_does_not_load_pandas(tmp_path: Path) -> None:
    import subprocess

    parquet(tmp_path / "EURUSD_M15.parquet", SOME)
    program = (
        "import sys; from pathlib import Path; from oracle_batch.market.feed import Feed;"
        f"feed = Feed(Path({str(tmp_path)!r})); assert 'pyarrow' not in sys.modules;"
        "assert len(feed.bars('EURUSD', 'M15', 0, 10**10)) == 3;"
        "assert not {'pandas', 'torch', 'twisted'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
