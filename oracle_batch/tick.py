"""One bar close, top to bottom (DESIGN §2).

gather ─► recover ─► decide ─► plan ─► journal intents ─► send ─► journal acks ─► commit ─► report

Deciding and planning are pure; the world is touched at both ends only. Whatever dies in between, the same command
run again finishes the job: intents are durable before anything leaves, and the state is written in the order bars,
twins, books, so that each file can be rebuilt from those before it.

An armed tick (DESIGN §8) makes this journey up to three times: before the close, with what an earlier run has left; at
the trigger, with everything at hand but the newest bars; and after the orders are out, with the official bars.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence

from oracle_batch import arming, exits, live, market_hours, own_accounts
from oracle_batch.bounded import uninterrupted
from oracle_batch.broker.base import Broker
from oracle_batch.collecting import gather
from oracle_batch.committing import commit
from oracle_batch.deciding import decide
from oracle_batch.desk import Desk
from oracle_batch.errors import BrokerError, OracleBatchError, StateError
from oracle_batch.proposing import plan
from oracle_batch.report import AccountOutcome, Outcome, TickReport, Timing, merged, without
from oracle_batch.sheltering import shelter
from oracle_batch.store.journal import Journal
from oracle_batch.store.records import Event
from oracle_batch.think import Thought
from oracle_batch.world import Job, World

_log = logging.getLogger(__name__)


async def tick(job: Job) -> TickReport:
    """Run one bar close for every model that is due.

    Raises:
        ConfigError, BrokerError, StateError: nothing could be done for anybody; nothing was sent.
    """
    timing, sessions = Timing.of_process(), dict[str, Broker]()
    try:
        ahead = arming.look_ahead(job)
        if ahead.close is None:
            await arming.reach(job.clock, ahead.trigger)
            return await _journey(job, World(job.clock.now(), sessions, list(ahead.notes)), timing)
        return await _armed(job, ahead.close, sessions, timing)
    finally:
        for broker in sessions.values():
            await broker.close()


async def _journey(job: Job, world: World, timing: Timing, check: Collection[str] = ()) -> TickReport:
    """The whole of it, from the files on; ``check`` are models whose newest bar is not official yet."""
    try:
        await gather(job, world, check)
        timing.lap("gather")
        report = await _from_bars(job, world, timing)
    except OracleBatchError:
        _tell_all_the_same(job, world.notes)
        raise
    if not job.dry_run and not world.lost:
        await market_hours.keep(job.workspace.market_hours, world.desks, world.now)
    return report


async def _armed(job: Job, close: int, sessions: dict[str, Broker], timing: Timing) -> TickReport:
    """Get ready, wait for the trigger, trade on the final bars of the stream, then look at the official ones.

    What could not be got ready is done from the files after the trigger.
    """
    reports: list[TickReport] = []
    notes, decided, ready = list[Event](), set[str](), None
    try:
        before = World(job.clock.now(), sessions)
        reports.append(await _journey(job, before, timing))
        ready = await live.get_ready(job, close, before)
        timing.lap("gather")
    except BrokerError as error:
        _log.error("not armed: %s", error)
        notes.append(Event("not_armed", None, {"close": close, "error": str(error)}))
    with arming.undisturbed():
        vigil = await live.watch(job, close, ready)
        timing.trigger_at(vigil.trigger)
        if ready is not None and vigil.intact:
            await live.take_bars(ready, notes)
            decided = set(ready.world.newest)
        if ready is not None and decided:
            reports.append(await _from_stream(job, ready, timing))
    live.stand_down(sessions)
    try:
        after = World(job.clock.now(), sessions, [*vigil.notes, *notes])
        reports.append(await _journey(job, after, timing, decided))
    except OracleBatchError as error:
        if not decided:
            raise
        _log.error("the official bars were not looked at, the next run does: %s", error)
        left = ready.waiting.keys() - decided if ready is not None else ()
        reports.append(without(reports[-1], left, error))
    return merged(reports)


def _tell_all_the_same(job: Job, notes: Sequence[Event]) -> None:
    """What a run has met goes on record though it has failed; that it has is told elsewhere."""
    if notes and not job.dry_run:
        journal = Journal(job.workspace.journal_folder(job.settings.accounts[0].account), job.clock)
        with contextlib.suppress(OracleBatchError):
            journal.append(notes)


async def _from_bars(job: Job, world: World, timing: Timing) -> TickReport:
    """From what was read to what has come of it."""
    thoughts = decide(job, world)
    timing.lap("decide")
    for desk in world.desks:
        for name, error in world.failed.items():
            desk.fail(name, error)
    await plan(world, thoughts)
    timing.lap("plan")
    await uninterrupted(_carry_out(job, world, thoughts, timing))
    return _report(job, world, timing)


async def _from_stream(job: Job, ready: live.Ready, timing: Timing) -> TickReport:
    """The same at the trigger: by the draft where it still holds."""
    thoughts = live.thoughts_on(ready)
    timing.lap("decide")
    if not live.planned(ready):
        await plan(ready.world, thoughts)
    timing.lap("plan")
    await uninterrupted(_carry_out(job, ready.world, thoughts, timing))
    return _report(job, ready.world, timing)


# send


async def _carry_out(job: Job, world: World, thoughts: Mapping[str, Thought], timing: Timing) -> None:
    """From the first durable intent to the last file. An account that its journal stops, stops no other."""
    planned = tuple(world.desks)
    for desk in planned:
        try:
            desk.journal_intents()
        except StateError as error:
            world.give_up(desk, error)
    timing.lap("journal")
    await _send(world.desks, planned)
    timing.lap("send")
    for desk in world.desks:
        desk.speak()
    timing.sent(desk.broker.last_sent for desk in world.desks if desk.acks)
    await asyncio.gather(*(_shelter(desk, world) for desk in world.desks))
    timing.lap("send")
    if world.notes:
        world.desks[0].before_send += world.notes
        world.notes = []
    for desk in tuple(world.desks):
        desk.conclude(thoughts)
        try:
            desk.journal_acks()
        except StateError as error:
            world.give_up(desk, error)
    timing.lap("journal")
    commit(job, world, thoughts)
    timing.lap("commit")


async def _shelter(desk: Desk, world: World) -> None:
    try:
        await shelter(desk, world.now)
    except StateError as error:
        world.give_up(desk, error)


async def _send(desks: Sequence[Desk], planned: Sequence[Desk]) -> None:
    """One burst an account; then what waited for the spread, then entries that waited for closes elsewhere.

    ``planned`` are also accounts that send nothing: their closes will not be confirmed.
    """
    if len(desks) == 1:  # nobody to be beside: no turn of the loop is spent on it
        await desks[0].send()
    else:
        await asyncio.gather(*(desk.send() for desk in desks))
    await asyncio.gather(*(exits.wait_and_close(desk) for desk in desks))
    own_accounts.release(planned)
    await asyncio.gather(*(desk.send() for desk in desks))


# report


def _report(job: Job, world: World, timing: Timing) -> TickReport:
    accounts: dict[str, AccountOutcome] = {}
    waiting = {name: Outcome(reason="WARMING_UP") for name in world.warming}
    for settings in job.settings.accounts:
        desk = next((desk for desk in world.desks if desk.name == settings.account), None)
        if desk is None:
            accounts[settings.account] = world.lost[settings.account]
            continue
        outcome = desk.outcome()
        accounts[settings.account] = AccountOutcome(
            dict(sorted({**waiting, **outcome.models}.items())), outcome.orphans, None, outcome.exit_code
        )
    failed = any(account.exit_code for account in accounts.values())
    return TickReport(world.now, accounts, timing, 1 if failed else 0)
