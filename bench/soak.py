"""Some hundred closes in a row through one ``oracle-batch run``, on the simulator's clock: what must stay flat does.

Every close is an armed tick that sends an order for each model, and a guard, all of them children of the one resident.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.armed import MILLI, NANO, REST_S, SYMBOLS, Arena, arena, close_of
from bench.fleet import ROOT, STEP
from oracle_batch import heartbeat
from oracle_batch.store.workspace import Workspace

LEAD_S: Final = 20
SETTLE: Final = 2
"""The first closes bring the twins in; they are not judged."""
PATIENCE_S: Final = 120.0
PROGRAM: Final = ("-m", "oracle_batch")
WEEK: Final = (4 * 86400 + 20 * 3600) // STEP
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """One close. Memory in MB, times in ms, sizes in bytes; the resident's and the child's numbers as the system has
    them while the tick is armed, the child's memory as its peak.
    """

    resident_mb: float
    resident_handles: int
    resident_threads: int
    child_mb: float
    child_handles: int
    child_threads: int
    journal_bytes: int
    state_bytes: int
    state_files: int
    latency_ms: float
    after_ms: float
    """From the trigger to the end of the tick: orders, answers, books, official bars."""


# judge

GROWTH: Final = {"resident_mb": 1.0, "child_mb": 4.0, "state_bytes": 16384.0}
"""So much more at the end than at the beginning is noise."""
DAY: Final = 86400 // STEP
"""The books remember a day of trades and spreads: they grow for so many closes, and are judged from then on."""
COUNTS: Final = ("resident_handles", "resident_threads", "child_handles", "child_threads", "state_files")
TIMES: Final = {"latency_ms": 2.0, "after_ms": 500.0}
SLOWER: Final = 1.5
JOURNAL_RATIO: Final = 1.1


def judged(samples: Sequence[Sample]) -> Sequence[Sample]:
    """All but the first few."""
    return samples[max(SETTLE, len(samples) // 20) :]


def ends(samples: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first and the last quarter."""
    quarter = max(1, len(samples) // 4)
    return samples[:quarter], samples[-quarter:]


def judge(samples: Sequence[Sample]) -> list[str]:
    """What grows; nothing where all is flat. The journal may grow, but not more with each close."""
    first, last = ends(judged(samples))
    found = []

    def of(part: Sequence[Sample], name: str) -> list[float]:
        return [float(getattr(one, name)) for one in part]

    for name, noise in GROWTH.items():
        since = ends(samples[DAY:])[0] if name == "state_bytes" else first
        before, after = (statistics.median(of(part, name) or [0.0]) for part in (since, last))
        if since and after - before > noise:
            found.append(f"{name} grows: {before:,.1f} at first, {after:,.1f} at last")
    for name in COUNTS:
        before, after = max(of(first, name)), max(of(last, name))
        if after > before:
            found.append(f"{name} grows: {before:.0f} at first, {after:.0f} at last")
    for name, noise in TIMES.items():
        before, after = _low(of(first, name)), _low(of(last, name))
        if after > SLOWER * before and after - before > noise:
            found.append(f"{name} grows: {before:.2f} at first, {after:.2f} at last")
    before, after = journal_per_close(samples)
    if after > JOURNAL_RATIO * before:
        found.append(f"journal_bytes of a close grow: {before:,.0f} at first, {after:,.0f} at last")
    return found


def _low(values: Sequence[float]) -> float:
    """The lower quartile: other work on the machine makes times longer, never shorter."""
    return sorted(values)[len(values) // 4]


def journal_per_close(samples: Sequence[Sample]) -> tuple[float, float]:
    """Journal bytes of one close, at first and at last: of two closes each, an entry and an exit."""
    sizes = [one.journal_bytes for one in judged(samples)]
    grown = [(later - before) / 2 for before, later in zip(sizes, sizes[2:], strict=False)]
    first, last = ends(grown)
    return statistics.median(first), statistics.median(last)


def slope(values: Sequence[float]) -> float:
    """Growth with each close: the least-squares line through all of them."""
    return statistics.linear_regression(range(len(values)), values).slope if len(values) > 1 else 0.0


def summary(samples: Sequence[Sample], models: int, seconds: float) -> dict[str, Any]:
    """First and last quarter (medians) and slope of everything, and what the judge says."""
    counted = judged(samples)
    first, last = ends(counted)
    document: dict[str, Any] = {"closes": len(samples), "models": models, "seconds": round(seconds, 1)}
    for field in fields(Sample):
        document[field.name] = {
            "first": round(statistics.median(getattr(one, field.name) for one in first), 3),
            "last": round(statistics.median(getattr(one, field.name) for one in last), 3),
            "slope": round(slope([float(getattr(one, field.name)) for one in counted]), 5),
        }
    document["journal_bytes_per_close"] = [round(one) for one in journal_per_close(samples)]
    document["grows"] = judge(samples)
    return document


# live


def soak(folder: Path, closes: int, models: int, program: Sequence[str] = PROGRAM) -> list[Sample]:
    """Live through so many closes; ``program`` is what the resident's Python runs."""
    symbols = SYMBOLS[:models]
    with arena(folder, "in and out", closes + 2, symbols) as where:
        warm = where.command("warmup", "--all")
        subprocess.run(warm, cwd=ROOT, env=where.environment, check=True, capture_output=True)
        log = folder / "run.log"
        with _resident(where, program, log) as process:
            watcher = _Watcher(where, process, log)
            watcher.until(lambda beat: beat.ticks == 1 and beat.running is None, "catches up")
            return [watcher.live_through(bar, models) for bar in range(closes)]


@contextmanager
def _resident(where: Arena, program: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    line = where.command("run")
    line[1:3] = program
    with log.open("wb") as file, subprocess.Popen(line, cwd=ROOT, env=where.environment, stderr=file) as process:
        try:
            yield process
            process.terminate()
            if (code := process.wait(60)) != 0:
                raise SystemExit(f"the resident ended with {code}:\n{log.read_text()[-3000:]}")
        finally:
            process.kill()


class _Watcher:
    """Moves the market from close to close, and looks at the resident and its children meanwhile."""

    def __init__(self, where: Arena, process: subprocess.Popen[bytes], log: Path) -> None:
        self._where, self._process, self._log = where, process, log
        self._workspace = Workspace(where.home)
        self._peak_kb = 0

    def live_through(self, bar: int, models: int) -> Sample:
        """One close: arm, trigger, tick, guard."""
        close, beat = close_of(bar), self._beat()
        armed = self._told("armed for")
        self._where.control.advance(close - LEAD_S)
        self._wait(lambda: self._told("armed for") > armed, "arms")
        time.sleep(REST_S)
        resident = _Process(self._process.pid)
        (number,) = resident.children()
        child, self._peak_kb = _Process(number), 0
        numbers = (resident.resident_mb(), resident.handles(), resident.threads())
        childs = (child.handles(), child.threads())
        self._where.control.advance(close + 0.5)
        time.sleep(0.05)
        triggered = time.monotonic_ns()
        self._where.control.advance(close + 1)
        self._wait(lambda: self._ended(child, beat.ticks), "ends its tick")
        after = (time.monotonic_ns() - triggered) * NANO * MILLI
        self.until(lambda now: now.guards > beat.guards and now.running is None, "ends its guard")
        now = self._beat()
        if now.last_tick is None or now.last_tick.exit_code or now.last_guard is None or now.last_guard.exit_code:
            raise SystemExit(f"a child went wrong: {now}\n{self._log.read_text()[-3000:]}")
        orders = self._where.control.orders(triggered)
        if bar >= SETTLE and len(orders) != models:
            raise SystemExit(f"{len(orders)} orders at close {bar}, not {models}:\n{self._log.read_text()[-3000:]}")
        last = max((one["monotonic_ns"] for one in orders), default=triggered)
        return Sample(*numbers, self._peak_kb / 1024, *childs, *self._disk(), (last - triggered) * NANO * MILLI, after)

    def until(self, done: Callable[[heartbeat.Heartbeat], bool], what: str) -> None:
        """Wait for a heartbeat."""
        self._wait(lambda: (beat := heartbeat.read(self._workspace.heartbeat)) is not None and done(beat), what)

    def _ended(self, child: _Process, ticks: int) -> bool:
        self._peak_kb = max(self._peak_kb, child.peak_kb())
        return self._beat().ticks > ticks

    def _beat(self) -> heartbeat.Heartbeat:
        beat = heartbeat.read(self._workspace.heartbeat)
        if beat is None:
            raise SystemExit(f"the resident has no heartbeat:\n{self._log.read_text()[-3000:]}")
        return beat

    def _told(self, words: str) -> int:
        return self._log.read_text().count(words)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"nothing {what}:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.01)

    def _disk(self) -> tuple[int, int, int]:
        """Bytes of the journal, bytes of the other state, and how many files there are."""
        journal = rest = count = 0
        for path in self._workspace.state.rglob("*"):
            if path.is_file():
                count += 1
                size = path.stat().st_size
                if path.is_relative_to(self._workspace.journals):
                    journal += size
                else:
                    rest += size
        return journal, rest, count


class _Process:
    """What the system says of a process; nothing of one that has ended."""

    def __init__(self, number: int) -> None:
        self._folder = Path(f"/proc/{number}")

    def _status(self, key: str) -> int:
        with suppress(OSError):
            for line in (self._folder / "status").read_text().splitlines():
                if line.startswith(f"{key}:"):
                    return int(line.split()[1])
        return 0

    def resident_mb(self) -> float:
        return self._status("VmRSS") / 1024

    def peak_kb(self) -> int:
        return self._status("VmHWM")

    def threads(self) -> int:
        return self._status("Threads")

    def handles(self) -> int:
        return sum(1 for _ in (self._folder / "fd").iterdir())

    def children(self) -> list[int]:
        """Of all its threads."""
        lines = [path.read_text() for path in self._folder.glob("task/*/children")]
        return [int(number) for line in lines for number in line.split()]


def main(arguments: Sequence[str]) -> int:
    """Soak and print one JSON object; exit code 1 where something grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--closes", type=int, default=300)
    parser.add_argument("--models", type=int, default=len(SYMBOLS), choices=range(1, len(SYMBOLS) + 1), metavar="1-20")
    parser.add_argument("--series", type=Path, help="write every sample there, one JSON object a line")
    chosen = parser.parse_args(arguments)
    if not SETTLE + 4 <= chosen.closes <= WEEK:
        parser.error(f"--closes: {SETTLE + 4} to {WEEK}, as many as a week of M15 bars has")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="oracle-batch-soak-") as folder:
        samples = soak(Path(folder), chosen.closes, chosen.models)
    if chosen.series is not None:
        chosen.series.write_text("".join(json.dumps(asdict(one)) + "\n" for one in samples))
    found = summary(samples, chosen.models, time.monotonic() - began)
    print(json.dumps(found), flush=True)
    return 1 if found["grows"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
