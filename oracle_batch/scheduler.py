"""The resident trigger: at each distinct bar close plus one second it starts one tick in a child process, and each
minute in between a guard.

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

from oracle_batch.closes import TRIGGER_DELAY_S, next_close, timeframes_in
from oracle_batch.errors import ConfigError, LockHeld
from oracle_batch.types import TIMEFRAME_SECONDS

_log = logging.getLogger(__name__)

TICK_TIMEOUT_S = 600
"""A tick that hangs is ended after this long; the lock is free again and the next one recovers."""
GUARD_SECOND = 31
"""The second of each minute on which a guard is woken: as far from bar closes as can be."""
GUARD_CLEARANCE_S = 5.0
"""A tick that is due so soon finds the lock free: no guard is started any more, and a running one is ended."""
GUARD_TIMEOUT_S = 50.0


def next_fire(timeframes: Collection[str], after: float) -> int:
    """The first instant later than ``after`` that is a bar close plus one second.

    H4 and D1 grids follow the broker's clock, so their models are looked at every full hour.

    >>> next_fire({"M15", "H1"}, 900.0), next_fire({"M15"}, 901.0)
    (901, 1801)
    """
    return next_close(timeframes, after - TRIGGER_DELAY_S) + TRIGGER_DELAY_S


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


class BetweenBars(BaseTrigger):  # type: ignore[misc]
    """An APScheduler trigger that fires once a minute, half a minute away from bar closes."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next such second after the later of both instants."""
        after = max(now, previous + timedelta(microseconds=1)) if previous else now
        minute = (after.timestamp() - GUARD_SECOND) // 60 + 1
        return datetime.fromtimestamp(60 * minute + GUARD_SECOND, UTC)


def child_command(home: Path, options: Sequence[str], what: str) -> list[str]:
    """The command line of a child: a ``tick`` or a ``guard``."""
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), *options, what]


def tick_command(home: Path, options: Sequence[str]) -> list[str]:
    """The command line of a child's tick."""
    return child_command(home, options, "tick")


def run_guard(command: Sequence[str], trigger: BarClose) -> int | None:
    """Run one guard, unless a tick is due within moments; None: not run. It is over before the next tick."""
    now = datetime.now(UTC).timestamp()
    until_tick = next_fire(trigger.timeframes, now) - now - GUARD_CLEARANCE_S
    if until_tick <= 0:
        _log.debug("no guard: a tick is due")
        return None
    return run_child(command, min(GUARD_TIMEOUT_S, until_tick), "guard")


def run_child(command: Sequence[str], timeout_s: float | None = None, what: str = "tick") -> int:
    """Run one tick to its end, bounded in time; returns its exit code, negative where a signal ended it.

    The child has a session of its own: Ctrl-C stops the trigger, not a tick between sending and recording.
    """
    timeout_s = TICK_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        child = subprocess.run(command, check=False, timeout=timeout_s, start_new_session=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        _log.error("the %s was ended after %.0f s", what, timeout_s)
        return -signal.SIGKILL
    code = child.returncode
    if code == LockHeld.exit_code:
        if what == "tick":
            _log.warning("another run held the lock; this bar close was left to it")
    elif code < 0:
        _log.error("the %s was ended by %s", what, signal.Signals(-code).name)
    elif code:
        _log.error("the %s ended with exit code %d", what, code)
    return code


def serve(home: Path, models: Path, options: Sequence[str]) -> signal.Signals:
    """Wake ticks and guards until SIGTERM or SIGINT, which is returned; a running child is waited for.

    One child runs at a time. A tick that is late happens once, a guard that is late does not happen.

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
    guard = child_command(home, options, "guard")
    scheduler.add_job(
        run_guard,
        BetweenBars(),
        args=[guard, trigger],
        coalesce=True,
        max_instances=1,
        misfire_grace_time=round(GUARD_CLEARANCE_S),
    )
    scheduler.start()
    names = ", ".join(sorted(trigger.timeframes, key=TIMEFRAME_SECONDS.__getitem__))
    first = datetime.fromtimestamp(next_fire(trigger.timeframes, datetime.now(UTC).timestamp()), UTC)
    _log.info("waking a tick at each close of %s; the next at %s", names, first.strftime("%H:%M:%SZ"))
    stopped.wait()
    scheduler.shutdown(wait=True)
    return told[0]
