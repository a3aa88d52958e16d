"""What ``make bench`` measures; each key is explained in ``bench/README.md``."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import numpy as np

from bench import armed, backtests, cold, durable, fleet, plan, resident, scale, training, wire
from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.decide import SERIES, Brain, Decision, Windows, replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Decoding, Model
from oracle_batch.types import STORED_BARS, WINDOW

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured. The names of the keys do not follow these sizes: only the full run gives real numbers."""

    models: int = 20
    many: int = 2000
    closes: int = 40
    decisions: int = 3000
    decisions_filter: int = 600
    decisions_many: int = 80
    builds: int = 100
    reference_rounds: int = 15
    replayed_bars: int = 25_000
    replays: int = 5
    cold_ticks: int = 15
    plans: int = 500
    cold_guards: int = 9
    commits: int = 100
    armed_closes: int = 102
    armed_turns: int = 9
    armed_colds: int = 5
    scaled_models: int = 2000
    scaled_accounts: int = 50
    scaled_ticks: int = 2
    bursts: int = 9
    connects: int = 9
    burst_orders: int = 20
    history_bars: int = 1000
    training_bars: int = 4000
    training_rounds: int = 3
    fleet_bars: int = 8000
    fleet_tasks: int = 8
    fleet_rounds: int = 6
    backtests: int = 3
    traded_bars: int = 6_000


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decide_times(models: Sequence[Model], series: Sequence[Windows], rounds: int) -> list[float]:
    """Seconds of each of ``rounds`` decisions of all models: windows in memory → signals and new twins.

    The closes of ``series`` are walked again and again, each decision starting from the twins of the one before.
    """
    brain, twins, times = Brain(models), [FLAT] * len(models), []
    for number in range(rounds + len(series)):
        windows = series[number % len(series)]
        began = time.perf_counter()
        decisions = brain.decide(windows, twins)
        spent = time.perf_counter() - began
        twins = [decision.twin for decision in decisions]
        if number >= len(series):  # the first walk warms up
            times.append(spent)
    return times


def decoded(models: Sequence[Model], decoding: Decoding) -> list[Model]:
    """The same models with another decoding."""
    return [with_(model, decoding=decoding) for model in models]


def measure_decisions(models: Sequence[Model], sizes: Sizes) -> Numbers:
    """Warm decisions of few models, of many, and with the forward filter."""
    few = fleet.window_series(len(models), sizes.closes)
    single = decoded(models, "single")
    gc.collect()
    gc.freeze()
    times = decide_times(single, few, sizes.decisions)
    filtered = decide_times(decoded(models, "filter"), few, sizes.decisions_filter)
    builds = [timed(lambda: Brain(single)) for _ in range(sizes.builds)]
    many = fleet.multiplied(single, sizes.many)
    times_many = decide_times(many, fleet.window_series(sizes.many, min(4, sizes.closes)), sizes.decisions_many)
    return {
        "decide_ms_20": statistics.median(times) * 1e3,
        "decide_ms_20_min": min(times) * 1e3,
        "decide_ms_20_p99": float(np.quantile(times, 0.99)) * 1e3,
        "decide_ms_2000": statistics.median(times_many) * 1e3,
        "decide_filter_ms_20": statistics.median(filtered) * 1e3,
        "decide_filter_ms_20_min": min(filtered) * 1e3,
        "brain_build_ms_20": statistics.median(builds) * 1e3,
    }


def measure_reference(bundles: Sequence[Path], models: Sequence[Model], sizes: Sizes) -> Numbers:
    """The same decisions with pandas, hmmlearn and SB3, which must come to the same actions."""
    import pandas as pd

    from bench import reference

    loaded = [reference.load(bundle) for bundle in bundles]
    rounds = sizes.reference_rounds + 1
    series = fleet.window_series(len(models), rounds)
    brain, twins, times, same = Brain(decoded(models, "single")), [FLAT] * len(models), [], 0
    for windows in series:
        tables = [
            pd.DataFrame({"time": _times(windows, row), **{name: getattr(windows, name)[row] for name in SERIES}})
            for row in range(len(models))
        ]
        began = time.perf_counter()
        theirs = [reference.decide(model, table) for model, table in zip(loaded, tables, strict=True)]
        times.append(time.perf_counter() - began)
        ours: list[Decision] = brain.decide(windows, twins)
        twins = [decision.twin for decision in ours]
        same += sum((one.action, one.hmm_state) == other for one, other in zip(ours, theirs, strict=True))
    return {
        "reference_decide_ms_20": statistics.median(times[1:]) * 1e3,
        "reference_agreement_20": same / (len(models) * rounds),
    }


def _times(windows: Windows, row: int) -> Any:
    newest = int(windows.time[row])
    return newest - fleet.STEP * np.arange(WINDOW - 1, -1, -1, dtype=np.int64)


def long_history(count: int) -> Bars:
    """Shipped bars, end to end as often as it takes, on a grid without gaps."""
    bars = fleet.shipped_bars(fleet.SOURCES[0])
    times = -(-count // len(bars))
    longer = Bars(*(np.tile(getattr(bars, name), times)[:count] for name in FIELDS))
    return fleet.retimed(longer)


def replay_rate(model: Model, bars: Bars, sizes: Sizes) -> float:
    """Bars a second of one model's replay, features included."""
    count = sizes.replayed_bars
    replay(model, bars, FLAT, min(count, 1000))
    return count / statistics.median(timed(lambda: replay(model, bars, FLAT, count)) for _ in range(sizes.replays))


def measure_replay(model: Model, sizes: Sizes) -> Numbers:
    """Replays of one model with the cheapest decoding and with the default one of this project's own bundles."""
    bars = long_history(sizes.replayed_bars + WINDOW - 1)
    return {
        "replay_bars_per_s": replay_rate(with_(model, decoding="single"), bars, sizes),
        "replay_filter_bars_per_s": replay_rate(with_(model, decoding="filter"), bars, sizes),
    }


def measure_backtests(models: Sequence[Model], sizes: Sizes) -> Numbers:
    """Whole backtests of all models, as ``oracle-batch backtest`` does them, with and without ``--full``."""
    single = decoded(models, "single")
    bars = long_history(sizes.replayed_bars + WINDOW - 1)
    full, looks = backtests.hands_rate(single, sizes.traded_bars, sizes.backtests)
    return {
        "backtest_bars_per_s_20": backtests.brain_rate(single, bars, sizes.backtests),
        "backtest_full_bars_per_s_20": full,
        "backtest_full_looks_per_bar": looks,
    }


def measure_ticks(home: Path, bundles: Sequence[Path], sizes: Sizes) -> Numbers:
    """Whole cold ticks in which every model has one new bar."""
    done = cold.ticks(home, bundles, sizes.cold_ticks)

    def middle(name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in done)

    return {
        "tick_wall_s_20": middle("wall_s"),
        "tick_cpu_s_20": middle("cpu_s"),
        "tick_cpu_s_20_min": min(one.cpu_s for one in done),
        "tick_peak_rss_mb_20": middle("peak_rss_mb"),
        "tick_last_order_ms_20": middle("last_order_ms"),
        "tick_orders_20": middle("orders"),
    }


def measure_guards(home: Path, sizes: Sizes) -> Numbers:
    """Cold guards after the last of the cold ticks, over whatever positions that left open."""
    done = cold.guards(home, STORED_BARS + sizes.cold_ticks, sizes.cold_guards)
    account = home / "state" / "paper" / "paper.json"
    positions = json.loads(account.read_bytes())["positions"] if account.exists() else []
    return {
        "guard_cpu_s": statistics.median(one.cpu_s for one in done),
        "guard_cpu_s_min": min(one.cpu_s for one in done),
        "guard_wall_s": statistics.median(one.wall_s for one in done),
        "guard_peak_rss_mb": max(one.peak_rss_mb for one in done),
        "guard_positions": len(positions),
    }


def measure_plans(sizes: Sizes) -> Numbers:
    """The pure planning of 20 signals with the default rules."""
    found = plan.times(20, sizes.plans)
    return {"plan_ms_20": statistics.median(found) * 1e3, "plan_ms_20_min": min(found) * 1e3}


def measure_commits(home: Path, sizes: Sizes) -> Numbers:
    """Intents and state made durable, in the workspace of the cold ticks."""
    intents = durable.journal_times(home / "state" / "journal" / "bench", 20, sizes.commits)
    state = durable.state_times(home, sizes.commits)
    return {
        "journal_commit_ms": statistics.median(intents) * 1e3,
        "journal_commit_ms_p99": float(np.percentile(intents, 99)) * 1e3,
        "state_commit_ms_20": statistics.median(state) * 1e3,
    }


def measure_wire(home: Path, sizes: Sizes) -> Numbers:
    """The cTrader broker and Spotware's client, each against the simulator in a child process."""
    return wire.measure(
        home, rounds=sizes.bursts, connects=sizes.connects, models=sizes.burst_orders, bars=sizes.history_bars
    )


def measure_armed(home: Path, sizes: Sizes) -> Numbers:
    """Armed and cold ticks against the simulator."""
    return armed.measure(home, closes=sizes.armed_closes, turns=sizes.armed_turns, colds=sizes.armed_colds)


def measure_scale(home: Path, sizes: Sizes) -> Numbers:
    """Cold ticks of very many models, and of many accounts."""
    return scale.measure(
        home, models=sizes.scaled_models, few=sizes.models, accounts=sizes.scaled_accounts, count=sizes.scaled_ticks
    )


def measure(home: Path, sizes: Sizes) -> Numbers:
    """Everything, in a workspace that is made at ``home``."""
    say(f"writing a workspace of {sizes.models} models")
    bundles = fleet.write_workspace(home, sizes.models)
    models = [load_model(bundle, None) for bundle in bundles]
    steps: list[tuple[str, Callable[[], Numbers]]] = [
        ("cold ticks", lambda: measure_ticks(home, bundles, sizes)),
        ("cold guards", lambda: measure_guards(home, sizes)),
        ("the resident", lambda: {"run_resident_mb": resident.peak_mb(home, home / "resident")}),
        ("commits", lambda: measure_commits(home, sizes)),
        ("planning", lambda: measure_plans(sizes)),
        ("the wire", lambda: measure_wire(home / "wire", sizes)),
        ("armed ticks", lambda: measure_armed(home / "armed", sizes)),
        ("many models, many accounts", lambda: measure_scale(home / "scale", sizes)),
        ("decisions", lambda: measure_decisions(models, sizes)),
        ("replay", lambda: measure_replay(models[0], sizes)),
        ("the reference: pandas, hmmlearn, SB3", lambda: measure_reference(bundles, models, sizes)),
        ("backtests", lambda: measure_backtests(models, sizes)),
        ("training", lambda: training.measure_training(sizes.training_bars, sizes.training_rounds)),
        ("two workers", lambda: training.measure_fleet(sizes.fleet_bars, sizes.fleet_tasks, sizes.fleet_rounds)),
    ]
    numbers, failed = collected(steps)
    if {"reference_decide_ms_20", "decide_ms_20"} <= numbers.keys():
        numbers["reference_over_decide_20"] = numbers["reference_decide_ms_20"] / numbers["decide_ms_20"]
        say(f"  {'reference_over_decide_20':26} {numbers['reference_over_decide_20']:12.1f}")
    return {key: round(value, 4) for key, value in numbers.items()} | {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "failed": failed,
    }


def collected(steps: Sequence[tuple[str, Callable[[], Numbers]]]) -> tuple[Numbers, list[str]]:
    """The numbers of all steps, and the steps that failed: one costs no other its numbers."""
    numbers, failed = Numbers(), list[str]()
    for title, step in steps:
        say(title)
        try:
            found = step()
        except (Exception, SystemExit):  # noqa: BLE001 - told here, and by the exit code
            say(traceback.format_exc())
            failed.append(title)
            continue
        for key, value in found.items():
            say(f"  {key:26} {value:12.4f}")
        numbers |= found
    return numbers, failed


def main() -> None:
    """Measure and print; exit code 1 where a part could not be measured."""
    with tempfile.TemporaryDirectory(prefix="oracle-batch-bench-") as folder:
        numbers = measure(Path(folder), Sizes())
    print(json.dumps(numbers), flush=True)
    if numbers["failed"]:
        raise SystemExit(1)
