"""``paper deposit`` and ``paper withdraw``: money that comes into a paper account, or leaves it.

It is no result: limits go on being measured as if it had always been there, and the next run journals it
(``cash_flow``).
"""

from __future__ import annotations

import asyncio
import math

from oracle_batch.broker.base import Account
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.errors import UsageError
from oracle_batch.operating.job import Job
from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold


def move_cash(job: Job, amount: float) -> Account:
    """Put money in (positive, account currency) or take it out; the account afterwards.

    Raises:
        UsageError: no amount, several accounts, or one that is not on paper.
        BrokerError: more is taken out than is free.
        StateError, ConfigError: the account cannot be used, or not be written.
        LockHeld: another run did not end in time.
    """
    if not math.isfinite(amount):
        raise UsageError(f"{amount} is no money", field="AMOUNT", fix="write a number")
    if len(job.settings.accounts) != 1:
        names = ", ".join(account.account for account in job.settings.accounts)
        raise UsageError("there are several accounts", field="--account", fix=f"name one of {names}")
    (settings,) = job.settings.accounts
    if settings.kind != "paper":
        raise UsageError(f"{settings.account} is no paper account", field="--account", fix="use the broker's own site")
    job.workspace.ensure()
    with hold(job.workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        models, _ = load_models(job.workspace.models, job.workspace.compiled)
        broker = make_broker(settings, job.workspace, models, job.clock, dry_run=False)
        assert isinstance(broker, PaperBroker)
        return asyncio.run(_move(broker, amount))


async def _move(broker: PaperBroker, amount: float) -> Account:
    await broker.connect()
    try:
        broker.move_cash(amount, "deposit" if amount > 0 else "withdrawal")
        return await broker.account()
    finally:
        await broker.close()
