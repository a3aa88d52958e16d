"""What became of a leg without an answer, from what the broker shows (docs/exactly-once.md). Pure.

Silence is no failure and an empty list no proof by itself: a leg is absent only where positions, orders and deals all
agree that it never came, and only absence lets the same id cross the wire again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from oracle_batch.broker.base import Ack, CloseIntent, Deal, Intent, OpenIntent, OrderState, PlacedOrder, Position

RECOVERED: Final = "RECOVERED"
CLOCK_SKEW_S: Final = 2.0
"""How far the broker's clock may lie behind ours; beyond that nothing is opened at all."""
Finding = Ack | Literal["absent", "unsure"]
"""An answer; proof that the leg never arrived; or neither, so that nothing may be done about it now."""

_REFUSED: Final[dict[OrderState, str]] = {
    "rejected": "ORDER_REJECTED",
    "cancelled": "ORDER_CANCELLED",
    "expired": "ORDER_EXPIRED",
}


class Evidence(msgspec.Struct, frozen=True):
    """What the broker shows: all open positions, and the orders and deals since the oldest leg that is asked for."""

    positions: Sequence[Position] = ()
    orders: Sequence[PlacedOrder] = ()
    deals: Sequence[Deal] = ()


def find(leg: Intent, seen: Evidence, known_ids: frozenset[int] = frozenset()) -> Finding:
    """What became of a leg. ``known_ids`` are positions that the books had before it was sent.

    An opening leg is found by its client id among deals and orders, else by a position that carries its label, came
    after it and is new to the books. A closing leg is found by its position being gone.
    """
    return _opening(leg, seen, known_ids) if isinstance(leg, OpenIntent) else _closing(leg, seen)


def _opening(leg: OpenIntent, seen: Evidence, known_ids: frozenset[int]) -> Finding:
    orders = [order for order in seen.orders if order.client_order_id == leg.intent_id]
    if any(order.state == "working" for order in orders):
        return "unsure"
    fills = tuple(deal for deal in seen.deals if deal.client_order_id == leg.intent_id and not deal.closing)
    if fills and not _seen_through(fills, seen):
        return "unsure"  # the list of positions is behind
    if fills:
        volume = sum(deal.volume_cents for deal in fills)
        price = sum(deal.price * deal.volume_cents for deal in fills) / volume
        return Ack(leg.intent_id, "OK", RECOVERED, fills[0].position_id, price, None, fills)
    if any(order.state == "filled" for order in orders):
        return "unsure"  # its deals are not listed yet
    for position in seen.positions:
        same = (position.label, position.symbol, position.direction) == (leg.label, leg.symbol, leg.direction)
        if same and position.opened_at >= leg.decided_at - CLOCK_SKEW_S and position.position_id not in known_ids:
            return Ack(leg.intent_id, "OK", RECOVERED, position.position_id, position.entry_price)
    refused = next((order for order in orders if order.state in _REFUSED), None)
    return "absent" if refused is None else Ack(leg.intent_id, "FAIL", _REFUSED[refused.state])


def _seen_through(fills: Sequence[Deal], seen: Evidence) -> bool:
    """Whether the position that fills have opened is listed, or has ended since: as a whole, not in part."""
    position_id = fills[0].position_id
    if any(position.position_id == position_id for position in seen.positions):
        return True
    closed = sum(deal.volume_cents for deal in seen.deals if deal.closing and deal.position_id == position_id)
    return closed >= sum(deal.volume_cents for deal in fills)


def _closing(leg: CloseIntent, seen: Evidence) -> Finding:
    if any(position.position_id == leg.position_id for position in seen.positions):
        orders = [order for order in seen.orders if order.closing and order.position_id == leg.position_id]
        listed = {deal.order_id for deal in seen.deals}
        behind = any(order.state == "filled" and order.order_id not in listed for order in orders)
        return "unsure" if behind or any(order.state == "working" for order in orders) else "absent"
    closing = tuple(deal for deal in seen.deals if deal.position_id == leg.position_id and deal.closing)
    last = closing[-1].price if closing else None
    return Ack(leg.intent_id, "OK", RECOVERED, leg.position_id, last, None, closing)
