"""What an account is: balance, positions, deals, as frozen values that msgspec reads and writes.

Money is in integer minor units (cents at two digits). It is rounded half away from zero, once per amount and deal:
a profit and the equal loss round to the same size, and a hand calculation with the usual rounding gives the same cent.
At every moment ``balance == initial_balance + sum(deal.profit + deal.swap - deal.commission)`` over all deals ever
made ``+ sum(flow.amount)`` over all deposits and payouts; the swap of open positions is in the equity alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from oracle_batch.broker.base import CashKind, CloseReason, StopTrigger
from oracle_batch.hands.prices import exact as exact
from oracle_batch.market.specs import Contract

SCHEMA: Final = 3
"""2 added swap and the stop's trigger, 3 cash flows; what an older book leaves out are their defaults."""
KEPT_DEALS: Final = 2000
"""Deals, and cash flows, kept one by one; of older ones only the totals, so that the file does not grow for ever."""


class OpenPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One open position.

    ``contract`` holds the terms of its last opening deal, which stand until it is closed, whatever the files say later.
    ``stop_loss`` and ``take_profit`` are absolute prices; ``margin`` and ``commission`` (what its opening deals cost)
    minor units for the volume that is left, as is ``swap``, what its nights have made; ``mark`` and ``rate`` are the
    last bid and conversion rate seen.
    """

    position_id: int
    contract: Contract
    direction: int
    volume_cents: int
    entry_price: float
    opened_at: float
    label: str
    comment: str
    stop_loss: float | None
    take_profit: float | None
    margin: int
    commission: int
    mark: float
    rate: float
    stop_trigger: StopTrigger = "trade"
    swap: int = 0

    @property
    def symbol(self) -> str:
        return self.contract.spec.symbol


class BookedDeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fill with its money in minor units and the conversion rate that made it."""

    deal_id: int
    order_id: int
    client_order_id: str
    position_id: int
    label: str
    symbol: str
    direction: int
    volume_cents: int
    price: float
    time: float
    closing: bool
    reason: CloseReason
    profit: int
    commission: int
    rate: float
    rate_source: str
    swap: int = 0


class BookedFlow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money that moved the balance without a deal, in minor units."""

    time: float
    amount: int
    kind: CashKind


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Number and money of the deals that are no longer kept one by one, and the money of such cash flows."""

    deals: int
    profit: int
    commission: int
    swap: int = 0
    flows: int = 0


class Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account at the instant ``clock`` (Unix seconds).

    ``behind`` holds symbols whose bars could not be played up to the clock, with the instant they were played to.
    """

    schema: int
    account: str
    currency: str
    money_digits: int
    leverage: float
    hedged: bool
    initial_balance: int
    balance: int
    clock: float
    next_position_id: int
    next_order_id: int
    next_deal_id: int
    positions: tuple[OpenPosition, ...]
    deals: tuple[BookedDeal, ...]
    forgotten: Totals
    behind: dict[str, float]
    flows: tuple[BookedFlow, ...] = ()

    def position(self, position_id: int) -> OpenPosition | None:
        return next((position for position in self.positions if position.position_id == position_id), None)

    @property
    def margin_used(self) -> int:
        return sum(position.margin for position in self.positions)


def new_book(
    account: str,
    currency: str,
    balance: float,
    leverage: float,
    *,
    clock: float,
    hedged: bool = True,
    money_digits: int = 2,
) -> Book:
    """An account that has not traded yet."""
    initial = to_minor(exact(balance), money_digits)
    return Book(
        schema=SCHEMA,
        account=account,
        currency=currency,
        money_digits=money_digits,
        leverage=leverage,
        hedged=hedged,
        initial_balance=initial,
        balance=initial,
        clock=clock,
        next_position_id=1,
        next_order_id=1,
        next_deal_id=1,
        positions=(),
        deals=(),
        forgotten=Totals(0, 0, 0),
        behind={},
    )


def with_deal(book: Book, deal: BookedDeal) -> Book:
    """Book a deal; see ``with_deals``."""
    return with_deals(book, (deal,))


def with_deals(book: Book, fresh: Sequence[BookedDeal]) -> Book:
    """Book deals, the oldest first: their money moves the balance; the oldest beyond the limit become totals."""
    deals, forgotten = (*book.deals, *fresh), book.forgotten
    if len(deals) > KEPT_DEALS:
        oldest, deals = deals[:-KEPT_DEALS], deals[-KEPT_DEALS:]
        forgotten = msgspec.structs.replace(
            forgotten,
            deals=forgotten.deals + len(oldest),
            profit=forgotten.profit + sum(deal.profit for deal in oldest),
            commission=forgotten.commission + sum(deal.commission for deal in oldest),
            swap=forgotten.swap + sum(deal.swap for deal in oldest),
        )
    return msgspec.structs.replace(
        book,
        deals=deals,
        forgotten=forgotten,
        balance=book.balance + sum(deal.profit + deal.swap - deal.commission for deal in fresh),
        next_deal_id=max(book.next_deal_id, *(deal.deal_id + 1 for deal in fresh)) if fresh else book.next_deal_id,
    )


def with_flow(book: Book, flow: BookedFlow) -> Book:
    """Book money that came in or went out; the oldest flows beyond the limit become a total."""
    flows, forgotten = (*book.flows, flow), book.forgotten
    if len(flows) > KEPT_DEALS:
        oldest, flows = flows[0], flows[1:]
        forgotten = msgspec.structs.replace(forgotten, flows=forgotten.flows + oldest.amount)
    return msgspec.structs.replace(book, flows=flows, forgotten=forgotten, balance=book.balance + flow.amount)


def with_position(book: Book, position: OpenPosition) -> Book:
    """Add a position, or replace the one with the same id."""
    by_id = {other.position_id: other for other in book.positions} | {position.position_id: position}
    return msgspec.structs.replace(book, positions=tuple(by_id[key] for key in sorted(by_id)))


def without_position(book: Book, position_id: int) -> Book:
    return msgspec.structs.replace(book, positions=tuple(p for p in book.positions if p.position_id != position_id))


def to_minor(amount: Decimal, money_digits: int) -> int:
    """Minor units, rounded half away from zero.

    >>> to_minor(Decimal("-1.005"), 2)
    -101
    """
    return int(amount.scaleb(money_digits).quantize(Decimal(1), ROUND_HALF_UP))


def to_money(minor: int, money_digits: int) -> float:
    """Money as people write it: 1234 minor units of two digits are 12.34."""
    return float(minor / 10**money_digits)
