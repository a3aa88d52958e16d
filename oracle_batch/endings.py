"""Closes that no signal asks for, carried out by whoever comes by while the market is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from oracle_batch.broker.base import CloseCause, CloseIntent, Position
from oracle_batch.desk import Desk
from oracle_batch.hands import rules_time
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.refusal import Refusal
from oracle_batch.types import model_of


def carry_out(desk: Desk, schedules: Mapping[str, Schedule], now: float) -> None:
    """Add every pending close to the desk's that has not to wait: for the market by its schedule, or for news."""
    for name, position in list(held(desk)):
        pending = desk.books(name).pending_close
        if pending is None or pending.position_id != position.position_id:
            continue
        if is_open(schedules.get(position.symbol), now) and not put_off(desk, position.symbol, pending.cause, now):
            desk.intents.append(close_leg(name, position, now, pending.cause))


def put_off(desk: Desk, symbol: str, cause: CloseCause, now: float) -> Refusal | None:
    """Why an ordinary close waits now, for news; None: it may go. An emergency's or the operator's never waits."""
    view, rules = desk.view, desk.settings.risk
    if cause != "signal" or view is None:
        return None
    terms = view.market.terms.get(symbol)
    currencies = currencies_of(terms.spec, rules.symbol_currencies) if terms is not None else None
    return rules_time.close_deferred(rules, view.news, currencies, now)


def held(desk: Desk) -> Iterator[tuple[str, Position]]:
    """Our open positions that nothing closes yet in this run, with their models."""
    closing = {leg.position_id for leg in desk.intents if isinstance(leg, CloseIntent)}
    for position in desk.positions:
        name = model_of(position.label)
        if name is not None and name not in desk.executor.damaged and position.position_id not in closing:
            yield name, position


def is_open(schedule: Schedule | None, now: float) -> bool:
    """Whether a market takes orders, as far as anybody knows."""
    return schedule is None or schedule.is_open(now)


def close_leg(name: str, position: Position, now: float, cause: CloseCause = "emergency") -> CloseIntent:
    """A close that no signal asks for. Its id is ``ob-{model}-{now}-g{position}``."""
    leg = f"ob-{name}-{int(now)}-g{position.position_id}"
    return CloseIntent(leg, name, position.symbol, position.position_id, position.volume_cents, now, cause)
