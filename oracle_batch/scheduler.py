"""The resident trigger: it wakes ticks and guards, each in a child process, one at a time. It does nothing else, so it
stays small; whatever a tick does to its own process ends with it.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final, Literal

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.base import BaseScheduler
from msgspec.structs import replace

from oracle_batch import heartbeat
from oracle_batch.children import Children, command
from oracle_batch.clock import Clock, FrozenClock, SystemClock
from oracle_batch.errors import BrokerError
from oracle_batch.heartbeat import BEAT_S, Ended, Heartbeat
from oracle_batch.store.workspace import Workspace
from oracle_batch.timetable import Timetable, Watched
from oracle_batch.told_clock import ToldClock
from oracle_batch.types import coming
from oracle_batch.waking import Fires, WhenTold

_log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often the clock is looked at: after a machine's sleep, or when its clock was set, a tick is late by this at most.
Settings and bundles are looked at with each beat."""
STEP_S: Final = 1.0
GUARD_TIMEOUT_S: Final = 50.0
GUARD_CLEARANCE_S: Final = 5.0
"""A tick that is due so soon finds the lock free: no guard is started any more, and a running one is told to end."""
CATCH_UP_S: Final = 60.0
"""At its start the resident runs a tick for what has closed before, unless the next one is as near as this."""
STOPPERS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class InStep(BaseScheduler):  # type: ignore[misc]
    """An APScheduler without a thread of its own: its owner turns it. One worker runs its jobs, in their order."""

    def __init__(self) -> None:
        super().__init__(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})

    def turn(self) -> float:
        """Hand to the worker what is due; seconds until something is."""
        wait = self._process_jobs()
        return math.inf if wait is None else float(wait)

    def wakeup(self) -> None:
        """Nobody sleeps here."""

    def shutdown(self, wait: bool = True) -> None:
        """Start nothing any more; the worker finishes what it is at."""
        super().shutdown(wait)


@dataclass(slots=True)
class _Alarm:
    """A job and when it is next."""

    job: Any
    fires: Fires
    at: datetime


class Resident:
    """Ticks and guards for one workspace, until it is told to stop. ``options`` are the global ones of the children;
    ``told`` is a simulator's clock to go by.
    """

    def __init__(self, workspace: Workspace, watched: Watched, options: Sequence[str], told: ToldClock | None) -> None:
        self._workspace = workspace
        self._watched = watched
        self._options = options
        self._told = told
        self._clock: Clock = SystemClock() if told is None else FrozenClock(told.now())
        self._children = Children()
        self._stopped = threading.Event()
        self._beating = threading.Lock()
        self._mute = False
        now = self._clock.now()
        self._looked, self._seen = -math.inf, (now, time.monotonic())
        self._due = self.timetable.next_tick(now)
        self._beat = Heartbeat(process=os.getpid(), started_at=now, beat_at=now, next_tick=self._due)

    @property
    def timetable(self) -> Timetable:
        """What it goes by now."""
        return self._watched.newest

    # what

    def catch_up(self) -> None:
        """At the start: run one tick for what has closed before, unless the next one is about to do that."""
        now = self._clock.now()
        if self.timetable.next_tick(now) - now > CATCH_UP_S:
            self._run("tick", [], self.timetable.tick_timeout_s)

    def tick(self) -> None:
        """Run one tick to its end."""
        table = self.timetable
        arguments = ["--arm", f"{table.lead_s:g}"] if table.waking.arm_s else []
        self._run("tick", arguments, table.tick_timeout_s)

    def guard(self) -> None:
        """Run one guard, unless a tick is due within moments; it is over before that."""
        now = self._clock.now()
        left = self.timetable.next_tick(now) - now - GUARD_CLEARANCE_S
        if left > 0:
            self._run("guard", [], min(GUARD_TIMEOUT_S, left))

    def _run(self, what: Literal["tick", "guard"], arguments: Sequence[str], timeout_s: float) -> None:
        if self._stopped.is_set():
            return
        clock = ["--clock", self._told.address] if self._told is not None else []
        self._note(running=what)
        began = time.monotonic()
        code = self._children.run(
            command(self._workspace.home, self._options, what, *arguments, *clock), timeout_s, what
        )
        ended = Ended(self._clock.now(), code, round(time.monotonic() - began, 3))
        beat = self._beat
        if what == "tick":
            self._note(running=None, last_tick=ended, ticks=beat.ticks + 1)
        else:
            self._note(running=None, last_guard=ended, guards=beat.guards + 1)

    def _note(self, **news: Any) -> None:
        """Beat, with what is new."""
        with self._beating:
            self._beat = replace(self._beat, beat_at=self._clock.now(), next_tick=self._due, **news)
            try:
                heartbeat.write(self._workspace.heartbeat, self._beat)
                self._mute = False
            except OSError as error:
                if not self._mute:
                    _log.warning("no heartbeat, ticks are woken all the same: %s", error)
                self._mute = True

    # until

    def serve(self) -> signal.Signals:
        """Wake until SIGTERM, SIGINT or SIGHUP, which is returned; a running child is told to end, and waited for.

        Raises:
            BrokerError: the simulator whose clock this goes by is gone.
        """
        received: list[signal.Signals] = []
        reader, writer = os.pipe()

        def stop(number: int, _: FrameType | None) -> None:
            if not received:
                os.write(writer, b"\n")
            received.append(signal.Signals(number))
            self._stopped.set()

        for number in STOPPERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and shells in the background leave it
                signal.signal(number, stop)
        scheduler = InStep()
        alarms = self._set_alarms(scheduler)
        scheduler.start()
        self._announce("waking")
        listening: list[Any] = [reader] if self._told is None else [reader, self._told]
        try:
            while not received:
                wait = self._turn(scheduler, alarms)
                select.select(listening, [], [], min(max(wait, 0.0), LOOK_S))
            _log.info("stopping on %s", received[0].name)
        finally:
            self._stopped.set()
            self._children.end()
            scheduler.shutdown()
            heartbeat.forget(self._workspace.heartbeat)
            os.close(reader)
            os.close(writer)
        return received[0]

    def _set_alarms(self, scheduler: InStep) -> list[_Alarm]:
        """Give the scheduler its jobs.

        A tick that is due while another child runs waits for it and happens once; a guard is left out.
        """
        alarms = []
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        once = {"coalesce": True, "misfire_grace_time": None}
        scheduler.add_job(self.catch_up, WhenTold(), next_run_time=datetime.now(UTC), **once)
        tick = Fires(lambda after: self.timetable.next_tick(after))
        guard = Fires(lambda after: self.timetable.next_guard(after))
        for action, fires, instances in ((self.tick, tick, 2), (self.guard, guard, 1)):
            trigger = fires if self._told is None else WhenTold()
            job = scheduler.add_job(action, trigger, max_instances=instances, **once)
            alarms.append(_Alarm(job, fires, fires.get_next_fire_time(None, now)))
        return alarms

    def _turn(self, scheduler: InStep, alarms: Sequence[_Alarm]) -> float:
        """Start what is due, and now and then look at the world again; seconds until something is due."""
        now, due = self._hear(), False
        for one in alarms:
            if one.at <= now:
                due = True
                if self._told is not None:
                    one.job.modify(next_run_time=datetime.now(UTC))
        scheduler.turn()
        if due or self._is_set(now) or time.monotonic() - self._looked >= BEAT_S:
            self._look(now, alarms)
        return min((one.at - now).total_seconds() for one in alarms) if self._told is None else math.inf

    def _is_set(self, now: datetime) -> bool:
        """Whether the clock has not gone on by the time that has passed: it was set, or the machine slept."""
        before, self._seen = self._seen, (now.timestamp(), time.monotonic())
        return abs((self._seen[0] - before[0]) - (self._seen[1] - before[1])) > STEP_S

    def _look(self, now: datetime, alarms: Sequence[_Alarm]) -> None:
        """Look at settings, bundles and hours, set each alarm by what is there, and beat."""
        self._looked = time.monotonic()
        if self._watched.look():
            self._announce("now waking")
        for one in alarms:
            one.at = one.fires.get_next_fire_time(None, now)
            if self._told is None and one.job.next_run_time != one.at:
                one.job.modify(next_run_time=one.at)
        self._due = alarms[0].at.timestamp()
        self._note()

    def _hear(self) -> datetime:
        """The time, from the simulator where there is one.

        Raises:
            BrokerError: the simulator is gone.
        """
        if self._told is not None:
            now = self._told.now()
            if self._told.ended and not self._stopped.is_set():
                raise BrokerError("the simulator is gone", field="--clock", fix="start it, then `run`")
            self._clock = FrozenClock(now)
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _announce(self, how: str) -> None:
        now, names = self._clock.now(), self.timetable.names()
        first = coming(self.timetable.next_tick(now), now)
        _log.info("%s a tick for each close of %s; the next one at %s", how, names, first)
