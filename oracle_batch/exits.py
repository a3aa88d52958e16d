"""Ordinary closes that wait, for a bounded while, until the spread is no longer too wide (DESIGN §6)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from oracle_batch.clock import SystemClock
from oracle_batch.desk import Desk
from oracle_batch.errors import BrokerError
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.spreads import spread_pips

_log = logging.getLogger(__name__)

POLL_EVERY_S: Final = 0.25


def put_off(desk: Desk) -> None:
    """Let ordinary closes at too wide a spread wait, and entries that follow them. A frozen clock waits for nothing."""
    limit = desk.rules.max_exit_spread_pips
    if not limit or not desk.rules.exit_wait_s or not isinstance(desk.clock, SystemClock) or desk.view is None:
        return
    quotes = desk.view.market.quotes
    for one in desk.plans:
        if one.close is None or one.close.cause != "signal" or one.close.symbol not in quotes:
            continue
        pips = spread_pips(quotes[one.close.symbol], desk.specs[one.close.symbol].digits)
        if pips is not None and pips > limit:
            _log.info("%s: the spread is %g pips: its close waits up to %g s", one.model, pips, desk.rules.exit_wait_s)
            desk.waiting |= {leg.intent_id for leg in (one.close, one.entry) if leg is not None}


async def wait_and_close(desk: Desk) -> None:
    """Send each close that waits as soon as the spread allows it, or when its time is up, and what follows it."""
    until = time.monotonic() + desk.rules.exit_wait_s
    while left := [one for one in desk.plans if one.close is not None and one.close.intent_id in desk.waiting]:
        due = left if time.monotonic() >= until else await _narrow(desk, left)
        if due:
            desk.waiting -= {leg.intent_id for one in due for leg in (one.close, one.entry) if leg is not None}
            await desk.send()
        else:
            await asyncio.sleep(POLL_EVERY_S)


async def _narrow(desk: Desk, plans: list[ModelPlan]) -> list[ModelPlan]:
    """The plans whose spread is narrow enough now."""
    try:
        quotes = await desk.broker.quotes(sorted({one.close.symbol for one in plans if one.close is not None}))
    except BrokerError as error:
        _log.warning("account %s: no quotes: %s", desk.name, error)
        return plans
    found = []
    for one in plans:
        assert one.close is not None
        quote = quotes.get(one.close.symbol)
        pips = spread_pips(quote, desk.specs[one.close.symbol].digits) if quote is not None else None
        if pips is not None and pips <= desk.rules.max_exit_spread_pips:
            found.append(one)
    return found
