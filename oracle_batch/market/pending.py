"""Pending orders: when a price reaches them, and what they then get. Pure.

A limit fills at its price or better, a stop at its price; jumped over by a price that stands alone (a bar's open, a
tick) both fill at that price. A stop-limit that triggers beyond its range goes on as a limit at the end of the range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from oracle_batch.broker.base import StopTrigger
from oracle_batch.hands.protection import OPPOSITE
from oracle_batch.market import fills
from oracle_batch.market.book import exact
from oracle_batch.market.specs import Contract
from oracle_batch.market.tape import Step

PendingKind = Literal["LIMIT", "STOP", "STOP_LIMIT"]


@dataclass(frozen=True, slots=True)
class Pending:
    """An order that waits for ``price``: the limit of a limit order, the trigger of the others.

    ``reach`` is how much worse than its trigger a stop-limit may fill, as a price distance.
    """

    kind: PendingKind
    direction: int
    price: float
    reach: float = 0.0
    stop_trigger: StopTrigger = "trade"


def entry_quote(contract: Contract, direction: int, bid: float) -> float:
    """What an order of this side pays: ask for a buyer (1), bid for a seller (-1)."""
    return fills.exit_quote(contract, -direction, bid)


def met(pending: Pending, contract: Contract, step: Step) -> float | Pending | None:
    """The price at which a step fills the order, the limit order that it becomes, or None when it goes on waiting."""
    quote, direction = entry_quote(contract, pending.direction, step.bid), pending.direction
    if pending.kind == "LIMIT":
        if (quote - pending.price) * direction > 0:
            return None
        return quote if step.place == 0 else pending.price
    opposite = pending.stop_trigger in OPPOSITE
    seen = fills.exit_quote(contract, direction, step.bid) if opposite else quote
    if (seen - pending.price) * direction < 0:
        return None
    price = quote if step.place == 0 else pending.price
    if opposite and step.place != 0:
        price = float(exact(pending.price) + direction * exact(contract.spread))
    end = limit_of(pending)
    if pending.kind == "STOP" or (price - end) * direction <= 0:
        return price
    return replace(pending, kind="LIMIT", price=end)


def limit_of(pending: Pending) -> float:
    """The worst price of a stop-limit order."""
    return float(exact(pending.price) + pending.direction * exact(pending.reach))


def wrong_side(pending: Pending, contract: Contract, bid: float) -> bool:
    """Whether a stop lies where the market already is; a limit there simply fills."""
    seen = entry_quote(contract, pending.direction, bid)
    return pending.kind != "LIMIT" and (seen - pending.price) * pending.direction >= 0
