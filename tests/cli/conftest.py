"""A workspace as an operator has it, and the real command line on it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.cli import run

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "data" / "models"
MODEL = "EURUSD_M15"
BEFORE = "2026-07-24T07:45:00Z"
"""Warmed up to the bar that closed here."""
TICKS = ("2026-07-24T08:00:01Z", "2026-07-24T08:15:01Z")
"""On these bars the sample model opens, and then reverses or keeps what it has."""
LATER = "2026-07-24T08:15:02Z"
LOTS = {"lot_weak": 0.01, "lot_moderate": 0.03, "lot_strong": 0.05}
ENABLED = {"enabled": True, **LOTS, "sl_usd": 0, "max_spread_pips": 0}


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """``cli("tick", "--json")`` runs a command in this process, on the workspace ``home``."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *arguments: object) -> Ran:
        return self.bare("--home", self.home, *arguments)

    def bare(self, *arguments: object) -> Ran:
        """Without --home."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *self._capsys.readouterr())


def child(*arguments: object, environment: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "oracle_batch", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, but for the lock, which says who held it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def quietly(home: Path, *arguments: str) -> None:
    """Run a command that must go well."""
    assert run(["--home", str(home), "--log-level", "error", *arguments]) == 0
    _reset_log()


def _reset_log() -> None:
    """Leave the log as Python has it."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in [one for one in root.handlers if one.__class__.__module__.startswith("oracle_batch")]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside; the log is left as Python has it."""
    for name in [name for name in os.environ if name.startswith("ORACLE_")]:
        monkeypatch.delenv(name)
    yield
    _reset_log()


@pytest.fixture(scope="session")
def fresh_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its bars and its settings; no state yet."""
    home = tmp_path_factory.mktemp("fresh") / "home"
    for folder in ("config", "data", "models"):
        (home / folder).mkdir(parents=True)
    shutil.copy(SAMPLES / f"{MODEL}.zip", home / "models")
    shutil.copy(ROOT / "data" / f"{MODEL}.parquet", home / "data")
    shutil.copy(ROOT / "config" / "oracle.toml", home / "config")
    (home / "config" / "executor_symbols.json").write_text(json.dumps({"EURUSD": ENABLED}), encoding="utf-8")
    return home


@pytest.fixture(scope="session")
def warm_home(fresh_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, warmed up and flat."""
    home = tmp_path_factory.mktemp("warm") / "home"
    shutil.copytree(fresh_home, home)
    quietly(home, "warmup", "--all", "--now", BEFORE)
    return home


@pytest.fixture(scope="session")
def traded_home(warm_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, after two bar closes; it holds a position."""
    home = tmp_path_factory.mktemp("traded") / "home"
    shutil.copytree(warm_home, home)
    for instant in TICKS:
        quietly(home, "tick", "--now", instant)
    return home


def _copy(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(Path(shutil.copytree(template, tmp_path / "home")), capsys)


@pytest.fixture
def fresh(fresh_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return _copy(fresh_home, tmp_path, capsys)


@pytest.fixture
def warm(warm_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return _copy(warm_home, tmp_path, capsys)


@pytest.fixture
def traded(traded_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return _copy(traded_home, tmp_path, capsys)


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home, capsys)
