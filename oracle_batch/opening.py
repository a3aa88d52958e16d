"""Opening the accounts of a run: their brokers, books and execution settings, and what an earlier run left."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from oracle_batch import own_accounts
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.model import Model
from oracle_batch.config import (
    AccountSettings,
    SymbolSettings,
    created_defaults,
    load_executor_symbols,
)
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.desk import Desk
from oracle_batch.errors import ConfigError, OracleBatchError
from oracle_batch.report import AccountOutcome
from oracle_batch.store.files import read_bytes, replace_atomically
from oracle_batch.store.journal import Journal
from oracle_batch.world import Job, World

_log = logging.getLogger(__name__)


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


async def open_desks(job: Job, world: World) -> None:
    """Open every account. The first one feeds the brain and must answer; another one's failure is its own."""
    for settings in job.settings.accounts:
        try:
            limit_rules(
                settings.risk, job.workspace.home
            )  # whatever is wrong with them is told before anything is sent
            desk = await opened(desk_of(job, settings, world, _symbol_settings(job, settings, world.models)), world)
        except OracleBatchError as error:
            if not world.desks:
                raise
            _log.error("account %s: %s", settings.account, error)
            world.lost[settings.account] = AccountOutcome({}, 0, str(error), error.exit_code)
            world.held_by_lost.append(await _held_by(job, settings, world))
        else:
            world.desks.append(desk)


async def _held_by(job: Job, settings: AccountSettings, world: World) -> own_accounts.Holdings:
    """What an account holds that failed; its entries and closes are its own, but no other may trade against it."""
    try:
        broker = make_broker(settings, job.workspace, world.models, job.clock, dry_run=True)
    except OracleBatchError:
        return None
    return await own_accounts.holdings_of(settings.account, broker, job.workspace, world.models)


async def opened(desk: Desk, world: World) -> Desk:
    """An account in session, recovered; a session that this fails in is ended."""
    try:
        await desk.open()
        await desk.recover()
    except BaseException:
        world.sessions.pop(desk.name, None)
        await desk.broker.close()
        raise
    return desk


def desk_of(
    job: Job,
    settings: AccountSettings,
    world: World,
    settings_of: Mapping[str, SymbolSettings | OracleBatchError],
) -> Desk:
    """The desk of an account; its session is kept for as long as the run lasts."""
    workspace, clock = job.workspace, job.clock
    broker = world.sessions.get(settings.account)
    if broker is None:
        broker = make_broker(settings, workspace, world.models, clock, dry_run=job.dry_run)
        world.sessions[settings.account] = broker
    return Desk(
        settings,
        broker,
        workspace,
        clock,
        world.models,
        settings_of,
        job.settings.tick,
        Journal(workspace.journal_folder(settings.account), clock),
        job.dry_run,
        job.settings.accounts[0].kind,
    )
