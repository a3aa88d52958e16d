"""Cold ticks: the whole program as a child process, from ``exec`` to exit, orders and state files included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fleet import ROOT, START, STEP
from oracle_batch.types import STORED_BARS

NOT_AN_OPERATORS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
"""Settings that the children do without: the program sets its own thread counts, and installed it has byte code."""


@dataclass(frozen=True)
class ColdTick:
    """One child: seconds of wall time and of CPU (user + system), its peak memory, and how many models traded."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    last_order_ms: float
    orders: int


def _command(home: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), "--log-level", "error", *map(str, arguments)]


def _environment() -> dict[str, str]:
    """What an operator's shell has."""
    return {name: value for name, value in os.environ.items() if name not in NOT_AN_OPERATORS}


def close_of(bar: int) -> int:
    """One second after the close of the given bar of a workspace's files."""
    return START + STEP * (bar + 1) + 1


def warm_up(home: Path) -> None:
    """Bring all models of a workspace to the last of their stored bars."""
    line = _command(home, "warmup", "--all", "--now", close_of(STORED_BARS - 1))
    subprocess.run(line, cwd=ROOT, env=_environment(), check=True, stdout=subprocess.DEVNULL)


def tick(home: Path, bar: int, due: int) -> ColdTick:
    """Run the tick of a bar's close and measure it; ``due`` models must have decided and none may have failed."""
    done, report = tick_report(home, bar)
    models = report["models"]
    failed = [name for name, one in models.items() if one["error"] or one["ack"] in ("FAIL", "UNKNOWN")]
    if report["exit_code"] or len(models) != due or failed:
        raise SystemExit(
            f"the tick went wrong: exit code {report['exit_code']}, {len(models)} models, failed: {failed}"
        )
    return done


def tick_report(home: Path, bar: int) -> tuple[ColdTick, dict[str, Any]]:
    """Run the tick of a bar's close and measure it; and what it said."""
    began = time.perf_counter()
    child = subprocess.Popen(
        _command(home, "tick", "--now", close_of(bar), "--json"), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.stdout.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if not text:
        raise SystemExit(f"the tick said nothing: exit code {child.returncode}")
    report: dict[str, Any] = json.loads(text)
    done = ColdTick(
        wall,
        usage.ru_utime + usage.ru_stime,
        float(report["peak_rss_mb"]),
        float(report["timing_ms"]["trigger_to_last_order"] or 0.0),
        sum(one["ack"] == "OK" for one in report["models"].values()),
    )
    return done, report


@dataclass(frozen=True)
class ColdGuard:
    """One child between bars: seconds of wall time and of CPU (user + system), and its peak memory."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def guard(home: Path, now: int) -> ColdGuard:
    """Run a guard and measure it; it must find nothing wrong."""
    began = time.perf_counter()
    child = subprocess.Popen(
        _command(home, "guard", "--now", now, "--json"), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.stdout.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the guard went wrong: exit code {child.returncode}")
    return ColdGuard(wall, usage.ru_utime + usage.ru_stime, float(json.loads(text)["peak_rss_mb"]))


def guards(home: Path, bar: int, count: int) -> list[ColdGuard]:
    """``count`` guards, a minute apart, after the tick of a bar's close; one more before them is not counted."""
    return [guard(home, close_of(bar) + 30 + 60 * number) for number in range(count + 1)][1:]


def ticks(home: Path, bundles: Sequence[Path], count: int) -> list[ColdTick]:
    """``count`` ticks, one bar close after another; one more before them is not counted."""
    warm_up(home)
    done = [tick(home, STORED_BARS + number, len(bundles)) for number in range(count + 1)]
    return done[1:]
