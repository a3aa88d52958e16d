"""The resident trigger: at each distinct bar close plus one second it starts one tick in a child process.

The parent does nothing else, so whatever a tick does to its own process ends with it.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from oracle_batch.errors import ConfigError, LockHeld
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

_log = logging.getLogger(__name__)

TRIGGER_DELAY_S = 1
MISFIRE_GRACE_S = 30
TICK_TIMEOUT_S = 600


def timeframes_in(models: Path) -> set[str]:
    """The timeframes of the bundles in a folder, by their names.

    Raises:
        ConfigError: there is none to wake up for.
    """
    known = [split_model_id(path.stem) for path in models.glob("*.zip")]
    found = {identity[1] for identity in known if identity is not None}
    if not found:
        raise ConfigError("no model bundle here", file=models, fix="oracle-batch models add FILE.zip")
    return found


def next_fire(timeframes: Collection[str], after: float) -> int:
    """The first instant later than ``after`` that is a bar close plus one second.

    H4 and D1 grids follow the broker's clock, so their models are looked at every full hour.

    >>> next_fire({"M15", "H1"}, 900.0), next_fire({"M15"}, 901.0)
    (901, 1801)
    """
    steps = {min(TIMEFRAME_SECONDS[timeframe], 3600) for timeframe in timeframes}
    return min(int((after - TRIGGER_DELAY_S) // step + 1) * step for step in steps) + TRIGGER_DELAY_S


class BarClose(BaseTrigger):  # type: ignore[misc]
    """An APScheduler trigger that fires one second after each distinct bar close."""

    def __init__(self, timeframes: Collection[str]) -> None:
        self._timeframes = frozenset(timeframes)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next close after the later of both instants."""
        after = max(now, previous + timedelta(microseconds=1)) if previous else now
        return datetime.fromtimestamp(next_fire(self._timeframes, after.timestamp()), UTC)


def tick_command(home: Path, extra: Sequence[str]) -> list[str]:
    """The command line of a child's tick."""
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), *extra, "tick"]


def run_child(command: Sequence[str]) -> int:
    """Run one tick to its end, bounded in time; returns its exit code."""
    try:
        code = subprocess.run(command, check=False, timeout=TICK_TIMEOUT_S).returncode  # noqa: S603 - our own command
    except subprocess.TimeoutExpired:
        _log.error("the tick was ended after %d s", TICK_TIMEOUT_S)
        return -1
    if code == LockHeld.exit_code:
        _log.warning("another run held the lock; this bar close was left to it")
    elif code:
        _log.error("the tick ended with exit code %d", code)
    return code


def serve(home: Path, models: Path, extra: Sequence[str]) -> None:
    """Wake ticks until SIGTERM or SIGINT; a running tick is waited for.

    Raises:
        ConfigError: no bundle tells when to wake up.
    """
    timeframes = timeframes_in(models)
    scheduler = BlockingScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})
    scheduler.add_job(
        run_child,
        BarClose(timeframes),
        args=[tick_command(home, extra)],
        coalesce=True,
        max_instances=1,
        misfire_grace_time=MISFIRE_GRACE_S,
    )

    def stop(number: int, _: FrameType | None) -> None:
        _log.info("stopping on %s", signal.Signals(number).name)
        scheduler.shutdown(wait=False)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    _log.info("waking ticks at the closes of %s", ", ".join(sorted(timeframes, key=TIMEFRAME_SECONDS.__getitem__)))
    scheduler.start()
