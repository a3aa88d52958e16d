"""The arithmetic of a fill: sides, prices, money. Pure functions of numbers, book and contract.

Prices are not rounded to the contract's digits: bars may carry more, and a spread counted in a bundle's points may be
finer. They are only freed of binary dust.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from oracle_batch.broker.base import CloseReason
from oracle_batch.market.book import BookedDeal, OpenPosition, exact, to_minor
from oracle_batch.market.rates import Rate
from oracle_batch.market.specs import Contract

RefusalCode = Literal[
    "SYMBOL_NOT_FOUND",
    "TRADING_BAD_VOLUME",
    "TRADING_BAD_STOPS",
    "PROTECTION_IS_TOO_CLOSE_TO_MARKET",
    "ORDER_CANCELLED",
    "MARKET_CLOSED",
    "NOT_ENOUGH_MONEY",
    "NO_QUOTES",
    "POSITION_NOT_FOUND",
    "BAD_DATA",
]
"""Spotware's words where it has one; BAD_DATA is ours: a bar or a setting that this symbol needs is wrong.

ORDER_CANCELLED is its execution type for a market-range order that did not fill within its range: no error has a word
for that."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that the market did not take. ``text`` is for people."""

    code: RefusalCode
    text: str


@dataclass(frozen=True, slots=True)
class Fill:
    """An executed order: one deal, or two when a netted position flips (closing first).

    ``price`` is the last deal's; ``slippage`` the price paid beyond the quote at the instant of the fill, ≥ 0 is worse.
    ``position_id`` is the position that the order left open or closed.
    """

    order_id: int
    position_id: int
    price: float
    slippage: float
    deals: tuple[BookedDeal, ...]


class OrderIds(NamedTuple):
    """Who an order and its next deal are, and when; the client order id is opaque to the market."""

    order_id: int
    deal_id: int
    client_order_id: str
    time: float


def deal_price(contract: Contract, side: int, bid: float) -> float:
    """What a market order gets: bid + spread + slippage when buying (side 1), bid − slippage when selling (−1)."""
    if side > 0:
        return float(exact(bid) + exact(contract.spread) + exact(contract.slippage))
    return float(exact(bid) - exact(contract.slippage))


def exit_quote(contract: Contract, direction: int, bid: float) -> float:
    """The quote at which a position is valued and its stops trigger: bid for a long, ask for a short one."""
    return bid if direction > 0 else float(exact(bid) + exact(contract.spread))


def profit_minor(position: OpenPosition, exit_price: float, volume_cents: int, rate: float, money_digits: int) -> int:
    """(exit − entry) · direction · units · rate, in minor units of the account currency."""
    distance = (exact(exit_price) - exact(position.entry_price)) * position.direction
    return to_minor(distance * Decimal(volume_cents) / 100 * exact(rate), money_digits)


def round_turn_minor(contract: Contract, volume_cents: int, money_digits: int, *, half: bool = False) -> int:
    """Commission of a volume for both sides, or for the opening side alone."""
    parts = 2 if half else 1
    return _commission(contract.commission_per_lot, volume_cents, contract.spec.lot_size_cents, parts, money_digits)


@lru_cache(maxsize=256)
def _commission(per_lot: float, volume_cents: int, lot_size_cents: int, parts: int, money_digits: int) -> int:
    lots = Decimal(volume_cents) / lot_size_cents
    return to_minor(exact(per_lot) * lots / parts, money_digits)


def margin_minor(volume_cents: int, unit_rate: float, leverage: float, money_digits: int) -> int:
    """Units · account currency per unit / leverage."""
    return to_minor(Decimal(volume_cents) / 100 * exact(unit_rate) / exact(leverage), money_digits)


def share_minor(amount: int, part: int, whole: int) -> int:
    """The part of an amount that falls to a part of the volume."""
    return amount if part == whole else to_minor(Decimal(amount) * part / whole, 0)


def closing(
    position: OpenPosition,
    volume_cents: int,
    price: float,
    rate: Rate,
    reason: CloseReason,
    ids: OrderIds,
    money_digits: int,
) -> tuple[BookedDeal, OpenPosition | None]:
    """The deal that closes a volume of a position, and what is left of the position.

    The closing commission is the round turn's minus what the opening deals already took for this volume, so that a
    round turn costs its commission to the cent however its halves round.
    """
    paid = share_minor(position.commission, volume_cents, position.volume_cents)
    swap = share_minor(position.swap, volume_cents, position.volume_cents)
    deal = BookedDeal(
        deal_id=ids.deal_id,
        order_id=ids.order_id,
        client_order_id=ids.client_order_id,
        position_id=position.position_id,
        label=position.label,
        symbol=position.symbol,
        direction=-position.direction,
        volume_cents=volume_cents,
        price=price,
        time=ids.time,
        closing=True,
        reason=reason,
        profit=profit_minor(position, price, volume_cents, rate.value, money_digits),
        commission=max(0, round_turn_minor(position.contract, volume_cents, money_digits) - paid),
        rate=rate.value,
        rate_source=rate.source,
        swap=swap,
    )
    left = position.volume_cents - volume_cents
    if left == 0:
        return deal, None
    return deal, msgspec.structs.replace(
        position,
        volume_cents=left,
        commission=position.commission - paid,
        swap=position.swap - swap,
        margin=position.margin - share_minor(position.margin, volume_cents, position.volume_cents),
    )


def opening(
    position: OpenPosition, volume_cents: int, price: float, commission: int, rate: Rate, ids: OrderIds
) -> BookedDeal:
    """The deal that opened a volume of a position, or added it."""
    return BookedDeal(
        deal_id=ids.deal_id,
        order_id=ids.order_id,
        client_order_id=ids.client_order_id,
        position_id=position.position_id,
        label=position.label,
        symbol=position.symbol,
        direction=position.direction,
        volume_cents=volume_cents,
        price=price,
        time=ids.time,
        closing=False,
        reason="order",
        profit=0,
        commission=commission,
        rate=rate.value,
        rate_source=rate.source,
    )


def merged(old: OpenPosition, new: OpenPosition) -> OpenPosition:
    """A netted position after more of the same: the entry price is the average by volume, the newer terms stand.

    Label, comment and stops stay the older one's, as its id and swap do; stops that the addition brings replace them.
    """
    volume = old.volume_cents + new.volume_cents
    average = (exact(old.entry_price) * old.volume_cents + exact(new.entry_price) * new.volume_cents) / volume
    return msgspec.structs.replace(
        old,
        contract=new.contract,
        volume_cents=volume,
        entry_price=float(average),
        margin=old.margin + new.margin,
        commission=old.commission + new.commission,
        stop_loss=old.stop_loss if new.stop_loss is None else new.stop_loss,
        stop_trigger=old.stop_trigger if new.stop_loss is None else new.stop_trigger,
        take_profit=old.take_profit if new.take_profit is None else new.take_profit,
        mark=new.mark,
        rate=new.rate,
    )


def volume_fits(contract: Contract, volume_cents: int) -> bool:
    """Whether a volume lies within the contract's limits, on its step."""
    spec = contract.spec
    within = spec.min_volume_cents <= volume_cents <= spec.max_volume_cents
    return within and volume_cents % spec.step_volume_cents == 0
