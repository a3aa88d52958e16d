"""``oracle-batch train`` as typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.cli import run
from tests.brain.markets import ROOT
from tests.training.build import bars
from tests.training.test_data import write

SMALL = [
    "--steps", "1024", "--seeds", "1", "--seed", "3", "--now", "2026-08-01T00:00:00Z",
    "--set", "ppo.n_steps=512", "--set", "ppo.n_envs=32", "--set", "ppo.batch_size=128", "--set", "ppo.net=[16]",
    "--set", "hmm.n_states=3", "--set", "hmm.iterations=5", "--set", "hmm.starts=1", "--set", "env.episode_bars=200",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of bars."""
    made = tmp_path / "data"
    made.mkdir()
    write(made / "EURUSD_M15.parquet", bars(2700))
    return made


def train(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["train", *(str(one) for one in arguments)])
    return code, *capsys.readouterr()


def test_a_symbol_is_trained_and_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models"
    file = folder / "EURUSD_M15.parquet"
    code, told, log = train(
        capsys, "EURUSD", "--timeframe", "M15", "--bars", file, "--out", out, *SMALL, "--spread-points", 5, "--json"
    )
    assert code == 0, log
    document = json.loads(told)
    assert document["models"]["EURUSD_M15"]["bundle"] == str(out / "EURUSD_M15.zip")
    assert "costs: spread 5 + slippage 2 points of 1e-05" in log
    with zipfile.ZipFile(out / "EURUSD_M15.zip") as archive:
        metadata = json.loads(archive.comment)
    assert metadata["training_config"]["spread_points"] == 5
    assert metadata["rl_config"]["net"] == [16]
    assert metadata["generated_at"] == "2026-08-01T00:00:00Z"
    assert (out / "EURUSD_M15.html").is_file()
    code, told, _ = train(
        capsys, "EURUSD", "--timeframe", "M15", "--bars", file, "--out", out, *SMALL, "--spread-points", 5, "--resume"
    )
    assert (code, told) == (0, f"EURUSD_M15: finished before, {out / 'EURUSD_M15.zip'}\n")


@pytest.mark.usefixtures("no_page")
def test_the_workspaces_broker_is_asked_for_bars(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models"
    code, told, log = train(
        capsys,
        "--home",
        tmp_path,
        "EURUSD",
        "--timeframe",
        "M15",
        "--from-broker",
        "--count",
        2680,
        "--out",
        out,
        *SMALL,
    )
    assert code == 0, log
    assert told.startswith("EURUSD_M15: Out of sample")
    with zipfile.ZipFile(out / "EURUSD_M15.zip") as archive:
        info = json.loads(archive.comment)["data_info"]
    assert (info["source"], info["total_bars"]) == ("paper feed", 2680)
    ask = ["--timeframe", "M15", "--from-broker", "--out", out]
    code, _, log = train(capsys, "--home", tmp_path, "GBPUSD", *ask)
    assert code == 65
    assert "no bars of GBPUSD M15" in log
    code, _, log = train(capsys, "--home", tmp_path, "EURUSD", *ask, "--now", "2020-01-01T00:00:00Z")
    assert code == 65
    assert "paper: --from-broker: the paper feed has no M15 bars of EURUSD (check the symbol" in log


@pytest.mark.usefixtures("no_page")
def test_all_trains_every_history_and_one_failure_is_only_its_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "ZZZ_M15.parquet", bars(900))
    code, told, log = train(capsys, "--all", "--bars", folder, "--out", tmp_path / "models", *SMALL)
    assert code == 1
    assert "ZZZ_M15" in log
    assert "leave 135 for validation" in log
    assert told.startswith("EURUSD_M15: Out of sample")


def test_one_symbols_contract_is_not_given_to_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "USDJPY_M15.parquet", bars(900))
    line = ("--all", "--bars", folder, "--out", tmp_path / "models", "--pip-value", 10)
    code, _, log = train(capsys, *line)
    assert (code, "--pip-value: is one symbol's, and --bars holds 2" in log) == (64, True)


MISTAKES: list[tuple[list[str], int, str]] = [
    ([], 64, "name a symbol, or say --all"),
    (["EURUSD"], 64, "--timeframe: is missing"),
    (["EURUSD", "--timeframe", "M7"], 64, "none of M1 M5"),
    (["EURUSD", "--timeframe", "M15"], 64, "give either --bars FILE or --from-broker"),
    (["EURUSD", "--timeframe", "M15", "--bars", "x.csv", "--from-broker"], 64, "give either"),
    (["EURUSD", "--timeframe", "M15", "--bars", "missing.csv"], 65, "missing.csv: no such file"),
    (["EURUSD", "--all", "--bars", "."], 64, "takes a folder of bars and no symbol"),
    (["--all", "--bars", "."], 64, "holds no SYMBOL_TIMEFRAME.parquet"),
    (["EURUSD", "--timeframe", "M15", "--bars", "x.csv", "--set", "ppo.nope=1"], 64, "known: split.train"),
    (["EURUSD", "--timeframe", "M15", "--bars", "x.csv", "--set", "ppo.gamma=high"], 64, "Expected `float`"),
    (["EURUSD", "--timeframe", "M15", "--bars", "x.csv", "--set", "split.train=0.9"], 64, "the parts overlap"),
]


@pytest.mark.parametrize(("line", "code", "words"), MISTAKES)
def test_a_mistaken_line_is_told(
    line: list[str], code: int, words: str, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    answered, _, log = train(capsys, *line)
    assert (answered, words in log) == (code, True), log


def test_missing_libraries_are_named_with_the_extra(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("oracle_batch.cli.extras.TRAINING", ("torch", "no_such_library"))
    code, _, log = train(capsys, "EURUSD")
    assert code == 64
    assert "needs no_such_library (pip install 'oracle-batch[train]')" in log


def test_ctrl_c_saves_and_resume_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models"
    line = ["EURUSD", "--timeframe", "M15", "--bars", str(folder / "EURUSD_M15.parquet"), "--out", str(out), *SMALL]
    long = [*line, "--steps", "51200000", "--set", "selection.patience=1000000", "--set", "selection.every_rollouts=1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "oracle_batch", "train", *long],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    saved = out / ".training" / "EURUSD_M15" / "seed-3.npz"
    for _ in range(1200):
        if saved.exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    try:
        _, log = child.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        signals = Path(f"/proc/{child.pid}/status").read_text()
        child.send_signal(signal.SIGABRT)  # the fault handler tells where it is
        _, log = child.communicate(timeout=60)
        pytest.fail(f"not interrupted: {signals}{log}")
    assert child.returncode == 130, log
    assert "interrupted; " in log
    assert "--resume goes on from there" in log
    assert saved.exists()
    assert not (out / "EURUSD_M15.zip").exists()
    code, _, log = train(capsys, *line, "--resume")
    assert code == 65
    assert "belongs to a training with other bars, costs, parameters or seed" in log, "of other parameters"
