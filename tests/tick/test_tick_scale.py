"""Many models, many accounts: what a tick does grows no faster than they do.

Calls of functions are counted, not seconds: a step that looks at every model for every model shows at once, on any
machine. Seconds, memory and bytes at full size are ``bench.scale``'s.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from oracle_batch.broker.paper import PaperBroker
from oracle_batch.store import files, twins
from oracle_batch.surveying import read_status
from tests.tick.lab import T0, Lab

ORDERS = 5
SLACK = 1.005


def workspace(folder: Path, models: int, *accounts: str) -> Lab:
    """Models of which a few turn around on bar 1; the others have nothing to do but look."""
    lab = Lab(folder)
    lab.accounts(*(accounts or ("paper",)))
    for number in range(models):
        lab.add(f"S{number:04}", "M15", "W L1 S1" if number < ORDERS else "W W W", lot_weak=0.01)
    for path in lab.data.iterdir():
        os.utime(path, (T0, T0))  # old enough for its excerpt to be kept
    lab.tick(0)
    lab.tick(1)
    return lab


def counted(lab: Lab, bar: int) -> Counter[str]:
    """Python's calls in a tick, in all of its threads: ``calls``, those of the system as ``system`` and by name."""
    found: Counter[str] = Counter()

    def note(_: FrameType, event: str, what: Any) -> None:
        if event == "call":
            found["calls"] += 1
        elif event == "c_call" and what.__module__ in ("posix", "_io"):
            found["system"] += 1
            found[what.__name__] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        report = lab.tick(bar)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert report.exit_code == 0
    return found


def assert_linear(costs: list[Counter[str]]) -> None:
    """Costs at sizes n, 2n, 4n: the second step, twice as long, costs twice as much at most.

    What a process does once it must have done before.
    """
    for name in ("calls", "system", "open", "fsync", "rename", "replace", "stat"):
        few, more, many = (one[name] for one in costs)
        assert many - more <= SLACK * 2 * (more - few) + 4, (name, few, more, many)


def test_the_cost_of_a_tick_grows_no_faster_than_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MANY", 10_000)  # one way of writing at all sizes
    labs = [workspace(tmp_path / str(models), models) for models in (20, 40, 80)]
    costs = [counted(lab, 2) for lab in (labs[0].copy(tmp_path / "first"), *labs)][1:]
    assert [len(lab.positions()) for lab in labs] == [ORDERS] * 3
    assert_linear(costs)


def test_the_cost_of_a_tick_grows_no_faster_than_its_accounts(tmp_path: Path) -> None:
    labs = [workspace(tmp_path / str(count), 3, *(f"a{n:02}" for n in range(count))) for count in (3, 6, 12)]
    costs = [counted(lab, 2) for lab in (labs[0].copy(tmp_path / "first"), *labs)][1:]
    assert [len(lab.positions(account)) for lab in labs for account in ("a00", "a02")] == [3] * 6
    assert_linear(costs)


def test_no_state_file_is_written_between_the_trigger_and_the_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, passed = workspace(tmp_path / "home", ORDERS + 5), list[str]()
    rename, execute = Path.replace, PaperBroker.execute

    def renamed(self: Path, target: Path) -> Path:
        passed.append(target.parent.name)
        return rename(self, target)

    async def executed(self: PaperBroker, *arguments: Any) -> Any:
        answers = await execute(self, *arguments)
        passed.append("orders out")
        return answers

    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(PaperBroker, "execute", executed)
    assert lab.tick(2).exit_code == 0
    last = max(place for place, what in enumerate(passed) if what == "orders out")
    assert {"bars", "twin", "executor"}.isdisjoint(passed[:last])
    assert [name for name, _ in itertools.groupby(passed[last + 1 :])] == ["bars", "twin", "executor"]


def test_the_status_reads_each_twin_once_however_many_accounts_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, read, load = workspace(tmp_path / "home", 3, "one", "two", "three"), list[str](), twins.load

    def noted(path: Path, *rest: Any) -> Any:
        read.append(path.stem)
        return load(path, *rest)

    monkeypatch.setattr(twins, "load", noted)
    status = read_status(lab.workspace, lab.settings, lab.clock.now())
    assert sorted(read) == ["S0000_M15", "S0001_M15", "S0002_M15"]
    told = [one.desired for account in status.accounts.values() for one in account.models.values()]
    assert told == ["LONG_WEAK"] * 9
