"""Closes that no signal asks for: positions without a decision, and closes that the market would not take before."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

from oracle_batch.broker.base import CloseCause, CloseIntent, Position
from oracle_batch.closes import newest_closed
from oracle_batch.desk import Desk
from oracle_batch.endings import put_off
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.plan import intent_id
from oracle_batch.store.records import Event, Signal
from oracle_batch.types import LABEL_PREFIX, TIMEFRAME_SECONDS, split_model_id

_log = logging.getLogger(__name__)


def retry_pending(desk: Desk, now: float) -> None:
    """Closes that the market would not take before, for models that have no plan of their own now."""
    for name, position in _unattended(desk):
        pending = desk.books(name).pending_close
        if pending is None or pending.position_id != position.position_id:
            continue
        if not put_off(desk, position.symbol, pending.cause, now):
            _close(desk, name, position, now, pending.cause)


async def close_blind(desk: Desk, blind: Collection[str], now: float) -> None:
    """Close positions that have had no decision for ``max_blind_bars`` bars.

    ``blind`` are the models that cannot decide now; a position whose model is no longer here has no decision either.
    """
    for name, position in list(_unattended(desk)):
        if name in desk.models and name not in blind:
            continue
        bars = await _bars_missed(desk, name, position, now)
        if bars is not None and bars >= desk.rules.max_blind_bars:
            _close(desk, name, position, now, "emergency")
            detail = {"position_id": position.position_id, "bars": bars}
            desk.before_send.append(Event("closed_blind", name, detail))
            _log.warning("%s has had no decision for %d bars: closing its position", name, bars)


def _unattended(desk: Desk) -> Iterator[tuple[str, Position]]:
    """Our open positions that no leg closes, no plan has judged and no order is on its way for, with their models."""
    planned = {one.model for one in (*desk.plans, *desk.recovery.unsure)}
    closing = {leg.position_id for leg in desk.intents if isinstance(leg, CloseIntent)}
    for position in desk.positions:
        name = position.label.removeprefix(LABEL_PREFIX)
        if position.label.startswith(LABEL_PREFIX) and name not in planned and position.position_id not in closing:
            yield name, position


async def _bars_missed(desk: Desk, name: str, position: Position, now: float) -> int | None:
    """Closed bars since a model's last decision: the feed's count, else the clock's; None for no model's label."""
    known = split_model_id(name)
    if known is None:
        return None
    timeframe = known[1]
    since = desk.books(name).last_bar or _last_signal(desk, name)
    since = since or int(position.opened_at) - TIMEFRAME_SECONDS[timeframe]
    try:
        return len(await desk.broker.bars(position.symbol, timeframe, since + 1, int(now)))
    except OracleBatchError:
        return max(0, (newest_closed(timeframe, now) - since) // TIMEFRAME_SECONDS[timeframe])


def _last_signal(desk: Desk, name: str) -> int:
    """The last bar that the journal has a signal for, where the books cannot tell; 0: none."""
    records = desk.journal.tail(None, repair=False).records
    return max((one.bar_time for one in records if isinstance(one, Signal) and one.model == name), default=0)


def _close(desk: Desk, name: str, position: Position, now: float, cause: CloseCause) -> None:
    leg = intent_id(name, int(now), 2 + sum(one.model == name for one in desk.intents))
    desk.intents.append(
        CloseIntent(leg, name, position.symbol, position.position_id, position.volume_cents, now, cause)
    )
