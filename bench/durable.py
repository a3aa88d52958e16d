"""What durability costs: intents into the journal, and the state of all models into their files."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench import plan
from oracle_batch.broker.base import OpenIntent
from oracle_batch.clock import FrozenClock
from oracle_batch.store import executor, twins, windows
from oracle_batch.store.files import replace_all, replace_atomically
from oracle_batch.store.journal import Journal
from oracle_batch.store.workspace import Workspace

START = 1_767_225_600


def journal_times(folder: Path, count: int, rounds: int) -> list[float]:
    """Seconds of each append of so many intents, the fsync included, to one journal."""
    journal = Journal(folder, FrozenClock(float(START)))
    found = []
    for number in range(rounds + 1):
        bar_time = START + 900 * number
        intents = [
            OpenIntent(
                f"ob-{spec.symbol}_M15-{bar_time}-1",
                f"{spec.symbol}_M15",
                spec.symbol,
                1,
                2,
                300_000,
                f"oracle:{spec.symbol}_M15",
                "O|2.0|3|2|2|10234|0.5|0.00",
                float(bar_time + 900),
                float(bar_time + 960),
                stop_relative=33_300,
            )
            for spec in plan.specs(count)
        ]
        began = time.perf_counter()
        journal.append(intents)
        found.append(time.perf_counter() - began)
    return found[1:]


def state_times(home: Path, rounds: int, account: str = "paper") -> list[float]:
    """Seconds of each commit of a workspace's bars, twins and books: encoded, written, fsync'd and renamed."""
    workspace = Workspace(home)
    books = executor.load(workspace.executor_path(account), account)
    assert books is not None
    stored = []
    for path in sorted(workspace.twins.glob("*.json")):
        symbol, timeframe = path.stem.rsplit("_", 1)
        window = windows.load(workspace.bars_path(path.stem), symbol, timeframe)
        twin = twins.load(path, path.stem, json.loads(path.read_bytes())["bundle_sha256"])
        assert window is not None
        assert twin is not None
        stored.append((path.stem, symbol, timeframe, window, twin))
    found = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        bars = [(workspace.bars_path(name), windows.encode(one, *series)) for name, *series, one, _ in stored]
        replace_all(bars)
        replace_all([(workspace.twin_path(name), twins.encode(twin)) for name, _, _, _, twin in stored])
        replace_atomically(workspace.executor_path(account), executor.encode(books))
        found.append(time.perf_counter() - began)
    return found[1:]
