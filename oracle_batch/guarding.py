"""Between bars, top to bottom: a tick's lock, journal and broker, and no brain (DESIGN §9).

open ─► recover ─► what must end ─► protection ─► journal intents ─► send ─► journal acks ─► commit ─► report

It never enters: an entry that an interrupted tick has not sent stays for the next tick, which decides anew. With
nothing to do it writes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from typing import Any

from msgspec.structs import replace

from oracle_batch import bounded
from oracle_batch.bounded import uninterrupted, watchdog
from oracle_batch.broker.base import Ack, AmendIntent, CloseIntent
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings, Settings
from oracle_batch.desk import Desk
from oracle_batch.endings import carry_out, held
from oracle_batch.errors import OracleBatchError
from oracle_batch.guard_report import GuardedAccount, GuardReport, Step
from oracle_batch.hands.reset_days import next_reset
from oracle_batch.hands.roll import NEAR_S
from oracle_batch.protecting import protect
from oracle_batch.risk_desk import Market, RiskView, assess_account
from oracle_batch.settling import nothing_new, settle
from oracle_batch.store.journal import Journal
from oracle_batch.store.workspace import Workspace

_log = logging.getLogger(__name__)

PENDING = "PENDING_CLOSE"
"""Why a close is made that an earlier run could not make."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one guard is asked to do."""

    workspace: Workspace
    settings: Settings
    clock: Clock
    dry_run: bool = False


def run(job: Job) -> GuardReport:
    """``guard`` to its end. Paper brokers answer at once, so asyncio, 5 MB and its import, is left out for them.

    Raises:
        ConfigError, BrokerError, StateError: as ``guard``.
    """
    deadline_s = job.settings.tick.tick_deadline_s
    if all(settings.source == "paper" for settings in job.settings.accounts):
        with watchdog(deadline_s):
            return _at_once(guard(job))
    return bounded.run(lambda: guard(job), deadline_s)


def _at_once(work: Coroutine[Any, Any, GuardReport]) -> GuardReport:
    """The result of work that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        report: GuardReport = done.value
        return report
    work.close()
    raise RuntimeError("the work waits: it needs an event loop")


async def guard(job: Job) -> GuardReport:
    """Look after every account. One's failure is its own, unless it is the only one.

    Raises:
        ConfigError, BrokerError, StateError: the only account could not be looked after.
    """
    now = job.clock.now()
    models, refused = load_models(job.workspace.models, job.workspace.compiled, write_cache=False)
    for name, error in refused.items():
        _log.debug("%s: %s", name, error)  # the tick's alert
    accounts = {}
    for settings in job.settings.accounts:
        try:
            accounts[settings.account] = await _guard(job, settings, models, now)
        except OracleBatchError as error:
            if len(job.settings.accounts) == 1:
                raise
            _log.error("account %s: %s", settings.account, error)
            accounts[settings.account] = GuardedAccount(error=str(error))
    return GuardReport(now, accounts)


async def _guard(job: Job, settings: AccountSettings, models: Mapping[str, Model], now: float) -> GuardedAccount:
    desk = _desk(job, settings, models)
    try:
        await desk.open()
        view, amends = await look_after(desk, now)
        return _report(desk, view, amends)
    finally:
        await desk.broker.close()


async def look_after(desk: Desk, now: float) -> tuple[RiskView, Sequence[tuple[AmendIntent, Ack | None]]]:
    """Look after one open account, from its recovery to its books."""
    await desk.recover()
    view = await assess_account(desk, now)
    market = await _market(desk, view)
    carry_out(desk, market.schedules, now)
    amends = await protect(desk, market, now)
    _forget_idle_look(desk, view, now)
    if not nothing_new(desk):
        await uninterrupted(settle(desk))
    return view, amends


def _desk(job: Job, settings: AccountSettings, models: Mapping[str, Model]) -> Desk:
    workspace, clock = job.workspace, job.clock
    return Desk(
        settings,
        make_broker(settings, workspace, models, clock, dry_run=job.dry_run, lean=True),
        workspace,
        clock,
        models,
        {},
        job.settings.tick,
        Journal(workspace.journal_folder(settings.account), clock),
        job.dry_run,
    )


async def _market(desk: Desk, view: RiskView) -> Market:
    """What the assessment has seen, with the schedules of all markets in which we hold something."""
    symbols = sorted({position.symbol for _, position in held(desk)})
    return with_(view.market, schedules=await desk.broker.schedules(symbols)) if symbols else view.market


def _forget_idle_look(desk: Desk, view: RiskView, now: float) -> None:
    """Leave the anchors as they were where this look has taught nothing, so that nothing has to be written.

    The last look before a reset is kept: the day's anchors are the higher of it and of the first one after.
    """
    before = desk.loaded.risk.anchors if desk.loaded is not None else None
    after = desk.executor.risk.anchors
    if before is None or after is None or replace(after, last_seen=before.last_seen) != before:
        return
    was, seen = before.last_seen, after.last_seen
    reset = next_reset(view.rules.day, now)
    needed = reset - now <= NEAR_S < reset - was.time
    if (was.balance, was.equity) == (seen.balance, seen.equity) and not needed:
        desk.remember(replace(desk.executor.risk, anchors=before))


def _report(desk: Desk, view: RiskView, amends: Sequence[tuple[AmendIntent, Ack | None]]) -> GuardedAccount:
    closes = [
        _step(leg, desk.acks.get(leg.intent_id), desk.causes.get(leg.position_id, PENDING))
        for leg in desk.intents
        if isinstance(leg, CloseIntent)
    ]
    recovered = [
        Step(leg.model, leg.symbol, ack.position_id, ack.status, ack.reason) for leg, ack in desk.recovery.found
    ]
    return GuardedAccount(
        view.assessment.level, tuple(closes), tuple(_step(leg, ack, None) for leg, ack in amends), tuple(recovered)
    )


def _step(leg: CloseIntent | AmendIntent, ack: Ack | None, why: str | None) -> Step:
    status, reason = (None, None) if ack is None else (ack.status, ack.reason)
    prices = (leg.stop_loss, leg.take_profit) if isinstance(leg, AmendIntent) else (None, None)
    return Step(leg.model, leg.symbol, leg.position_id, status, reason, why, *prices)
