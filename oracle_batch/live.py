"""An armed tick around its trigger: everything at hand before, the stream's final bars at it (DESIGN §8)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from oracle_batch import arming
from oracle_batch import gather as gathering
from oracle_batch.broker.base import Bar, Broker, Series
from oracle_batch.clock import SystemClock
from oracle_batch.closes import TRIGGER_DELAY_S
from oracle_batch.collecting import load_stored
from oracle_batch.deciding import checked
from oracle_batch.desk import Desk
from oracle_batch.errors import BrokerError, OracleBatchError
from oracle_batch.gather import Stored
from oracle_batch.opening import open_desks
from oracle_batch.proposing import plan
from oracle_batch.rehearsing import held_back, learn, rehearse, stand_in
from oracle_batch.store.records import Event
from oracle_batch.think import Foresight, Fresh, Thought
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW, utc
from oracle_batch.world import Job, World

_log = logging.getLogger(__name__)

CONFIRM_S: Final = 0.5
"""So long the feed may take to show that it is there."""
REARMS: Final = 10
"""How often an armed tick mends what has come loose."""


@dataclass(slots=True)
class Draft:
    """Decisions and plans on the bars so far, on copies of the desks; what they rest on, and what they would log."""

    streamed: Mapping[Series, Bar]
    bars: dict[str, Bar]
    versions: list[int | None]
    paused: bool
    thoughts: dict[str, Thought]
    desks: list[Desk]
    unsaid: list[logging.LogRecord]


@dataclass(slots=True)
class Ready:
    """An armed tick before its trigger: accounts in session and recovered, and the models that wait for a bar.

    ``holds``: at the trigger everything still was as the draft has it. ``confirmed``: the feed has answered after the
    close, so that every quote of the bars has come (None: not asked).
    """

    close: int
    world: World
    foresight: Foresight
    waiting: dict[str, Series]
    draft: Draft | None = None
    holds: bool = False
    confirmed: bool | None = None


@dataclass(slots=True)
class Vigil:
    """How the wait went: the trigger on the monotonic clock, whether all is as it was got ready, and what to tell."""

    trigger: float
    intact: bool
    notes: list[Event] = field(default_factory=list)


async def get_ready(job: Job, close: int, before: World) -> Ready | None:
    """Do everything that can be done before the last bar; ``before`` is the run that has just settled the past.

    None: no model has all but the bar that ends now; whatever there is to do then is done from the files.

    Raises:
        BrokerError: the broker cannot be reached or does not answer.
    """
    world = World(float(close + TRIGGER_DELAY_S), before.sessions, models=before.models)
    await open_desks(job, world)
    load_stored(job, world)
    world.failed.clear()  # told by the run before; the one after the orders tells again
    due = [one for one in world.stored.values() if _waits(one, close)]
    world.stored = {one.model.model_id: one for one in due}
    waiting = {name: (one.model.broker_symbol, one.model.timeframe) for name, one in world.stored.items()}
    fresh = [Fresh(one.model, one.window.bars, one.twin) for one in due if one.window is not None]
    if not fresh:
        _log.info("no model is ready for the close at %s", utc(close))
        return None
    ready = Ready(close, world, Foresight(fresh), waiting)
    world.foresight = ready.foresight
    for desk in world.desks:
        await _arm(desk, ready)
    await rehearse(world, ready.foresight, close)
    _log.info("armed for the close at %s: %d models", utc(close), len(waiting))
    return ready


async def _arm(desk: Desk, ready: Ready) -> None:
    series = sorted(set(ready.waiting.values())) if desk is ready.world.desks[0] else []
    windows = {one.model.model_id: one.bars for one in ready.foresight.fresh}
    await desk.broker.arm(series, await learn(desk, windows))
    await desk.look_again()


def _waits(stored: Stored, close: int) -> bool:
    """Whether a model has everything but the bar that ends at this close."""
    window, twin = stored.window, stored.twin
    if window is None or twin is None or len(window.bars) < WINDOW - 1:
        return False
    last, seconds = int(window.bars.time[-1]), TIMEFRAME_SECONDS[stored.model.timeframe]
    on_time = seconds > 3600 or close % seconds == 0
    return on_time and twin.state.bar_time == last and gathering.may_be_due(stored, close)


async def watch(job: Job, close: int, ready: Ready | None) -> Vigil:
    """Wait for the trigger; meanwhile mend lines and look again at accounts that have changed."""
    trigger = float(close + TRIGGER_DELAY_S)
    desks = ready.world.desks if ready is not None else []
    notes: list[Event] = []
    keeping = [asyncio.ensure_future(_keep(desk, ready, notes)) for desk in desks if ready is not None]
    try:
        reached = await arming.reach(job.clock, trigger, partial(_shortly, job, ready) if ready is not None else None)
        await asyncio.sleep(0)  # who has just heard of a change says so
    except asyncio.CancelledError:
        _tell_stopped(job, close, desks)
        raise
    finally:
        intact = all(not task.done() for task in keeping) and all(desk.is_current for desk in desks)
        for task in keeping:
            task.cancel()
        if not intact:  # who waits only for news is gone by itself
            await asyncio.gather(*keeping, return_exceptions=True)
    if reached.stepped_s or reached.given_up:
        _log.warning("the clock was set by %.1f s while armed: bars are asked for", reached.stepped_s)
        notes.append(Event("clock_stepped", None, {"close": close, "by_s": round(reached.stepped_s, 3)}))
        intact = False
    if ready is not None and ready.confirmed is False:
        _log.warning("the line is silent: bars are asked for")
        notes.append(Event("line_silent", None, {"close": close}))
        intact = False
    if ready is not None and not intact:
        notes.append(Event("armed_in_vain", None, {"close": close}))
    return Vigil(reached.monotonic, intact, notes)


async def _keep(desk: Desk, ready: Ready, notes: list[Event]) -> None:
    """See to what an armed broker cannot see to itself. Ends where that fails, or never ends it: then nothing is left
    of what was got ready, and the run goes by the files."""
    for _ in range(REARMS):
        why = await desk.broker.stirred()
        desk.is_current = False
        _log.warning("account %s: %s while armed", desk.name, why.replace("_", " "))
        detail: dict[str, object] = {"account": desk.name, "mended": False}
        notes.append(Event(why, None, detail))
        try:
            await _arm(desk, ready)
        except OracleBatchError as error:
            _log.error("account %s: %s", desk.name, error)
            return
        detail["mended"] = True
        desk.is_current = True
        _log.info("account %s: ready again", desk.name)


def _tell_stopped(job: Job, close: int, desks: Iterable[Desk]) -> None:
    """Told to end while nothing was sent: one line in the journal says that this close was left out."""
    if job.dry_run:
        return
    for desk in desks:
        desk.journal.append([Event("stopped_while_armed", None, {"close": close})])


# at the trigger


async def take_bars(ready: Ready, notes: list[Event]) -> None:
    """The newest bars, as far as the stream has them for certain; the other models are left to the files."""
    world, draft = ready.world, ready.draft
    found = world.desks[0].broker.final_bars(ready.close)
    world.newest = draft.bars if draft is not None and draft.streamed is found else _awaited(ready, found)
    notes += [Event("not_streamed", name, {"close": ready.close}) for name in ready.waiting if name not in world.newest]
    ready.holds = _holds(ready)
    if not ready.holds:
        for desk in world.desks:
            await desk.look_again()


def _awaited(ready: Ready, found: Mapping[Series, Bar]) -> dict[str, Bar]:
    """The bars that models wait for, as far as they are sound."""
    world, newest = ready.world, dict[str, Bar]()
    for name, series in ready.waiting.items():
        bar, window = found.get(series), world.stored[name].window
        if bar is not None and window is not None and bar.time > window.bars.time[-1] and is_sound(bar):
            newest[name] = bar
    return newest


async def _shortly(job: Job, ready: Ready) -> None:
    """What is done in the last second. A line that stands still looks like a quiet market: the feed has to answer."""
    real = isinstance(job.clock, SystemClock)
    if real and ready.confirmed is None and job.clock.now() >= ready.close:
        try:
            async with asyncio.timeout(CONFIRM_S):
                await ready.world.desks[0].broker.confirm()
            ready.confirmed = True
        except (BrokerError, TimeoutError):
            ready.confirmed = False
    await _draft(ready)


async def _draft(ready: Ready) -> None:
    """Decide and plan on what there is a moment before the trigger, on copies; it warms what else would be cold.

    Whatever changes until then makes it worthless, and costs no more than the draft.
    """
    ready.draft = None
    world = ready.world
    if not all(desk.is_current for desk in world.desks):
        return
    found = world.desks[0].broker.final_bars(ready.close)
    bars = _awaited(ready, found)
    if not bars:
        await rehearse(world, ready.foresight, ready.close)
        return
    for desk in world.desks:
        await desk.look_again()
    versions = [desk.broker.version for desk in world.desks]
    there = World(
        world.now,
        world.sessions,
        models=world.models,
        desks=[stand_in(desk) for desk in world.desks],
        stored=world.stored,
        newest=bars,
        foresight=ready.foresight,
        held_by_lost=world.held_by_lost,
    )
    with held_back() as unsaid:
        thoughts = decide(there)
        await plan(there, thoughts)
        for desk in there.desks:
            desk.broker.prepare(desk.intents)
            desk.journal.vouch([*desk.before_send, *desk.intents])
    ready.draft = Draft(found, bars, versions, world.is_paused, thoughts, there.desks, unsaid)


def _holds(ready: Ready) -> bool:
    """Whether the draft is what would be decided and planned now."""
    draft, world = ready.draft, ready.world
    if draft is None or draft.bars != world.newest or draft.paused != world.is_paused:
        return False
    now = [desk.broker.version for desk in world.desks]
    return None not in now and draft.versions == now


def thoughts_on(ready: Ready) -> dict[str, Thought]:
    """The signals of the models whose bar is there: the draft's, if these are the bars that it was decided on."""
    draft = ready.draft
    if draft is not None and draft.bars == ready.world.newest:
        return draft.thoughts
    return decide(ready.world)


def planned(ready: Ready) -> bool:
    """Put the draft's desks in place of those that it rests on; False without a draft that holds."""
    draft = ready.draft
    if draft is None or not ready.holds:
        return False
    ready.world.desks = draft.desks
    draft.desks[0].unsaid[:0] = draft.unsaid
    return True


def is_sound(bar: Bar) -> bool:
    """Whether a bar keeps the rules (DESIGN §3.1), as ``bars.validate`` has them.

    >>> is_sound(Bar(900, 1.1, 1.2, 1.0, 1.1, 5.0)), is_sound(Bar(900, 1.1, 1.05, 1.0, 1.1, 5.0))
    (True, False)
    """
    prices = (bar.open, bar.high, bar.low, bar.close)
    return (
        all(math.isfinite(price) and price > 0 for price in prices)
        and bar.high >= max(bar.open, bar.close)
        and bar.low <= min(bar.open, bar.close)
        and math.isfinite(bar.volume)
        and bar.volume >= 0
    )


def decide(world: World) -> dict[str, Thought]:
    """The signals of the models whose bar is there."""
    assert world.foresight is not None
    return checked(world, world.foresight.think(world.newest), newest_only=True)


def stand_down(sessions: Mapping[str, Broker]) -> None:
    """Orders are out: from here on the broker is asked as ever."""
    for broker in sessions.values():
        broker.disarm()
