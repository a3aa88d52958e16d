"""What the operator's commands share: the lock, a desk for each account, and an order's way through journal and books.

A visit is a tick without a brain: open and recover first, then the one thing that was asked for, then intents to the
journal, out, answers to the journal, books. Killed anywhere, the same command again finishes it (DESIGN §5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oracle_batch import bounded
from oracle_batch.bounded import uninterrupted
from oracle_batch.broker.base import CloseIntent, Position
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.config import AccountSettings
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.operating.job import Job
from oracle_batch.settling import nothing_new, settle
from oracle_batch.store.journal import Journal
from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """What became of one account: its desk after the work, or why there was none."""

    account: str
    desk: Desk | None = None
    error: OracleBatchError | None = None


Work = Callable[[Desk], None]
"""What is to be done at an open desk: it adds intents and records; what it raises ends that account's visit."""


def visit(job: Job, work: Work, *, timeout_s: float = OPERATOR_TIMEOUT_S) -> list[Visit]:
    """Do the work on every account, under the lock; a running tick is waited for. An account's failure is its own.

    Raises:
        LockHeld: another run did not end in time.
    """
    job.workspace.ensure()
    with hold(job.workspace.lock, timeout_s=timeout_s):
        job.workspace.clean()
        return bounded.run(lambda: _visit_all(job, work, look=False), job.settings.tick.tick_deadline_s)


def look(job: Job) -> list[Visit]:
    """Every account's desk as it is now, without the lock; nothing is sent or written."""
    return bounded.run(lambda: _visit_all(job, lambda _: None, look=True), job.settings.tick.tick_deadline_s)


async def _visit_all(job: Job, work: Work, *, look: bool) -> list[Visit]:
    workspace = job.workspace
    models, refused = load_models(workspace.models, workspace.compiled, write_cache=not look)
    for name, error in refused.items():
        _log.warning("%s: %s", name, error)
    found = await asyncio.gather(
        *(_visit(job, settings, models, work, look=look) for settings in job.settings.accounts), return_exceptions=True
    )
    for one in found:
        if isinstance(one, BaseException):
            raise one  # only now: the other accounts have booked what they sent
    return [one for one in found if isinstance(one, Visit)]


async def _visit(job: Job, settings: AccountSettings, models: Mapping[str, Model], work: Work, *, look: bool) -> Visit:
    desk = Desk(
        settings,
        make_broker(settings, job.workspace, models, job.clock, dry_run=look),
        job.workspace,
        job.clock,
        models,
        {},
        job.settings.tick,
        Journal(job.workspace.journal_folder(settings.account), job.clock),
        look,
    )
    try:
        await desk.open()
        await desk.recover()
        work(desk)
        if nothing_new(desk):
            return Visit(settings.account, desk)
        await uninterrupted(settle(desk))
    except OracleBatchError as error:
        return Visit(settings.account, None, error)
    finally:
        await desk.broker.close()
    return Visit(settings.account, desk)


def close_intent(model: str, position: Position, now: float) -> CloseIntent:
    """A close that the operator asks for; ``model`` is empty for a position that is no model's.

    Its id is ``ob-{model}-{now}-c{position}``, the same for the same position at the same instant.
    """
    leg = f"ob-{model or 'foreign'}-{int(now)}-c{position.position_id}"
    return CloseIntent(leg, model, position.symbol, position.position_id, position.volume_cents, now, "operator")


def exit_code(errors: Sequence[OracleBatchError], accounts: int, *, undone: bool) -> int:
    """1 when something is undone or one account of several failed; an only account's failure has its own code."""
    if errors and accounts == 1:
        return errors[0].exit_code
    return 1 if errors or undone else 0
