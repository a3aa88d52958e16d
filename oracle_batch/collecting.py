"""Reading what a run works on: bundles, sessions and books of all accounts, recovery, windows and twins, new bars."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from oracle_batch import gather as gathering
from oracle_batch.bars import Bars
from oracle_batch.broker.base import Broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.desk import Desk
from oracle_batch.errors import BundleError, ConfigError, OracleBatchError
from oracle_batch.opening import open_desks
from oracle_batch.rehearsing import learn
from oracle_batch.think import Fresh, warming_up
from oracle_batch.types import model_of
from oracle_batch.world import Isolated, Job, World

_log = logging.getLogger(__name__)

POLL_EVERY_S: Final = 0.25


async def gather(job: Job, world: World, check: Collection[str] = ()) -> None:
    """Read everything, and ask for what is new; ``check`` are models whose bars are asked for though none is due."""
    _load_models(job, world)
    await open_desks(job, world)
    world.failed |= _left_behind(job, world)
    load_stored(job, world)
    feed = world.desks[0].broker
    asked = {name: one for name, one in world.stored.items() if gathering.may_be_due(one, world.now)}
    asked |= {name: one for name, one in world.stored.items() if name in check}
    due, revised = list(asked.values()), _revised_before(world)
    bars = asyncio.gather(*(_asked(job, stored, world, feed, check, revised) for stored in due))
    windows = _to_decide(due, check)
    await asyncio.gather(bars, *(_foresee(desk, windows) for desk in world.desks if windows))
    for stored, result in zip(due, await bars, strict=True):
        if result is not None:
            _sort_in(stored, result, world)


def _to_decide(due: Sequence[gathering.Stored], check: Collection[str]) -> dict[str, Bars]:
    """The windows of models that may trade."""
    return {
        one.model.model_id: one.window.bars for one in due if one.window is not None and one.model.model_id not in check
    }


async def _foresee(desk: Desk, windows: Mapping[str, Bars]) -> None:
    """While bars take their turns: ask the margins of every order that may be wished for, which are many requests."""
    if desk.settings.kind != "ctrader":
        return
    try:
        await desk.broker.margins(await learn(desk, windows))
    except OracleBatchError as error:
        _log.info("account %s: margins are asked for later: %s", desk.name, error)


def load_stored(job: Job, world: World) -> None:
    """Windows and twins, as the last run left them."""
    source = job.settings.accounts[0].source
    for name, model in world.models.items():
        with Isolated(name, world):
            world.stored[name] = gathering.load(job.workspace, model, source)


def _load_models(job: Job, world: World) -> None:
    workspace = job.workspace
    models, refused = load_models(workspace.models, workspace.compiled, write_cache=not job.dry_run)
    if not models and not refused:
        raise ConfigError("no model bundle here", file=workspace.models, fix="oracle-batch models add FILE.zip")
    world.models, world.failed = models, dict(refused)


def _left_behind(job: Job, world: World) -> dict[str, OracleBatchError]:
    """Models that hold a position and have no bundle here any more: nobody decides when it ends."""
    held = {model_of(position.label) for desk in world.desks for position in desk.positions}
    bars = job.settings.tick.max_blind_bars
    return {
        name: BundleError(
            "is gone, but its position is open",
            file=job.workspace.bundle_path(name),
            fix=f"put it back, or: oracle-batch close {name}; after {bars} bars without a decision it is closed",
        )
        for name in held - world.models.keys() - world.failed.keys()
        if name is not None
    }


async def _asked(
    job: Job,
    stored: gathering.Stored,
    world: World,
    feed: Broker,
    check: Collection[str],
    revised: Mapping[str, Collection[int]],
) -> Fresh | None:
    """What is new of a model; that a bar which was traded already cannot be looked at again fails nobody."""
    if stored.model.model_id not in check:
        return await _refresh(job, stored, world, feed, revised.get(stored.model.model_id, ()))
    try:
        return await gathering.refresh(feed, stored, world.now)
    except OracleBatchError as error:
        _log.error("%s: its official bars were not looked at: %s", stored.model.model_id, error)
        return None


async def _refresh(
    job: Job, stored: gathering.Stored, world: World, feed: Broker, revised: Collection[int]
) -> Fresh | None:
    name = stored.model.model_id
    with Isolated(name, world):
        until = time.monotonic() + job.bar_poll_s
        fresh = await gathering.refresh(feed, stored, world.now, revised)
        while gathering.just_closed_is_missing(fresh, world.now) and time.monotonic() < until:
            await asyncio.sleep(POLL_EVERY_S)
            fresh = await gathering.refresh(feed, stored, world.now, revised)
        return fresh
    return None


def _revised_before(world: World) -> dict[str, list[int]]:
    """Bars that an interrupted run saw revised, by model."""
    found: dict[str, list[int]] = {}
    for name, bar_time in world.desks[0].recovery.revised:
        found.setdefault(name, []).append(bar_time)
    return found


def _sort_in(stored: gathering.Stored, fresh: Fresh, world: World) -> None:
    """A model that is due either has new or revised bars, or too few, or nothing to do."""
    name = stored.model.model_id
    if warming_up(fresh.bars):
        world.warming.add(name)
    elif fresh.twin is None or fresh.revised or fresh.bars.time[-1] > fresh.twin.state.bar_time:
        world.fresh[name] = fresh
