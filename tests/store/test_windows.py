"""A window of bars comes back value for value, or is refused by field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.bars import FIELDS, Bars, empty
from oracle_batch.errors import BarError, StateError
from oracle_batch.store import windows
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.windows import Window

START = 1_770_000_300


def bars(count: int, seed: int = 1) -> Bars:
    random = np.random.default_rng(seed)
    close = 1.1 + np.cumsum(random.normal(0, 1e-4, count))
    opened = close + random.normal(0, 1e-5, count)
    high = np.maximum(opened, close) + random.random(count) * 1e-4
    low = np.minimum(opened, close) - random.random(count) * 1e-4
    time = START + 900 * np.cumsum(random.integers(1, 4, count))
    return Bars(time.astype(np.int64), opened, high, low, close, random.integers(0, 500, count).astype(np.float64))


def columns(source: Bars) -> dict[str, Any]:
    return {name: getattr(source, name) for name in FIELDS}


def stored(path: Path, data: bytes) -> Path:
    replace_atomically(path, data)
    return path


def parquet(table: dict[str, Any], **metadata: str) -> bytes:
    labels = {"symbol": "EURUSD", "timeframe": "M15", "source": "paper"} | metadata
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table).replace_schema_metadata(labels), sink)
    return bytes(sink.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bars")


@given(count=st.integers(1, 1000), seed=st.integers(0, 2**32 - 1), source=st.text(max_size=30))
def test_a_window_survives_its_file(folder: Path, count: int, seed: int, source: str) -> None:
    window = Window(bars(count, seed), source)
    path = stored(folder / "w.parquet", windows.encode(window, "EURUSD", "M15"))
    again = windows.load(path, "EURUSD", "M15")
    assert again is not None
    assert again.source == source
    assert again.bars.equals(window.bars)
    assert all(getattr(again.bars, name).flags.writeable for name in FIELDS)


def test_only_the_newest_thousand_bars_are_kept(tmp_path: Path) -> None:
    many = bars(1500)
    path = stored(tmp_path / "w.parquet", windows.encode(Window(many, "paper"), "EURUSD", "M15"))
    again = windows.load(path, "EURUSD", "M15")
    assert again is not None
    assert again.bars.equals(many[-1000:])


def test_the_file_has_the_documented_columns_and_metadata(tmp_path: Path) -> None:
    path = stored(tmp_path / "w.parquet", windows.encode(Window(bars(10), "ctrader:demo"), "EURUSD", "M15"))
    schema = pq.read_schema(path)
    assert {field.name: str(field.type) for field in schema} == {"time": "int64"} | dict.fromkeys(FIELDS[1:], "double")
    assert schema.metadata == {b"source": b"ctrader:demo", b"symbol": b"EURUSD", b"timeframe": b"M15"}


def test_a_model_without_a_file_has_no_window_yet(tmp_path: Path) -> None:
    assert windows.load(tmp_path / "absent.parquet", "EURUSD", "M15") is None


def test_an_empty_window_is_one_too(tmp_path: Path) -> None:
    path = stored(tmp_path / "w.parquet", windows.encode(Window(empty(), "paper"), "EURUSD", "M15"))
    again = windows.load(path, "EURUSD", "M15")
    assert again is not None
    assert len(again.bars) == 0


def test_windows_of_other_writers_are_read_whatever_their_chunks(tmp_path: Path) -> None:
    source = bars(100)
    sink = pa.BufferOutputStream()
    table = pa.table(columns(source)).replace_schema_metadata({"symbol": "EURUSD", "timeframe": "M15", "source": "x"})
    pq.write_table(table, sink, row_group_size=7, compression="zstd")
    again = windows.load(stored(tmp_path / "w.parquet", bytes(sink.getvalue())), "EURUSD", "M15")
    assert again is not None
    assert again.bars.equals(source)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [({"symbol": "GBPUSD"}, "symbol"), ({"timeframe": "H1"}, "timeframe")],
)
def test_another_models_window_is_refused(tmp_path: Path, metadata: dict[str, str], field: str) -> None:
    path = stored(tmp_path / "w.parquet", parquet(columns(bars(10)), **metadata))
    with pytest.raises(StateError) as caught:
        windows.load(path, "EURUSD", "M15")
    assert caught.value.field == field
    assert "oracle-batch warmup EURUSD_M15" in str(caught.value)
    assert str(path) in str(caught.value)


def without(table: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: column for key, column in table.items() if key != name}


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        (lambda t: without(t, "volume"), "volume", "is missing, not double"),
        (lambda t: t | {"time": t["time"].astype(np.float64)}, "time", "is double, not int64"),
        (lambda t: t | {"close": t["close"].astype(np.float32)}, "close", "is float, not double"),
        (lambda t: t | {"close": pa.array([None] * 10, pa.float64())}, "close", "holds nulls"),
        (lambda t: t | {"close": np.full(10, np.nan)}, "close", "is not finite"),
        (lambda t: t | {"low": np.zeros(10)}, "low", "is not above 0"),
        (lambda t: t | {"high": t["low"]}, "high", "is below open or close"),
        (lambda t: t | {"volume": np.full(10, -1.0)}, "volume", "is negative"),
        (lambda t: t | {"time": t["time"][::-1]}, "time", "does not come after the bar before it"),
        (lambda t: t | {"time": t["time"] + 60}, "time", "is not on the M15 grid"),
    ],
)
def test_a_window_that_breaks_the_rules_is_refused_by_field_and_kept(
    tmp_path: Path, change: Any, field: str, why: str
) -> None:
    path = stored(tmp_path / "w.parquet", parquet(change(columns(bars(10)))))
    before = path.read_bytes()
    with pytest.raises(StateError) as caught:
        windows.load(path, "EURUSD", "M15")
    assert caught.value.field == field
    assert why in caught.value.message
    assert path.read_bytes() == before


def test_provenance_is_never_guessed(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns(bars(10)), metadata={"symbol": "EURUSD", "timeframe": "M15"}), sink)
    with pytest.raises(StateError) as caught:
        windows.load(stored(tmp_path / "w.parquet", bytes(sink.getvalue())), "EURUSD", "M15")
    assert (caught.value.field, caught.value.message) == ("source", "is missing")


def test_a_bad_bar_is_never_written() -> None:
    source = bars(10)
    source.close[3] = np.nan
    with pytest.raises(BarError, match=r"close \(nan\) is not finite"):
        windows.encode(Window(source, "paper"), "EURUSD", "M15")


def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = windows.encode(Window(bars(5), "paper"), "EURUSD", "M15")
    for length in range(len(whole)):
        path = stored(tmp_path / "w.parquet", whole[:length])
        with pytest.raises(StateError, match="is no readable Parquet file") as caught:
            windows.load(path, "EURUSD", "M15")
        assert str(path) in str(caught.value)


@given(at=st.integers(0, 100_000), mask=st.integers(1, 255))
def test_one_wrong_byte_changes_no_price_unnoticed(folder: Path, at: int, mask: int) -> None:
    source = bars(20)
    data = bytearray(windows.encode(Window(source, "paper"), "EURUSD", "M15"))
    data[at % len(data)] ^= mask
    path = stored(folder / "flip.parquet", bytes(data))
    try:
        found = windows.load(path, "EURUSD", "M15")
    except StateError:
        return
    assert found is not None
    assert found.bars.equals(source)


def test_a_footer_that_counts_fewer_rows_drops_no_bar_unnoticed(tmp_path: Path) -> None:
    source = bars(20)
    whole = windows.encode(Window(source, "paper"), "EURUSD", "M15")
    twenty, eighteen = 40, 36  # zigzag varints
    refused = 0
    for at in range(len(whole) - 1500, len(whole)):
        if whole[at] == twenty:
            path = stored(tmp_path / "w.parquet", whole[:at] + bytes([eighteen]) + whole[at + 1 :])
            try:
                found = windows.load(path, "EURUSD", "M15")
            except StateError:
                refused += 1
                continue
            assert found is not None
            assert found.bars.equals(source)
    assert refused


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_window_or_a_state_error(folder: Path, data: bytes) -> None:
    with pytest.raises(StateError):
        windows.load(stored(folder / "fuzz.parquet", data), "EURUSD", "M15")


def test_reading_and_writing_import_no_pandas(tmp_path: Path) -> None:
    path = stored(tmp_path / "w.parquet", windows.encode(Window(bars(10), "paper"), "EURUSD", "M15"))
    script = (
        "import sys; from pathlib import Path; from oracle_batch.store import windows;"
        "assert 'pyarrow' not in sys.modules;"
        f"w = windows.load(Path({str(path)!r}), 'EURUSD', 'M15'); windows.encode(w, 'EURUSD', 'M15');"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
