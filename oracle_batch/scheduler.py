"""The resident trigger: at each distinct bar close plus one second it starts one tick in a child process.

The parent does nothing else, so whatever a tick does to its own process ends with it.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from oracle_batch.errors import ConfigError, LockHeld
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

_log = logging.getLogger(__name__)

TRIGGER_DELAY_S = 1
TICK_TIMEOUT_S = 600
"""A tick that hangs is ended after this long; the lock is free again and the next one recovers."""


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
    """An APScheduler trigger that fires one second after each distinct bar close of the models in a folder.

    The folder is looked at before each wait, so a bundle that is added later is woken for, too.
    """

    def __init__(self, models: Path) -> None:
        self._models = models
        self.timeframes = timeframes_in(models)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next close after the later of both instants."""
        try:
            self.timeframes = timeframes_in(self._models)
        except ConfigError as error:
            _log.warning("%s; waking up as before", error)
        after = max(now, previous + timedelta(microseconds=1)) if previous else now
        return datetime.fromtimestamp(next_fire(self.timeframes, after.timestamp()), UTC)


def tick_command(home: Path, options: Sequence[str]) -> list[str]:
    """The command line of a child's tick."""
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), *options, "tick"]


def run_child(command: Sequence[str]) -> int:
    """Run one tick to its end, bounded in time; returns its exit code, negative where a signal ended it.

    The child has a session of its own: Ctrl-C stops the trigger, not a tick between sending and recording.
    """
    try:
        child = subprocess.run(command, check=False, timeout=TICK_TIMEOUT_S, start_new_session=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        _log.error("the tick was ended after %d s", TICK_TIMEOUT_S)
        return -signal.SIGKILL
    code = child.returncode
    if code == LockHeld.exit_code:
        _log.warning("another run held the lock; this bar close was left to it")
    elif code < 0:
        _log.error("the tick was ended by %s", signal.Signals(-code).name)
    elif code:
        _log.error("the tick ended with exit code %d", code)
    return code


def serve(home: Path, models: Path, options: Sequence[str]) -> signal.Signals:
    """Wake ticks until SIGTERM or SIGINT, which is returned; a running tick is waited for. A late wake-up happens once.

    Raises:
        ConfigError: no bundle tells when to wake up.
    """
    trigger = BarClose(models)
    stopped = threading.Event()
    told: list[signal.Signals] = []

    def stop(number: int, _: FrameType | None) -> None:
        if not told:
            _log.info("stopping on %s", signal.Signals(number).name)
        told.append(signal.Signals(number))
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})
    command = tick_command(home, options)
    scheduler.add_job(run_child, trigger, args=[command], coalesce=True, max_instances=1, misfire_grace_time=None)
    scheduler.start()
    names = ", ".join(sorted(trigger.timeframes, key=TIMEFRAME_SECONDS.__getitem__))
    first = datetime.fromtimestamp(next_fire(trigger.timeframes, datetime.now(UTC).timestamp()), UTC)
    _log.info("waking a tick at each close of %s; the next at %s", names, first.strftime("%H:%M:%SZ"))
    stopped.wait()
    scheduler.shutdown(wait=True)
    return told[0]
