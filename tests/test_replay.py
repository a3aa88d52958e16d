"""``oracle-batch replay``: the brain alone over a file of bars, and what it says when it cannot."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace as with_
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.cli import run
from oracle_batch.errors import UsageError
from oracle_batch.replay import read_bars, replay_file
from tests.brain.markets import ROOT, SHIPPED, bundle, read
from tests.bundle.build import make_bundle

MODEL = bundle("EURUSD_M15")
COLUMNS = {
    "time": pa.int64(),
    "hmm_state": pa.int8(),
    "action": pa.int8(),
    "direction": pa.int8(),
    "intensity": pa.int8(),
    "entry_price": pa.float64(),
    "floating_pnl": pa.float64(),
    "realized_pnl": pa.float64(),
}


@pytest.fixture(scope="module")
def bars() -> Bars:
    """The newest shipped bars of EURUSD."""
    return read(SHIPPED / "EURUSD_M15.parquet")[-420:]


def write_parquet(bars: Bars, path: Path) -> Path:
    """Bars as a Parquet file."""
    pq.write_table(pa.table({name: pa.array(getattr(bars, name)) for name in FIELDS}), path)
    return path


def write_csv(bars: Bars, path: Path) -> Path:
    """Bars as text, every digit kept."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(zip(*(getattr(bars, name).tolist() for name in FIELDS), strict=True))
    return path


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as an operator types it."""
    line = [sys.executable, "-m", "oracle_batch", "replay", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def spoilt(bars: Bars, field: str, row: int, value: float) -> Bars:
    """The bars with one value replaced."""
    column = getattr(bars, field).copy()
    column[row] = value
    return with_(bars, **{field: column})


@pytest.mark.parametrize("write", [write_parquet, write_csv])
def test_the_command_writes_one_row_a_bar_from_the_350th_on(
    write: Callable[[Bars, Path], Path], bars: Bars, tmp_path: Path
) -> None:
    path = write(bars, tmp_path / ("bars.parquet" if write is write_parquet else "bars.csv"))
    out = tmp_path / "signals.parquet"
    done = command(MODEL, "--bars", path, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EURUSD_M15: 71 bars decided" in done.stdout
    table = pq.read_table(out)
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == COLUMNS
    expected = replay(load_model(MODEL, None), bars, FLAT, 71)
    rows = table.to_pydict()
    assert rows["time"] == bars.time[349:].tolist()
    assert rows["hmm_state"] == expected.hmm_states
    assert rows["action"] == expected.actions
    for name in ("direction", "intensity", "entry_price", "floating_pnl", "realized_pnl"):
        assert rows[name] == [getattr(twin, name) for twin in expected.twins]
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, "signals.parquet"])


def test_observations_come_as_lists_of_fixed_size(bars: Bars, tmp_path: Path) -> None:
    path, out = write_parquet(bars, tmp_path / "bars.parquet"), tmp_path / "signals.parquet"
    assert run(["replay", str(MODEL), "--bars", str(path), "--out", str(out), "--obs"]) == 0
    table = pq.read_table(out)
    assert table.schema.names == [*COLUMNS, "obs"]
    kind = table.schema.field("obs").type
    assert pa.types.is_fixed_size_list(kind)
    assert (kind.list_size, kind.value_type) == (14, pa.float32())
    expected = replay(load_model(MODEL, None), bars, FLAT, 71).observations
    assert np.array(table["obs"].to_pylist(), np.float32).tobytes() == expected.tobytes()


def test_other_state_counts_make_other_observations(bars: Bars, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, n_states=3, hidden=(8,))
    path, out = write_parquet(bars, tmp_path / "bars.parquet"), tmp_path / "signals.parquet"
    assert run(["replay", str(bundle), "--bars", str(path), "--out", str(out), "--obs"]) == 0
    assert pq.read_schema(out).field("obs").type.list_size == 12


def test_exactly_350_bars_are_one_decision(bars: Bars, tmp_path: Path) -> None:
    path, out = write_parquet(bars[-350:], tmp_path / "bars.parquet"), tmp_path / "signals.parquet"
    assert run(["replay", str(MODEL), "--bars", str(path), "--out", str(out)]) == 0
    assert pq.read_table(out)["time"].to_pylist() == [int(bars.time[-1])]


def test_columns_in_another_order_are_found_by_name(bars: Bars, tmp_path: Path) -> None:
    table = pa.table({name: pa.array(getattr(bars, name)) for name in reversed(FIELDS)})
    pq.write_table(table.append_column("spread", pa.array(np.ones(len(bars)))), tmp_path / "bars.parquet")
    assert read_bars(tmp_path / "bars.parquet", "EURUSD", "M15").equals(bars)


def test_a_file_of_many_row_groups_is_read_whole(bars: Bars, tmp_path: Path) -> None:
    table = pa.table({name: pa.array(getattr(bars, name)) for name in FIELDS})
    pq.write_table(table, tmp_path / "bars.parquet", row_group_size=37)
    assert read_bars(tmp_path / "bars.parquet", "EURUSD", "M15").equals(bars)


def test_an_earlier_output_is_replaced(bars: Bars, tmp_path: Path) -> None:
    path, out = write_parquet(bars, tmp_path / "bars.parquet"), tmp_path / "signals.parquet"
    out.write_text("old")
    assert replay_file(load_model(MODEL, None), path, out) == 71
    assert pq.read_metadata(out).num_rows == 71


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and message of a refused command."""
    code = run(["replay", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return code, captured.err


def test_too_few_bars(bars: Bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_parquet(bars[-349:], tmp_path / "short.parquet"), tmp_path / "signals.parquet"
    code, message = refusal(capsys, MODEL, "--bars", path, "--out", out)
    assert code == 65
    assert "short.parquet" in message
    assert "349 bars, 350 are needed" in message
    assert not out.exists()


@pytest.mark.parametrize("name", ["none.parquet", "none.csv"])
def test_a_bars_file_that_is_not_there(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = refusal(capsys, MODEL, "--bars", tmp_path / name, "--out", tmp_path / "signals.parquet")
    assert code == 65
    assert name in message
    assert "no such file" in message


def test_a_folder_in_place_of_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bars.parquet").mkdir()
    code, _ = refusal(capsys, MODEL, "--bars", tmp_path / "bars.parquet", "--out", tmp_path / "signals.parquet")
    assert code == 65


@pytest.mark.parametrize("name", ["bars.txt", "bars", "bars.json"])
def test_another_kind_of_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("time")
    code, message = refusal(capsys, MODEL, "--bars", tmp_path / name, "--out", tmp_path / "signals.parquet")
    assert code == 65
    assert "neither .parquet nor .csv" in message


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense \xff\xfe PAR1", b"a,b\n1,2\n"])
def test_a_file_of_something_else(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    code, message = refusal(capsys, MODEL, "--bars", tmp_path / name, "--out", tmp_path / "signals.parquet")
    assert code == 65
    assert name in message


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("close", np.nan, "not finite"),
        ("open", np.inf, "not finite"),
        ("low", -1.0, "not above 0"),
        ("high", 0.5, "below open or close"),
        ("low", 2.0, "above open or close"),
        ("volume", -3.0, "negative"),
        ("volume", np.nan, "not finite"),
    ],
)
@pytest.mark.parametrize("write", [write_parquet, write_csv])
def test_a_bad_bar_is_refused_by_symbol_time_and_field(
    write: Callable[[Bars, Path], Path],
    field: str,
    value: float,
    why: str,
    bars: Bars,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(spoilt(bars, field, 77, value), tmp_path / f"bars.{write.__name__.removeprefix('write_')}")
    out = tmp_path / "signals.parquet"
    code, message = refusal(capsys, MODEL, "--bars", path, "--out", out)
    assert code == 65
    for part in ("EURUSD", str(int(bars.time[77])), field, why, path.name):
        assert part in message
    assert not out.exists()


@pytest.mark.parametrize("shift", [-900 * 3, 7])
def test_times_out_of_order_or_off_the_grid(
    shift: int, bars: Bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = bars.time.copy()
    time[200] += shift
    path = write_parquet(with_(bars, time=time), tmp_path / "bars.parquet")
    code, message = refusal(capsys, MODEL, "--bars", path, "--out", tmp_path / "signals.parquet")
    assert code == 65
    assert "time" in message


def test_a_bundle_that_is_not_there_or_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "EURUSD_M15.zip").write_bytes(b"no archive")
    for path in (tmp_path / "GBPUSD_H1.zip", tmp_path / "EURUSD_M15.zip"):
        data = SHIPPED / "EURUSD_M15.parquet"
        code, message = refusal(capsys, path, "--bars", data, "--out", tmp_path / "signals.parquet")
        assert code == 65
        assert path.name in message


@pytest.mark.parametrize("name", ["missing/signals.parquet", "taken"])
def test_an_output_that_cannot_be_written(
    name: str, bars: Bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    path = write_parquet(bars, tmp_path / "bars.parquet")
    code, message = refusal(capsys, MODEL, "--bars", path, "--out", tmp_path / name)
    assert code == 64
    assert "--out" in message
    assert Path(name).name in message
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_disk_leaves_the_earlier_output_alone(bars: Bars, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path, out = write_parquet(bars, tmp_path / "bars.parquet"), tmp_path / "signals.parquet"
    out.write_text("old")
    (tmp_path / ".signals.parquet.tmp").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="cannot be written"):
        replay_file(load_model(MODEL, None), path, out)
    assert out.read_text() == "old"


def test_missing_options_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay"]) == 64
    assert run(["replay", str(MODEL)]) == 64
    assert run(["replay", str(MODEL), "--bars", "x.parquet"]) == 64
    assert "Traceback" not in capsys.readouterr().err


def test_an_output_never_takes_the_place_of_an_input_or_of_anything_but_a_file(bars: Bars, tmp_path: Path) -> None:
    history = write_parquet(bars, tmp_path / "EURUSD_M15.parquet")
    before = history.read_bytes()
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(history)
    for out, why in (
        (history, "is an input"),
        (MODEL, "is an input"),
        (pipe, "no regular file"),
        (link, "no regular file"),
    ):
        found = command(MODEL, "--bars", history, "--out", out)
        assert found.returncode == 64
        assert why in found.stderr
    assert history.read_bytes() == before
    assert pipe.is_fifo()
    assert link.is_symlink()
