"""Many models, and many accounts: whole cold ticks of 2,000 models on one account, and of 20 models on 50.

The many are copies of a few under other symbols, each with its own bundle, bars and files; they are brought to the
present by copying, too, so that only the ticks themselves take long.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

from bench import cold, fleet
from oracle_batch.bundle.compiled import load_model, pack
from oracle_batch.bundle.model import Model
from oracle_batch.store import twins, windows
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import STORED_BARS

TIMEFRAME = "M15"
ORIGINALS = 20


@dataclass(frozen=True)
class Tick:
    """One cold tick at scale; ``files`` and ``bytes`` are what it replaced or added in the state folder."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    last_order_s: float
    orders: int
    stages_ms: dict[str, float]
    files: int
    bytes: int


def copied_bundle(original: Path, symbol: str) -> bytes:
    """A bundle under another symbol: the members under other names, the metadata naming it."""
    out = io.BytesIO()
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for member in old.namelist():
            new.writestr(member.replace(original.stem, f"{symbol}_{TIMEFRAME}"), old.read(member))
        metadata = json.loads(old.comment)
        metadata["symbol"] = {"name": symbol, "clean": symbol, "timeframe": TIMEFRAME}
        new.comment = json.dumps(metadata).encode()
    return out.getvalue()


def write_workspace(home: Path, models: int, accounts: int) -> Workspace:
    """A workspace of so many models, warmed up, and so many paper accounts that trade all of them."""
    first = home.with_name(f"{home.name}-originals")
    originals = fleet.write_workspace(first, min(ORIGINALS, models))
    cold.warm_up(first)
    workspace = Workspace(home)
    workspace.ensure()
    (home / "data").mkdir()
    sections = (f'[[accounts]]\nkind = "paper"\naccount = "paper{number:02}"\n' for number in range(accounts))
    workspace.config_file.write_text("".join(sections), encoding="utf-8")
    names = [_copy_model(workspace, Workspace(first), originals[n % len(originals)], n) for n in range(models)]
    settings = fleet.EXECUTION | {"max_spread_pips": 0}
    workspace.executor_symbols.write_text(json.dumps(dict.fromkeys(names, settings)), encoding="utf-8")
    shutil.rmtree(first)
    return workspace


def _copy_model(workspace: Workspace, first: Workspace, original: Path, number: int) -> str:
    symbol = f"S{number:04}"
    name, old = f"{symbol}_{TIMEFRAME}", original.stem
    path = workspace.bundle_path(name)
    path.write_bytes(copied_bundle(original, symbol))
    model = _renamed(load_model(original, first.compiled), path, symbol)
    workspace.compiled_path(model.sha256).write_bytes(pack(model))
    shutil.copy(first.home / "data" / f"{old}.parquet", workspace.home / "data" / f"{name}.parquet")
    window = windows.load(first.bars_path(old), old.removesuffix(f"_{TIMEFRAME}"), TIMEFRAME)
    assert window is not None
    workspace.bars_path(name).write_bytes(windows.encode(window, symbol, TIMEFRAME))
    twin: dict[str, Any] = json.loads(first.twin_path(old).read_bytes())
    twin |= {"model": name, "bundle_sha256": model.sha256}
    workspace.twin_path(name).write_bytes(json.dumps(twin).encode())
    assert twins.load(workspace.twin_path(name), name, model.sha256) is not None
    return name


def _renamed(model: Model, path: Path, symbol: str) -> Model:
    import hashlib

    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return with_(model, model_id=path.stem, symbol=symbol, broker_symbol=symbol, sha256=sha256)


def run_tick(workspace: Workspace, bar: int, due: int) -> Tick:
    """The cold tick of a bar's close; all models must have decided, and none may have failed."""
    before = _state(workspace)
    done, report = cold.tick_report(workspace.home, bar)
    after = _state(workspace)
    for name, account in report["accounts"].items():
        wrong = [model for model, one in account["models"].items() if one["error"] or one["ack"] == "UNKNOWN"]
        if len(account["models"]) != due or wrong:
            raise SystemExit(f"{name}: {len(account['models'])} models decided, {len(wrong)} went wrong: {wrong[:3]}")
    changed = {path for path, stamp in after.items() if before.get(path) != stamp}
    orders = sum(
        one["ack"] == "OK" and one["decision"] != "NOOP"
        for account in report["accounts"].values()
        for one in account["models"].values()
    )
    return Tick(
        done.wall_s,
        done.cpu_s,
        done.peak_rss_mb,
        done.last_order_ms / 1e3,
        orders,
        {name: value for name, value in report["timing_ms"].items() if value is not None},
        len(changed),
        sum(after[path][1] for path in changed),
    )


def _state(workspace: Workspace) -> dict[Path, tuple[int, int]]:
    found = {}
    for folder, _, names in os.walk(workspace.state):
        for name in names:
            status = (Path(folder) / name).stat()
            found[Path(folder) / name] = (status.st_mtime_ns, status.st_size)
    return found


def ticks(home: Path, models: int, accounts: int, count: int) -> list[Tick]:
    """So many cold ticks in a new workspace, one after another; one more before them is not counted."""
    workspace = write_workspace(home, models, accounts)
    done = [run_tick(workspace, STORED_BARS + number, models) for number in range(count + 1)]
    shutil.rmtree(home)
    return done[1:]


def measure(home: Path, *, models: int, few: int, accounts: int, count: int) -> dict[str, float]:
    """The keys of both: seconds, CPU, memory, files; ``tick_s_growth`` is time per model against a tenth of them."""
    many = ticks(home / "many", models, 1, count)
    tenth = ticks(home / "tenth", max(few, models // 10), 1, count)
    wide = ticks(home / "wide", few, accounts, count)

    def middle(done: Sequence[Tick], name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in done)

    per_model = middle(many, "wall_s") / models
    return {
        "tick_s_2000": middle(many, "wall_s"),
        "tick_cpu_s_2000": middle(many, "cpu_s"),
        "tick_last_order_s_2000": middle(many, "last_order_s"),
        "tick_peak_rss_mb_2000": middle(many, "peak_rss_mb"),
        "tick_files_2000": middle(many, "files"),
        "tick_mb_written_2000": middle(many, "bytes") / 1e6,
        "tick_s_200": middle(tenth, "wall_s"),
        "tick_s_growth": per_model / (middle(tenth, "wall_s") / max(few, models // 10)),
        "tick_s_20x50": middle(wide, "wall_s"),
        "tick_cpu_s_20x50": middle(wide, "cpu_s"),
        "tick_last_order_s_20x50": middle(wide, "last_order_s"),
        "tick_peak_rss_mb_20x50": middle(wide, "peak_rss_mb"),
        "tick_orders_20x50": middle(wide, "orders"),
    }


def main() -> None:
    """Print the ticks of one size, ``python -m bench.scale MODELS ACCOUNTS [COUNT]``; else the keys of `make bench`."""
    wanted = sys.argv[1:]
    if wanted:
        usage = "python -m bench.scale MODELS ACCOUNTS [TICKS]"
        if not 2 <= len(wanted) <= 3:
            raise SystemExit(f"usage: {usage}")
        models, accounts, count = fleet.counts([*wanted, "3"][:3], usage)
        with tempfile.TemporaryDirectory(prefix="oracle-batch-scale-") as folder:
            for one in ticks(Path(folder) / "home", models, accounts, count):
                print(one, flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="oracle-batch-scale-") as folder:
        print(json.dumps(measure(Path(folder), models=2000, few=20, accounts=50, count=3)))


if __name__ == "__main__":
    main()
