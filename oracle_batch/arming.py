"""When an armed tick acts: which close it waits for, and the wait itself (DESIGN §8)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from oracle_batch.clock import Clock, SystemClock
from oracle_batch.closes import EARLY_S, TRIGGER_DELAY_S, next_close, timeframes_in
from oracle_batch.store.records import Event
from oracle_batch.told_clock import ToldClock
from oracle_batch.types import TIMEFRAME_SECONDS
from oracle_batch.world import Job

_log = logging.getLogger(__name__)

STEP_S: Final = 0.5
"""A clock that departs from the machine's own time by more has been set."""
LOOK_EVERY_S: Final = 0.05
AWAKE_S: Final = 0.003
"""So long before the trigger nothing sleeps any more: the system wakes nobody to the millisecond."""
SHORTLY_S: Final = (0.9, 0.3, 0.03)
"""Before the trigger: when the close has passed, and twice more, the last time as late as is safe."""
SHORTLY_EVERY_S: Final = 0.2
"""A simulator's clock says nothing of its next step: what is done after each is done no more often."""
TOLD_AWAKE_S: Final = 0.25
"""So long nothing sleeps after what was done shortly before the trigger, where a simulator tells the time."""
PATIENCE_S: Final = 60.0
"""How much longer than the lead a machine's clock may take, if it is set back meanwhile."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """``close`` is waited for (None: the tick acts at once, or at ``trigger`` if that is a moment away)."""

    close: int | None
    trigger: float
    notes: tuple[Event, ...] = ()


def look_ahead(job: Job) -> Ahead:
    """Whether the next close is near enough to wait for. A wake-up that is late acts at once, from the files.

    Raises:
        ConfigError: there is no bundle whose close could be waited for.
    """
    now = job.clock.now()
    if job.arm_s is None:
        return Ahead(None, now)
    timeframes = timeframes_in(job.workspace.models)
    close = next_close(timeframes, now)
    if close - now <= job.arm_s + EARLY_S:
        return Ahead(close, float(close + TRIGGER_DELAY_S))
    steps = {min(TIMEFRAME_SECONDS[timeframe], 3600) for timeframe in timeframes}
    past = max(int(now // step) * step for step in steps)
    _log.warning("not armed: the next close is %.0f s ahead, the last one %.1f s ago", close - now, now - past)
    detail = {"late_s": round(now - past, 3), "ahead_s": round(close - now, 3), "arm_s": job.arm_s}
    return Ahead(None, float(past + TRIGGER_DELAY_S), (Event("armed_late", None, detail),))


@dataclass(frozen=True, slots=True)
class Reached:
    """An instant has come: when, on the monotonic clock; how far the machine's clock was set meanwhile, in seconds.

    ``given_up``: it has not come in all the time that it may take.
    """

    monotonic: float
    stepped_s: float = 0.0
    given_up: bool = False


async def reach(clock: Clock, instant: float, shortly: Callable[[], Awaitable[None]] | None = None) -> Reached:
    """Wait until a clock shows an instant, to a fraction of a millisecond where the clock is the machine's.

    ``shortly`` is done a few times in the last second.
    """
    if isinstance(clock, ToldClock):
        return await _told(clock, instant, shortly)
    moments = list(SHORTLY_S) if shortly is not None else []
    began, wall = time.monotonic(), clock.now()
    most = max(instant - wall, 0.0) + PATIENCE_S
    real, stepped = isinstance(clock, SystemClock), 0.0
    while (left := instant - clock.now()) > 0:
        passed = time.monotonic() - began
        if real and passed > most:
            _log.error("the clock was set back: %.0f s are left of a wait that is over", left)
            return Reached(time.monotonic(), _departure(clock, wall, began), given_up=True)
        if shortly is not None and moments and left <= moments[0]:
            moments = [moment for moment in moments if moment < left]
            await shortly()
            continue
        await asyncio.sleep(min(left - AWAKE_S, LOOK_EVERY_S) if left > AWAKE_S else 0)
    monotonic = time.monotonic() + (left if real else 0.0)
    if real:
        departed = _departure(clock, wall, began)
        stepped = departed if abs(departed) > STEP_S else 0.0
        monotonic = max(monotonic, began) if not stepped else time.monotonic()
    return Reached(monotonic, stepped)


def _departure(clock: Clock, wall: float, began: float) -> float:
    return clock.now() - wall - (time.monotonic() - began)


async def _told(clock: ToldClock, instant: float, shortly: Callable[[], Awaitable[None]] | None) -> Reached:
    """The first line of a simulator's clock that reaches an instant is the instant; any other may be the last before
    it."""
    told = asyncio.Event()
    drafted, again, awake = math.nan, 0.0, 0.0
    clock.heed(told.set)  # others read the clock as well, and leave nothing that wakes this one
    try:
        while (now := clock.now()) < instant and not clock.ended:
            told.clear()
            moment = time.monotonic()
            if shortly is not None and now != drafted:
                if moment >= again:
                    drafted, again = now, moment + SHORTLY_EVERY_S
                    await shortly()
                    awake = time.monotonic() + TOLD_AWAKE_S
                else:
                    await _line(clock, told, again - moment)
            elif instant - now <= SHORTLY_S[0] and moment < awake:
                await asyncio.sleep(0)
            else:
                await _line(clock, told, None)
    finally:
        clock.heed(None)
    for _ in range(2):  # quotes that were sent before the line are read in the first of these turns of the loop
        await asyncio.sleep(0)
    return Reached(clock.heard_at, given_up=clock.now() < instant)


async def _line(clock: ToldClock, told: asyncio.Event, most_s: float | None) -> None:
    """Sleep until there is something to read, or somebody else has read it; at most so long."""
    loop = asyncio.get_running_loop()
    loop.add_reader(clock.fileno(), told.set)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await told.wait()
    finally:
        loop.remove_reader(clock.fileno())


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage is collected in the block, nor looked through again what is there before it."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
