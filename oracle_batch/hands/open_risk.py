"""What open positions take of an account and can still cost it, from the broker's terms and quotes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle_batch.broker.base import Position, Quote, StopTrigger
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.exposure import Claim
from oracle_batch.hands.limits import PositionRisk
from oracle_batch.hands.money import owe
from oracle_batch.hands.prices import exact
from oracle_batch.hands.protection import OPPOSITE, Terms

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules


def is_sound(quote: Quote | None) -> bool:
    """Whether a quote can be right."""
    return quote is not None and 0 < quote.bid <= quote.ask < float("inf")


def position_risk(
    position: Position,
    terms: Terms | None,
    quote: Quote | None,
    money_digits: int,
    *,
    ours: bool,
    trigger: StopTrigger = "trade",
) -> PositionRisk:
    """What a position can still lose from here to its stop, and what closing it costs: half the commission, slippage.

    Without a stop its floating loss is what counts, and that is in the equity, whatever else is not known.
    """
    if terms is None or quote is None or not terms.rate_known or not is_sound(quote):
        return PositionRisk(position.position_id, ours, 0 if position.stop_loss is None else None, 0)
    one = terms.value_of_one(position.volume_cents)
    closing = terms.commission(position.volume_cents) / 2 + exact(terms.slippage) * one
    to_stop = Decimal(0)
    if position.stop_loss is not None:
        leave = quote.bid if position.direction > 0 else quote.ask
        beyond = exact(terms.spread) if trigger in OPPOSITE else Decimal(0)
        move = (exact(leave) - exact(position.stop_loss)) * position.direction + beyond
        to_stop = max(Decimal(0), move * one)
    return PositionRisk(
        position.position_id, ours, owe(float(to_stop), money_digits), owe(float(closing), money_digits)
    )


def contract_value(volume_cents: int, price: float, terms: Terms) -> float | None:
    """What a volume is worth at a price, in account currency; None where the conversion rate is not known."""
    return float(terms.value_of_one(volume_cents) * exact(price)) if terms.rate_known else None


def held_claims(
    positions: Sequence[Position],
    terms: Mapping[str, Terms],
    quotes: Mapping[str, Quote],
    margins: Mapping[int, float | None],
    rules: EntryRules,
) -> dict[int, Claim]:
    """What every open position takes, by id, at the prices of now; ``margins`` likewise."""
    claims = {}
    for position in positions:
        known, quote = terms.get(position.symbol), quotes.get(position.symbol)
        value = None
        if known is not None and quote is not None:
            value = contract_value(position.volume_cents, quote.bid if position.direction > 0 else quote.ask, known)
        claims[position.position_id] = Claim(
            position.symbol,
            position.direction,
            value,
            currencies_of(known.spec, rules.symbol_currencies) if known is not None else None,
            margins.get(position.position_id),
            _to_stop(position, known, quote),
        )
    return claims


def _to_stop(position: Position, terms: Terms | None, quote: Quote | None) -> float | None:
    """What a position's confirmed close gives back to the loss budget: what it could still have lost."""
    risk = position_risk(position, terms, quote, 8, ours=True)
    return None if risk.to_stop is None else risk.to_stop / 1e8
