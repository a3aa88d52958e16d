"""One's own accounts side by side: no opposite positions between them, and a word where they trade alike.

One brain moves all accounts, so that all of them turn at once. The entry of a turn is the opposite of what the others
still hold; it waits for their closes, and is given up where one of those is not confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, Broker, CloseIntent, OpenIntent
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
_Side = tuple[str, int]
"""A symbol and a direction."""
_Closes = dict[_Side, list[tuple[Desk, CloseIntent]]]


class Sides:
    """Which accounts are on which side of a symbol: by open positions, and by entries that have been let pass.

    Positions that are about to be closed do not count, they are left to ``hold_back``. ``lost`` are the holdings of
    accounts that did not open.
    """

    def __init__(
        self, desks: Sequence[Desk], proposed: Mapping[str, Sequence[ModelPlan]], lost: Iterable[Holdings]
    ) -> None:
        self._proposed, self._is_known = proposed, True
        self._held: dict[_Side, set[str]] = {}
        self._entered: dict[_Side, set[str]] = {}
        self._passed: dict[str, set[_Side]] = {}
        for desk in desks:
            closing = {one.close.position_id for one in proposed.get(desk.name, ()) if one.close is not None}
            for position in desk.positions:
                if position.position_id not in closing:
                    self._held.setdefault((position.symbol, position.direction), set()).add(desk.name)
            self.let_pass(desk)
        for holdings in lost:
            self._is_known &= holdings is not None
            for one in holdings or ():
                self._held.setdefault((one.symbol, one.direction), set()).add(one.account)

    def against(self, desk: Desk) -> Holdings:
        """What other accounts have against the entries that a desk proposes: of each, the first account by name."""
        if not self._is_known:
            return None
        found = []
        for symbol, direction in sorted(_sides(self._proposed.get(desk.name, ()))):
            side = (symbol, -direction)
            others = (self._held.get(side, set()) | self._entered.get(side, set())) - {desk.name}
            if others:
                found.append(OtherPosition(min(others), *side))
        return found

    def let_pass(self, desk: Desk) -> None:
        """Take in the entries that a desk has been let make, in place of those that it was let make before."""
        for side in self._passed.get(desk.name, ()):
            self._entered[side].discard(desk.name)
        self._passed[desk.name] = _sides(desk.plans)
        for side in self._passed[desk.name]:
            self._entered.setdefault(side, set()).add(desk.name)


def _sides(plans: Iterable[ModelPlan]) -> set[_Side]:
    return {(one.entry.symbol, one.entry.direction) for one in plans if one.entry is not None}


async def holdings_of(account: str, broker: Broker, workspace: Workspace, models: Mapping[str, Model]) -> Holdings:
    """What an account holds that could not be opened: its broker is asked, else its books; None: neither tells."""
    try:
        await broker.connect()
        return [OtherPosition(account, one.symbol, one.direction) for one in await broker.positions()]
    except OracleBatchError:
        return _booked(account, workspace, models)
    finally:
        await broker.close()


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
    closes = _closes(desks)
    for desk in desks:
        for one in desk.plans:
            if one.entry is not None and _opposite_closes(one.entry, desk, closes):
                desk.crossing.add(one.entry.intent_id)


def release(desks: Sequence[Desk]) -> None:
    """Give up the entries whose closes elsewhere were not confirmed; the others may be sent now."""
    closes = _closes(desks)
    for desk in desks:
        for one in desk.plans:
            entry = one.entry
            if entry is None or entry.intent_id not in desk.crossing:
                continue
            for other, close in _opposite_closes(entry, desk, closes):
                ack = other.acks.get(close.intent_id)
                if ack is None or ack.status != "OK":
                    desk.acks[entry.intent_id] = Ack(entry.intent_id, "SKIP", CODE)
        desk.crossing.clear()


def _closes(desks: Sequence[Desk]) -> _Closes:
    """Every close that is planned, by symbol and by the direction of the position that it ends."""
    found: _Closes = {}
    for desk in desks:
        directions = {position.position_id: position.direction for position in desk.positions}
        for close in (plan.close for plan in desk.plans):
            if close is not None and close.position_id in directions:
                found.setdefault((close.symbol, directions[close.position_id]), []).append((desk, close))
    return found


def _opposite_closes(entry: OpenIntent, desk: Desk, closes: _Closes) -> list[tuple[Desk, CloseIntent]]:
    """Closes on other accounts that an entry depends on."""
    if desk.settings.risk.allow_opposite_across_accounts:
        return []
    return [one for one in closes.get((entry.symbol, -entry.direction), ()) if one[0] is not desk]


def warn_of_twins(desks: Sequence[Desk]) -> None:
    """Say once of an account and the first one that it trades like: some firms count that as copying."""
    first: dict[tuple[str, int, int], Desk] = {}
    for desk in desks:
        mine = sorted(_entered(desk))
        other = next((first[one] for one in mine if one in first), None)
        if other is None:
            first |= dict.fromkeys(mine, desk)
        elif other.name not in desk.executor.risk.alike:
            desk.remember(replace(desk.executor.risk, alike=(*desk.executor.risk.alike, other.name)))
            desk.before_send.append(Event("identical_trading", None, {"accounts": [other.name, desk.name]}))
            _log.warning(
                "accounts %s and %s trade alike; some firms forbid that. This is said once", other.name, desk.name
            )


def _entered(desk: Desk) -> set[tuple[str, int, int]]:
    return {(one.model, one.bar_time, one.entry.direction) for one in desk.plans if one.entry is not None}
