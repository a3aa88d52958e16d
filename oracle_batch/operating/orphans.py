"""Positions at the broker that are no model's: seen, and touched only when the operator names one by its ticket.

Such a position may be given to a model (decision 0013). Its label cannot be changed at the broker, so the books hold
its id from then on, and every run treats it as the model's: the next signal decides whether it stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from oracle_batch.broker.base import Position
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError, UsageError
from oracle_batch.hands import ledger
from oracle_batch.hands.books import HeldPosition
from oracle_batch.hands.texts import read_comment
from oracle_batch.operating.closing import Closings, closings, ours
from oracle_batch.operating.job import Job
from oracle_batch.operating.visits import close_intent, look, visit
from oracle_batch.recover import POSITION_GIVEN
from oracle_batch.store.records import Event
from oracle_batch.types import action_of


@dataclass(frozen=True, slots=True)
class Orphan:
    """A position that is no model's, on the account that holds it."""

    account: str
    position: Position


@dataclass(frozen=True, slots=True)
class Orphans:
    """All of them, and the accounts that could not be asked."""

    found: list[Orphan]
    errors: dict[str, OracleBatchError]


def orphans(job: Job) -> Orphans:
    """The positions that are no model's. Takes no lock, writes nothing."""
    visits = look(job)
    found = [Orphan(one.account, position) for one in visits if one.desk for position in _foreign(one.desk)]
    return Orphans(found, {one.account: one.error for one in visits if one.error is not None})


def close_orphan(job: Job, ticket: int) -> Closings:
    """Close one position that is no model's; one that is not open (any more) is left at that.

    Raises:
        UsageError: several accounts are meant, or the position is a model's.
        LockHeld, BrokerError, StateError, ConfigError: nothing was done.
    """

    def work(desk: Desk) -> None:
        position = _found(desk, ticket)
        if position is None:
            return
        for name, one in ours(desk):
            if one is position:
                raise UsageError(f"position {ticket} is held by {name}", fix=f"oracle-batch close {name}")
        desk.intents.append(close_intent("", position, desk.clock.now()))

    _one_account(job)
    visits = visit(job, work)
    for one in visits:
        if one.error is not None:
            raise one.error
    return closings(job, visits, lambda leg: leg.position_id == ticket)


def adopt(job: Job, ticket: int, model: str, intensity: int | None) -> HeldPosition | None:
    """Give a position that is no model's to a model; None when that model holds it already.

    ``intensity`` (1 to 3) may be left out where the position's comment is one of ours.

    Raises:
        UsageError: several accounts are meant, there is no such position or model, they do not fit together, or the
            intensity is not known.
        LockHeld, BrokerError, StateError, ConfigError: nothing was done.
    """
    adopted: list[HeldPosition] = []

    def work(desk: Desk) -> None:
        held = _to_adopt(desk, ticket, model, intensity)
        if held is not None:
            desk.book(model, ledger.given(desk.books(model), held))
            desk.before_send.append(Event(POSITION_GIVEN, model, msgspec.to_builtins(held)))
            adopted.append(held)

    _one_account(job)
    for one in visit(job, work):
        if one.error is not None:
            raise one.error
    return adopted[0] if adopted else None


def _one_account(job: Job) -> None:
    if len(job.settings.accounts) > 1:
        known = ", ".join(one.account for one in job.settings.accounts)
        raise UsageError("a ticket is one account's", field="--account", fix=f"name one of {known}")


def _foreign(desk: Desk) -> list[Position]:
    mine = {position.position_id for _, position in ours(desk)}
    return [position for position in desk.positions if position.position_id not in mine]


def _found(desk: Desk, ticket: int) -> Position | None:
    return next((position for position in desk.positions if position.position_id == ticket), None)


def _to_adopt(desk: Desk, ticket: int, name: str, intensity: int | None) -> HeldPosition | None:
    position, model = _found(desk, ticket), desk.models.get(name)
    if model is None:
        known = ", ".join(sorted(desk.models)) or "none"
        raise UsageError(f"there is no model {name!r}", field="--as", fix=f"known: {known}")
    if position is None:
        raise UsageError(f"account {desk.name} holds no position {ticket}", field="--adopt", fix="oracle-batch orphans")
    if name in desk.executor.damaged:
        raise desk.executor.damaged[name].error
    owners = {one.position_id: owner for owner, one in ours(desk)}
    if ticket in owners:
        if owners[ticket] == name:
            return None
        raise UsageError(f"position {ticket} is held by {owners[ticket]}", field="--adopt")
    if name in owners.values():
        raise UsageError(f"{name} already holds a position", field="--as")
    if position.symbol != model.broker_symbol:
        raise UsageError(
            f"{name} trades {model.broker_symbol}, position {ticket} is in {position.symbol}", field="--as"
        )
    comment = read_comment(position.comment)
    told = (
        comment.intensity if comment and action_of(position.direction, comment.intensity).index == comment.action else 0
    )
    chosen = intensity or told
    if not chosen:
        raise UsageError(
            f"position {ticket} does not say what intensity it has", field="--intensity", fix="give 1, 2 or 3"
        )
    return HeldPosition(
        position.position_id,
        position.direction,
        chosen,
        position.volume_cents,
        position.entry_price,
        position.opened_at,
        relabelled=comment is not None and comment.intensity != chosen,
        commission=position.commission,
    )
