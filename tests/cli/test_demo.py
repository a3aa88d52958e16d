"""``oracle-batch demo``: from nothing to a table and a sum of money."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from oracle_batch import demo
from oracle_batch.config import load_settings
from oracle_batch.errors import ConfigError
from tests.cli.conftest import ROOT, Cli, snapshot
from tests.test_readme import shape, shown_after

DEMO = shown_after("demo")


def test_it_trades_shows_and_sums_up(empty: Cli) -> None:
    folder = empty.home / "demo"
    ran = empty.bare("demo", folder, "--closes", "40")
    assert (ran.code, ran.err) == (0, "")
    printed, shown = ([line.partition(";")[0] for line in lines] for lines in (ran.out.splitlines()[:-2], DEMO))
    assert shape(printed) == shape(shown), "but for limits of which nothing is used yet"
    money = {line[:14].strip(): line[15:] for line in ran.out.splitlines() if line[14:15] == " " and line[15:16]}
    assert re.fullmatch(r"40 in \d+\.\d s \(\d+ ms a tick\)", money["bar closes"])
    assert int(money["fills"]) > 0
    equity, start = (float(money[name].split()[0].replace(",", "")) for name in ("equity", "start balance"))
    assert float(money["result"].split()[0].replace(",", "")) == pytest.approx(equity - start, abs=0.011)
    assert f"oracle-batch --home {folder} status" in ran.out
    rules = load_settings(folder / "config" / "oracle.toml").accounts[0].risk
    assert (rules.max_consecutive_losses, rules.max_consecutive_losses_account) == (0, 0)
    assert rules.max_daily_loss_pct == 4.0
    status = empty.bare("--home", folder, "status", "--json").json
    assert status["problems"] == []
    assert set(status["accounts"]["paper"]["models"]) == set(demo.SYMBOLS)


def test_it_leaves_a_folder_with_something_in_it_alone(empty: Cli) -> None:
    (empty.home / "mine").write_text("mine")
    for folder in (empty.home, empty.home / "mine"):
        before = snapshot(empty.home)
        ran = empty.bare("demo", folder)
        assert ran.code == 64
        assert "not an empty folder" in ran.err
        assert snapshot(empty.home) == before


def test_the_samples_are_found_in_an_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "site-packages" / "oracle_batch" / "demo.py"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr("site.getuserbase", lambda: str(tmp_path / "user"))
    with pytest.raises(ConfigError, match="not installed"):
        demo.samples()
    share = tmp_path / "share" / "oracle-batch"
    share.parent.mkdir()
    share.symlink_to(ROOT)
    assert demo.samples() == share


def test_a_wheel_brings_the_samples(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("oracle_batch", "config", "data", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    packed = {name.partition(".data/data/share/oracle-batch/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    wanted = {f"models/{name}.zip" for name in demo.SYMBOLS} | {f"data/{name}.parquet" for name in demo.SYMBOLS}
    assert packed >= wanted | {"config/oracle.toml", "data/LICENSE-forex-agent.txt", "data/SOURCES.md"}


def test_the_samples_stay_small_and_keep_their_notice() -> None:
    files = [path for folder in ("models", "data") for path in (ROOT / folder).iterdir()]
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    notice = (ROOT / "data" / "LICENSE-forex-agent.txt").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in notice
    assert "Copyright (c) 2026 Forex AI Project Contributors" in notice
    sources = (ROOT / "data" / "SOURCES.md").read_text(encoding="utf-8")
    assert all(f"{name}.parquet" in sources for name in demo.SYMBOLS)
