"""The resident trigger: it wakes ticks and guards, each in a child process, one at a time. It does nothing else, so it
stays small; whatever a tick does to its own process ends with it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final, Literal

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from msgspec.structs import replace

from oracle_batch import children, heartbeat
from oracle_batch.clock import Clock, FrozenClock, SystemClock
from oracle_batch.errors import BrokerError, ConfigError
from oracle_batch.heartbeat import BEAT_S, Ended, Heartbeat
from oracle_batch.store.workspace import Workspace
from oracle_batch.told_clock import ToldClock
from oracle_batch.types import LONGEST_RUN_S, TIMEFRAME_SECONDS
from oracle_batch.waking import Fires, Waking, WhenTold

_log = logging.getLogger(__name__)

TICK_TIMEOUT_S: Final = LONGEST_RUN_S + 30.0
"""A tick that hangs is ended after this long; the lock is free again and the next one recovers."""
GUARD_TIMEOUT_S: Final = 50.0
GUARD_CLEARANCE_S: Final = 5.0
"""A tick that is due so soon finds the lock free: no guard is started any more, and a running one is told to end."""


@dataclass(slots=True)
class _Job:
    """What is woken on a simulator's clock, and when it is next."""

    job: Any
    following: Callable[[float], float]
    at: float


class Resident:
    """Ticks and guards for one workspace, until it is told to stop. ``options`` are the global ones of the children;
    ``told`` is a simulator's clock to go by.

    Raises:
        ConfigError: no bundle tells when to wake up.
    """

    def __init__(self, workspace: Workspace, arm_s: float, options: Sequence[str], told: ToldClock | None) -> None:
        self.waking = Waking(workspace, arm_s)
        self.timeframes = self.waking.timeframes()
        self._workspace = workspace
        self._options = options
        self._told = told
        self._clock: Clock = SystemClock() if told is None else FrozenClock(told.now())
        self._stopped = threading.Event()
        self._beating = threading.Lock()
        now = self._clock.now()
        self._beat = Heartbeat(process=os.getpid(), started_at=now, beat_at=now, next_tick=self.next_tick(now))

    # when

    def next_tick(self, after: float) -> float:
        """When the next tick is started; where the models have gone meanwhile, as before."""
        try:
            self.timeframes = self.waking.timeframes()
        except ConfigError as error:
            _log.warning("%s; waking up as before", error)
        return self.waking.next_tick(self.timeframes, after)

    # what

    def tick(self) -> None:
        """Run one tick to its end."""
        arguments = ["--arm", f"{self.waking.lead(self.timeframes):g}"] if self.waking.arm_s else []
        self._run("tick", arguments, TICK_TIMEOUT_S)

    def guard(self) -> None:
        """Run one guard, unless a tick is due within moments; it is over before that."""
        now = self._clock.now()
        left = self.next_tick(now) - now - GUARD_CLEARANCE_S
        if left > 0:
            self._run("guard", [], min(GUARD_TIMEOUT_S, left))

    def _run(self, what: Literal["tick", "guard"], arguments: Sequence[str], timeout_s: float) -> None:
        if self._stopped.is_set():
            return
        clock = ["--clock", self._told.address] if self._told is not None else []
        self._note(running=what)
        began = time.monotonic()
        code = children.run(
            children.command(self._workspace.home, self._options, what, *arguments, *clock), timeout_s, what
        )
        ended = Ended(self._clock.now(), code, round(time.monotonic() - began, 3))
        beat = self._beat
        if what == "tick":
            self._note(running=None, last_tick=ended, ticks=beat.ticks + 1)
        else:
            self._note(running=None, last_guard=ended, guards=beat.guards + 1)

    def _note(self, **news: Any) -> None:
        """Beat, with what is new."""
        now = self._clock.now()
        with self._beating:
            self._beat = replace(self._beat, beat_at=now, next_tick=self.next_tick(now), **news)
            try:
                heartbeat.write(self._workspace.heartbeat, self._beat)
            except OSError as error:
                _log.warning("no heartbeat: %s", error)

    # until

    def serve(self) -> signal.Signals:
        """Wake until SIGTERM or SIGINT, which is returned; a running child is waited for.

        Raises:
            BrokerError: the simulator whose clock this goes by is gone.
        """
        received: list[signal.Signals] = []
        reader, writer = os.pipe()

        def stop(number: int, _: FrameType | None) -> None:
            if not received:
                _log.info("stopping on %s", signal.Signals(number).name)
                os.write(writer, b"\n")
            received.append(signal.Signals(number))
            self._stopped.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})
        told = self._add_jobs(scheduler)
        scheduler.start()
        self._announce()
        listening: list[Any] = [reader] if self._told is None else [reader, self._told]
        try:
            while not received:
                self._note()
                select.select(listening, [], [], BEAT_S)
                if self._told is None:
                    scheduler.wakeup()  # the machine may have slept, or its clock been set
                else:
                    self._hear(self._told, told)
        finally:
            self._stopped.set()
            scheduler.shutdown(wait=True)
            heartbeat.forget(self._workspace.heartbeat)
            os.close(reader)
            os.close(writer)
        return received[0]

    def _add_jobs(self, scheduler: BackgroundScheduler) -> list[_Job]:
        """Give the scheduler its two jobs; those that a simulator's clock wakes are returned.

        A tick that is due while another child runs waits for it and happens once; a guard is left out.
        """
        found = []
        now = self._clock.now()
        work = ((self.tick, self.next_tick, 2), (self.guard, self.waking.next_guard, 1))
        for action, following, instances in work:
            trigger = Fires(following) if self._told is None else WhenTold()
            job = scheduler.add_job(action, trigger, coalesce=True, max_instances=instances, misfire_grace_time=None)
            if self._told is not None:
                found.append(_Job(job, following, following(now)))
        return found

    def _hear(self, clock: ToldClock, jobs: Sequence[_Job]) -> None:
        """Take the time from the simulator, and start what is due by it.

        Raises:
            BrokerError: the simulator is gone.
        """
        now = clock.now()
        if clock.ended and not self._stopped.is_set():
            raise BrokerError("the simulator is gone", field="--clock", fix="start it, then `run`")
        self._clock = FrozenClock(now)
        for one in jobs:
            if one.at <= now:
                one.job.modify(next_run_time=datetime.now(UTC))
                one.at = one.following(now)

    def _announce(self) -> None:
        names = ", ".join(sorted(self.timeframes, key=TIMEFRAME_SECONDS.__getitem__))
        first = datetime.fromtimestamp(self._beat.next_tick or 0.0, UTC)
        _log.info("waking a tick for each close of %s; the next one at %s", names, first.strftime("%H:%M:%SZ"))
