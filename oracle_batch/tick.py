"""One bar close, top to bottom (DESIGN §2).

gather ─► recover ─► decide ─► plan ─► journal intents ─► send ─► journal acks ─► commit ─► report

Deciding and planning are pure; the world is touched at both ends only. Whatever dies in between, the same command
run again finishes the job: intents are durable before anything leaves, and the state is written in the order bars,
twins, books, so that each file can be rebuilt from those before it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oracle_batch import exits, own_accounts, unattended
from oracle_batch import gather as gathering
from oracle_batch.bars import Bars
from oracle_batch.bounded import uninterrupted
from oracle_batch.broker.base import Broker
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import (
    AccountSettings,
    Settings,
    SymbolSettings,
    created_defaults,
    load_executor_symbols,
)
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.desk import Desk
from oracle_batch.errors import ConfigError, OracleBatchError, StateError
from oracle_batch.planning import judge, propose
from oracle_batch.report import AccountOutcome, Outcome, TickReport, Timing, process_age_s
from oracle_batch.sheltering import shelter
from oracle_batch.store import twins, windows
from oracle_batch.store.files import read_bytes, replace_all, replace_atomically
from oracle_batch.store.journal import Journal
from oracle_batch.store.windows import Window
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import Fresh, Thought, chart, think, warming_up

_log = logging.getLogger(__name__)

POLL_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Job:
    """What one tick is asked to do. ``bar_poll_s``: how long to ask again for a bar that has just closed."""

    workspace: Workspace
    settings: Settings
    clock: Clock
    dry_run: bool = False
    bar_poll_s: float = 0.0


@dataclass(slots=True)
class _Gathered:
    """Everything read: desks in session, models by id with what is new, and the models that cannot go on."""

    now: float
    models: dict[str, Model] = field(default_factory=dict)
    desks: list[Desk] = field(default_factory=list)
    lost: dict[str, AccountOutcome] = field(default_factory=dict)
    held_by_lost: list[own_accounts.Holdings] = field(default_factory=list)
    stored: dict[str, gathering.Stored] = field(default_factory=dict)
    fresh: dict[str, Fresh] = field(default_factory=dict)
    failed: dict[str, OracleBatchError] = field(default_factory=dict)
    warming: set[str] = field(default_factory=set)

    def windows(self) -> dict[str, Bars]:
        """Each model's bars as far as this run knows them."""
        found = {name: one.window.bars for name, one in self.stored.items() if one.window is not None}
        return found | {name: fresh.bars for name, fresh in self.fresh.items()}


async def tick(job: Job) -> TickReport:
    """Run one bar close for every model that is due.

    Raises:
        ConfigError, BrokerError, StateError: nothing could be done for anybody; nothing was sent.
    """
    timing = Timing()
    age = process_age_s()
    timing.stages["start"] = age * 1e3
    timing.trigger = timing.began - age

    world = _Gathered(job.clock.now())
    try:
        await _gather(job, world)
        timing.lap("gather")
        thoughts = _decide(job, world)
        timing.lap("decide")
        for desk in world.desks:
            for name, error in world.failed.items():
                desk.fail(name, error)
        await _plan(world, thoughts)
        timing.lap("plan")
        await uninterrupted(_carry_out(job, world, thoughts, timing))
        return _report(job, world, timing)
    finally:
        for desk in world.desks:
            await desk.broker.close()


# plan and send


async def _carry_out(job: Job, world: _Gathered, thoughts: Mapping[str, Thought], timing: Timing) -> None:
    """From the first durable intent to the last file."""
    for desk in world.desks:
        desk.journal_intents()
    timing.lap("journal")
    await _send(world.desks)
    timing.lap("send")
    if any(desk.acks for desk in world.desks):
        timing.last_order = (timing.began - timing.trigger) * 1e3
    await asyncio.gather(*(shelter(desk, world.now) for desk in world.desks))
    timing.lap("send")
    for desk in world.desks:
        desk.conclude(thoughts)
        desk.journal_acks()
    timing.lap("journal")
    _commit(job, world, thoughts)
    timing.lap("commit")


async def _plan(world: _Gathered, thoughts: Mapping[str, Thought]) -> None:
    """All accounts propose, then the rules judge one after another: what one may enter counts for the next."""
    proposals = {desk.name: await propose(desk, thoughts, world.windows(), world.now) for desk in world.desks}
    plans = {name: one.plans for name, one in proposals.items() if one is not None}
    for desk in world.desks:
        proposal = proposals[desk.name]
        if proposal is not None:
            others = own_accounts.held_elsewhere(desk, world.desks, plans, world.held_by_lost)
            await judge(desk, proposal, thoughts, others, world.now)
        unattended.retry_pending(desk, world.now)
        await unattended.close_blind(desk, {*desk.failed, *world.warming}, world.now)
        exits.put_off(desk)
    own_accounts.hold_back(world.desks)
    own_accounts.warn_of_twins(world.desks)


async def _send(desks: Sequence[Desk]) -> None:
    """One burst an account; then what waited for the spread, then entries that waited for closes elsewhere."""
    await asyncio.gather(*(desk.send() for desk in desks))
    await asyncio.gather(*(exits.wait_and_close(desk) for desk in desks))
    own_accounts.release(desks)
    await asyncio.gather(*(desk.send() for desk in desks))


# gather and recover


async def _gather(job: Job, world: _Gathered) -> None:
    """Bundles, sessions and books of all accounts, recovery, windows and twins, and the bars that are new."""
    workspace = job.workspace
    models, refused = load_models(workspace.models, workspace.compiled, write_cache=not job.dry_run)
    if not models and not refused:
        raise ConfigError("no model bundle here", file=workspace.models, fix="oracle-batch models add FILE.zip")
    world.models, world.failed = models, dict(refused)
    await _open_desks(job, world)
    feed = world.desks[0].broker
    source = job.settings.accounts[0].source
    for name, model in models.items():
        with _Isolated(name, world):
            world.stored[name] = gathering.load(workspace, model, source)
    due = [stored for stored in world.stored.values() if gathering.may_be_due(stored, world.now)]
    for stored, result in zip(
        due, await asyncio.gather(*(_refresh(job, stored, world, feed) for stored in due)), strict=True
    ):
        if result is not None:
            _sort_in(stored, result, world)


async def _refresh(job: Job, stored: gathering.Stored, world: _Gathered, feed: Broker) -> Fresh | None:
    name = stored.model.model_id
    with _Isolated(name, world):
        revised = [bar_time for model, bar_time in world.desks[0].recovery.revised if model == name]
        until = time.monotonic() + job.bar_poll_s
        fresh = await gathering.refresh(feed, stored, world.now, revised)
        while gathering.just_closed_is_missing(fresh, world.now) and time.monotonic() < until:
            await asyncio.sleep(POLL_EVERY_S)
            fresh = await gathering.refresh(feed, stored, world.now, revised)
        return fresh
    return None


def _sort_in(stored: gathering.Stored, fresh: Fresh, world: _Gathered) -> None:
    """A model that is due either has new or revised bars, or too few, or nothing to do."""
    name = stored.model.model_id
    if warming_up(fresh.bars):
        world.warming.add(name)
    elif fresh.twin is None or fresh.revised or fresh.bars.time[-1] > fresh.twin.state.bar_time:
        world.fresh[name] = fresh


class _Isolated:
    """The one place where a model's failure is kept from the others: it is noted, with its traceback if unforeseen."""

    def __init__(self, name: str, world: _Gathered) -> None:
        self._name, self._world = name, world

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        if not isinstance(error, OracleBatchError):
            _log.error("%s failed unexpectedly", self._name, exc_info=error)
            error = OracleBatchError(f"unexpected {type(error).__name__}: {error}", fix="see the log; report this")
        self._world.failed[self._name] = error
        return True


def _symbol_settings(
    job: Job, account: AccountSettings, models: Mapping[str, Model]
) -> dict[str, SymbolSettings | OracleBatchError]:
    """Each model's execution settings on an account; symbols without an entry get a disabled one, in the file too."""
    path = job.workspace.home / account.symbols
    known = load_executor_symbols(path)
    found: dict[str, SymbolSettings | OracleBatchError] = {}
    missing = []
    for name, model in models.items():
        try:
            entry = known.find(name, model.symbol, model.broker_symbol)
        except ConfigError as error:
            found[name] = error
            continue
        if entry is None:
            missing.append(model.symbol)
        found[name] = entry or SymbolSettings()
    if missing and not job.dry_run:
        data = created_defaults(read_bytes(path), missing, file=path)
        if data is not None:
            replace_atomically(path, data)
            _log.warning("%s: added %s, disabled: set enabled to true to trade", path, ", ".join(sorted(set(missing))))
    return found


async def _open_desks(job: Job, world: _Gathered) -> None:
    """Open every account. The first one feeds the brain and must answer; another one's failure is its own."""
    for settings in job.settings.accounts:
        try:
            limit_rules(
                settings.risk, job.workspace.home
            )  # whatever is wrong with them is told before anything is sent
            desk = await _opened(_desk(job, settings, world, _symbol_settings(job, settings, world.models)))
        except OracleBatchError as error:
            if not world.desks:
                raise
            _log.error("account %s: %s", settings.account, error)
            world.lost[settings.account] = AccountOutcome({}, 0, str(error), error.exit_code)
            world.held_by_lost.append(await _held_by(job, settings, world))
        else:
            world.desks.append(desk)


async def _held_by(job: Job, settings: AccountSettings, world: _Gathered) -> own_accounts.Holdings:
    """What an account holds that failed; its entries and closes are its own, but no other may trade against it."""
    try:
        broker = make_broker(settings, job.workspace, world.models, job.clock, dry_run=True)
    except OracleBatchError:
        return None
    return await own_accounts.holdings_of(settings.account, broker, job.workspace, world.models)


async def _opened(desk: Desk) -> Desk:
    try:
        await desk.open()
        await desk.recover()
    except BaseException:
        await desk.broker.close()
        raise
    return desk


def _desk(
    job: Job,
    settings: AccountSettings,
    world: _Gathered,
    symbol_settings: Mapping[str, SymbolSettings | OracleBatchError],
) -> Desk:
    workspace, clock = job.workspace, job.clock
    return Desk(
        settings,
        make_broker(settings, workspace, world.models, clock, dry_run=job.dry_run),
        workspace,
        clock,
        world.models,
        symbol_settings,
        job.settings.tick,
        Journal(workspace.journal_folder(settings.account), clock),
        job.dry_run,
        job.settings.accounts[0].kind,
    )


# decide


def _decide(job: Job, world: _Gathered) -> dict[str, Thought]:
    """The newest signal of every model that has one; models without news keep the signal of their last bar."""
    courses = []
    for name, fresh in world.fresh.items():
        with _Isolated(name, world):
            courses.append(chart(fresh, auto_warmup=job.settings.tick.auto_warmup))
    thoughts = {}
    for thought in think(courses):
        name = thought.model.model_id
        with _Isolated(name, world):
            twins.check(thought.twin, file=f"new twin of {name}")
            thoughts[name] = thought
    for name, stored in world.stored.items():
        if name not in thoughts and name not in world.failed and stored.twin is not None:
            thoughts[name] = Thought(stored.model, stored.twin, past=stored.twin.history)
    for thought in thoughts.values():
        for event in thought.events:
            level = logging.INFO if event.name == "auto_warmup" else logging.WARNING
            _log.log(level, "%s: %s %s", event.model, event.name, event.detail)
            for desk in world.desks:
                desk.before_send.append(event)
    return thoughts


# commit


def _commit(job: Job, world: _Gathered, thoughts: Mapping[str, Thought]) -> None:
    """Write what changed: bars, then twins, then books. Bars may be ahead of a twin, never behind it."""
    if job.dry_run:
        return
    workspace, source = job.workspace, job.settings.accounts[0].source
    changed = {name: thoughts[name] for name in world.fresh if name in thoughts}
    lost = _replace_each({name: (workspace.bars_path(name), _window(world.fresh[name], source)) for name in changed})
    kept = {name: (workspace.twin_path(name), twins.encode(changed[name].twin)) for name in changed if name not in lost}
    lost |= _replace_each(kept)
    for desk in world.desks:
        for name, error in lost.items():
            desk.fail(name, error, changed[name])
        desk.commit()


def _replace_each(files: Mapping[str, tuple[Path, bytes]]) -> dict[str, StateError]:
    """Replace the files of all models together; if the system refuses, one by one, and return who lost out."""
    try:
        replace_all(list(files.values()))
    except StateError as error:
        _log.error("%s; writing what can be written", error)
    else:
        return {}
    lost = {}
    for name, file in files.items():
        try:
            replace_all([file])
        except StateError as error:
            lost[name] = error
    return lost


def _window(fresh: Fresh, source: str) -> bytes:
    bars: Bars = fresh.bars
    return windows.encode(Window(bars, source), fresh.model.symbol, fresh.model.timeframe)


# report


def _report(job: Job, world: _Gathered, timing: Timing) -> TickReport:
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


def problems(report: TickReport) -> Sequence[str]:
    """One line for each thing that went wrong, for the log."""
    lines = []
    for name, account in report.accounts.items():
        if account.error:
            lines.append(f"account {name}: {account.error}")
        for model, outcome in account.models.items():
            if outcome.error:
                lines.append(f"{model}: {outcome.error}")
            elif outcome.ack == "UNKNOWN":
                lines.append(f"{model}: the outcome of its order is unknown; the next run asks the broker")
    return lines
