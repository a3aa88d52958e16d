"""``oracle-batch warmup`` and ``replay``."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from oracle_batch.store.lock import hold
from tests.cli.conftest import BEFORE, MODEL, ROOT, SAMPLES, Cli, snapshot

BUNDLE = SAMPLES / f"{MODEL}.zip"
COLUMNS = {
    "time": "int64", "hmm_state": "int8", "action": "int8", "direction": "int8", "intensity": "int8",
    "entry_price": "double", "floating_pnl": "double", "realized_pnl": "double",
}  # fmt: skip


@pytest.mark.parametrize("target", ["EURUSD", MODEL, "--all"])
def test_a_warmup_brings_the_twin_to_the_newest_bar(target: str, fresh: Cli) -> None:
    ran = fresh("warmup", target, "--now", BEFORE)
    assert (ran.code, ran.out) == (0, "")
    assert f"{MODEL}: 1000 bars, the last of 2026-07-24 07:30Z" in ran.err
    model = fresh("status", "--json", "--now", BEFORE).json["accounts"]["paper"]["models"][MODEL]
    assert (model["bars_behind"], model["real"]) == (0, "FLAT")
    assert not (fresh.home / "state" / "journal" / "paper").exists()


def test_an_unknown_symbol_is_answered_by_the_known_ones(fresh: Cli) -> None:
    ran = fresh("warmup", "NOPE")
    assert ran.code == 78
    assert f"known: {MODEL}" in ran.err


def test_a_model_that_cannot_be_warmed_up_keeps_its_files(warm: Cli) -> None:
    before = snapshot(warm.home / "state")
    ran = warm("warmup", MODEL, "--now", "2026-03-02T10:00:00Z")
    assert ran.code == 1
    assert "closed bars, 350 are needed" in ran.err
    assert snapshot(warm.home / "state") == before


def test_a_broken_bundle_is_told_and_the_others_are_warmed_up(fresh: Cli) -> None:
    (fresh.home / "models" / "GBPUSD_H1.zip").write_bytes(b"broken")
    ran = fresh("warmup", "--all", "--now", BEFORE)
    assert ran.code == 1
    assert "GBPUSD_H1" in ran.err
    assert (fresh.home / "state" / "twin" / f"{MODEL}.json").exists()


def test_a_warmup_does_not_wait_for_ever(fresh: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle_batch.warmup.OPERATOR_TIMEOUT_S", 0.1)
    (fresh.home / "state").mkdir(mode=0o700)
    with hold(fresh.home / "state" / "lock"):
        assert fresh("warmup", "--all", "--now", BEFORE).code == 75


def bars(folder: Path, count: int = 400) -> tuple[Path, Path]:
    """The same bars as Parquet and as CSV."""
    table = pyarrow.parquet.read_table(ROOT / "data" / f"{MODEL}.parquet").slice(0, count)
    pyarrow.parquet.write_table(table, folder / "bars.parquet")
    pyarrow.csv.write_csv(table, folder / "bars.csv")
    return folder / "bars.parquet", folder / "bars.csv"


def test_a_replay_has_one_row_a_bar_from_the_350th_on(empty: Cli, tmp_path: Path) -> None:
    parquet, csv = bars(tmp_path)
    out = tmp_path / "out.parquet"
    ran = empty.bare("replay", BUNDLE, "--bars", parquet, "--out", out)
    assert (ran.code, ran.out) == (0, f"{MODEL}: 51 bars decided, written to {out}\n")
    table = pyarrow.parquet.read_table(out)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert table["time"].to_pylist() == pyarrow.parquet.read_table(parquet)["time"].to_pylist()[349:]
    empty.bare("replay", BUNDLE, "--bars", csv, "--out", tmp_path / "again.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "again.parquet").equals(table)


def test_a_replay_with_observations(empty: Cli, tmp_path: Path) -> None:
    parquet, _ = bars(tmp_path)
    empty.bare("replay", BUNDLE, "--bars", parquet, "--out", tmp_path / "out.parquet", "--obs")
    kind = pyarrow.parquet.read_table(tmp_path / "out.parquet").schema.field("obs").type
    assert (kind.value_type, kind.list_size) == (pyarrow.float32(), 14)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.parquet", None, "no such file"),
        ("bars.txt", "", "neither .parquet nor .csv"),
        ("bars.csv", "time,open,high,low,close\n", "bars"),
        ("bars.csv", "nothing to see", "bars.csv"),
        ("bars.parquet", "no parquet", "bars.parquet"),
        ("bars.csv", "time,open,high,low,close\n900,1,1,1,nan\n", "bars.csv"),
    ],
)
def test_bars_that_cannot_be_read_are_named(
    name: str, text: str | None, message: str, empty: Cli, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    ran = empty.bare("replay", BUNDLE, "--bars", path, "--out", tmp_path / "out.parquet")
    assert ran.code == 65
    assert message in ran.err
    assert not (tmp_path / "out.parquet").exists()


def test_too_few_bars_for_one_window(empty: Cli, tmp_path: Path) -> None:
    parquet, _ = bars(tmp_path, 349)
    ran = empty.bare("replay", BUNDLE, "--bars", parquet, "--out", tmp_path / "out.parquet")
    assert ran.code == 65
    assert "349 bars, 350 are needed" in ran.err


def test_an_output_that_cannot_be_written_is_told(empty: Cli, tmp_path: Path) -> None:
    parquet, _ = bars(tmp_path)
    ran = empty.bare("replay", BUNDLE, "--bars", parquet, "--out", tmp_path / "absent" / "out.parquet")
    assert ran.code == 64
    assert "--out" in ran.err
