"""After the fills: whether the broker holds each position with the protection that it should have (DESIGN §6)."""

from __future__ import annotations

import logging

from oracle_batch.desk import Desk
from oracle_batch.errors import BrokerError
from oracle_batch.hands import ledger
from oracle_batch.protecting import protect

_log = logging.getLogger(__name__)


async def shelter(desk: Desk, now: float) -> None:
    """Look at our positions again, set what is missing, and close what cannot be protected.

    Whatever the broker does not answer here is looked at by the next run.
    """
    desk.settle()
    if desk.dry_run or desk.view is None or not (desk.opened or desk.plans):
        return
    try:
        desk.positions = ledger.claimed(await desk.broker.positions(), desk.executor.models)
        await protect(desk, desk.view.market, now)
    except BrokerError as error:
        _log.error("account %s: the protection of its positions was not looked at: %s", desk.name, error)
        return
    desk.journal_intents()
    await desk.send()
    desk.settle()
