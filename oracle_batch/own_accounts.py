"""One's own accounts side by side: no opposite positions between them, and a word where they trade alike.

One brain moves all accounts, so that all of them turn at once. The entry of a turn is the opposite of what the others
still hold; it waits for their closes, and is given up where one of those is not confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, Broker, CloseIntent
from oracle_batch.bundle.model import Model
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.across import OtherPosition
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.store import executor as executor_file
from oracle_batch.store.records import Event
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import split_model_id

_log = logging.getLogger(__name__)

CODE = "OPPOSITE_ACROSS_ACCOUNTS"


Holdings = Sequence[OtherPosition] | None
"""What an account holds; None where nobody knows."""


def held_elsewhere(
    desk: Desk, desks: Sequence[Desk], proposed: Mapping[str, Sequence[ModelPlan]], lost: Iterable[Holdings]
) -> Holdings:
    """What the other accounts hold and have been let enter; what they are about to close is left to ``hold_back``.

    ``lost`` are the holdings of accounts that did not open.
    """
    found = []
    for other in desks:
        if other is desk:
            continue
        closing = _closing(proposed.get(other.name, ()))
        for position in other.positions:
            if position.position_id not in closing:
                found.append(OtherPosition(other.name, position.symbol, position.direction))
        for one in other.plans:
            if one.entry is not None:
                found.append(OtherPosition(other.name, one.entry.symbol, one.entry.direction))
    for holdings in lost:
        if holdings is None:
            return None
        found += holdings
    return found


async def holdings_of(account: str, broker: Broker, workspace: Workspace, models: Mapping[str, Model]) -> Holdings:
    """What an account holds that could not be opened: its broker is asked, else its books; None: neither tells."""
    try:
        await broker.connect()
        return [OtherPosition(account, one.symbol, one.direction) for one in await broker.positions()]
    except OracleBatchError:
        return _booked(account, workspace, models)
    finally:
        await broker.close()


def _closing(plans: Iterable[ModelPlan]) -> set[int]:
    return {one.close.position_id for one in plans if one.close is not None}


def _booked(account: str, workspace: Workspace, models: Mapping[str, Model]) -> Holdings:
    try:
        books = executor_file.load(workspace.executor_path(account), account)
    except OracleBatchError:
        return None
    if books is None:
        return []
    if books.damaged:
        return None
    found = []
    for name, one in books.models.items():
        if one.position is not None:
            model, known = models.get(name), split_model_id(name)
            symbol = model.broker_symbol if model is not None else known[0] if known else name
            found.append(OtherPosition(account, symbol, one.position.direction))
    return found


def hold_back(desks: Sequence[Desk]) -> None:
    """Let entries wait for the closes of opposite positions on the other accounts."""
    for desk in desks:
        if desk.settings.risk.allow_opposite_across_accounts:
            continue
        for one in desk.plans:
            if one.entry is not None and _opposite_closes(one, desk, desks):
                desk.crossing.add(one.entry.intent_id)


def release(desks: Sequence[Desk]) -> None:
    """Give up the entries whose closes elsewhere were not confirmed; the others may be sent now."""
    for desk in desks:
        for one in desk.plans:
            entry = one.entry
            if entry is None or entry.intent_id not in desk.crossing:
                continue
            for other, close in _opposite_closes(one, desk, desks):
                ack = other.acks.get(close.intent_id)
                if ack is None or ack.status != "OK":
                    desk.acks[entry.intent_id] = Ack(entry.intent_id, "SKIP", CODE)
        desk.crossing.clear()


def _opposite_closes(one: ModelPlan, desk: Desk, desks: Sequence[Desk]) -> list[tuple[Desk, CloseIntent]]:
    """Closes on other accounts that an entry depends on."""
    assert one.entry is not None
    found = []
    for other in desks:
        if other is desk or desk.settings.risk.allow_opposite_across_accounts:
            continue
        directions = {position.position_id: position.direction for position in other.positions}
        for plan in other.plans:
            close = plan.close
            if close is None or close.symbol != one.entry.symbol:
                continue
            if directions.get(close.position_id) == -one.entry.direction:
                found.append((other, close))
    return found


def warn_of_twins(desks: Sequence[Desk]) -> None:
    """Say once of two accounts that they trade alike: some firms count that as copying."""
    for number, desk in enumerate(desks):
        mine = _entered(desk)
        for other in desks[:number]:
            if mine and mine & _entered(other) and other.name not in desk.executor.risk.alike:
                desk.remember(replace(desk.executor.risk, alike=(*desk.executor.risk.alike, other.name)))
                desk.before_send.append(Event("identical_trading", None, {"accounts": [other.name, desk.name]}))
                _log.warning(
                    "accounts %s and %s trade alike; some firms forbid that. This is said once", other.name, desk.name
                )


def _entered(desk: Desk) -> set[tuple[str, int, int]]:
    return {(one.model, one.bar_time, one.entry.direction) for one in desk.plans if one.entry is not None}
