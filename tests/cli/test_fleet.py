"""``train``, ``backtest`` and ``models audit`` of many models on a cluster: the same results as without one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.backtest import samples
from tests.cli.conftest import Cli
from tests.tick.lab import write_bars
from tests.training.test_train_cli import SMALL

pytestmark = pytest.mark.no_cover

distributed = pytest.importorskip("distributed")
pytest.importorskip("stable_baselines3")

NAMES = ("EURUSD_M15", "GBPUSD_H1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A scheduler with one worker, as a thread of this process: what other processes add, tests/training covers."""
    here = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **here) as running:
        yield running.scheduler_address


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    folder = tmp_path / "bars"
    folder.mkdir()
    for name in NAMES:
        write_bars(folder / f"{name}.parquet", samples.bars(name, 349 + 400))
    return folder


@pytest.mark.parametrize("command", [("backtest",), ("models", "audit")], ids=" ".join)
def test_all_models_are_looked_at_there_as_here(command: tuple[str, ...], empty: Cli, bars: Path, cluster: str) -> None:
    (empty.home / "models").mkdir()
    for name in NAMES:
        (empty.home / "models" / f"{name}.zip").write_bytes(samples.bundle(name).read_bytes())
    here, there = (empty(*command, "--all", "--bars", bars, "--json", *more) for more in ((), ("--cluster", cluster)))
    assert list(here.json) == list(NAMES), here.err
    assert (there.code, there.json) == (here.code, here.json)


def test_all_histories_are_searched_and_trained_there_as_here(
    empty: Cli, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_batch.training.report.page", lambda *_: "a page")
    folder = tmp_path / "bars"
    folder.mkdir()
    for name in NAMES:
        write_bars(folder / f"{name}.parquet", samples.bars(name, 2680))
    trial = ["--trials", "1", "--trial-steps", "512"]
    made = {}
    for out, more in (("here", []), ("there", ["--cluster", cluster])):
        ran = empty("train", "--all", "--bars", folder, "--out", tmp_path / out, *SMALL, *trial, *more, "--json")
        assert (ran.code, sorted(ran.json["models"])) == (0, list(NAMES)), ran.err
        for name in NAMES:
            with zipfile.ZipFile(tmp_path / out / f"{name}.zip") as archive:
                assert json.loads(archive.comment)["selection"]["trials"] == 2
                arrays = np.load(archive.open(f"{name}_runtime.npz"))
                made[out, name] = [arrays[one].tobytes() for one in arrays.files]
            record = (tmp_path / out / "trials" / f"{name}.jsonl").read_text().splitlines()
            assert [json.loads(line)["kind"] for line in record] == ["trial", "seed"]
    for name in NAMES:
        assert made["here", name] == made["there", name]
