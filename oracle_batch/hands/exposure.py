"""How much of one thing an account is in: exposure by symbol and by currency, in account currency.

Exposure is the value of the contract, in account currency. Long EURUSD is long EUR and short USD by that value; what is
no pair (an index, a share) is long its one currency. Two measures, each with its limit:

- **the larger side**: all longs, or all shorts, whichever is more. Opposite positions do not offset each other, because
  a stop can take one of them away at any moment; so this is the net exposure that can come to be, and it only falls
  when positions end.
- **gross**: both sides together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec


class Claim(msgspec.Struct, frozen=True):
    """What one position takes of the account, or would take. Money in account currency; None is unknown.

    ``value`` is that of the whole contract, ``currencies`` are base and quote (or one alone), ``possible_loss`` is what
    an entry can lose at its stop, costs included; of an open position, what it can still lose beyond closing it now.
    """

    symbol: str
    direction: int
    value: float | None
    currencies: tuple[str, ...] | None
    margin: float | None
    possible_loss: float | None


class Key(NamedTuple):
    """One thing that positions share: its kind, its name and, of an exposure, the side (1, -1; 0 is gross)."""

    kind: str
    name: str = ""
    side: int = 0


ANY_CURRENCY = "?"
"""The name under which a position of unknown currencies is kept: it may be in any."""


def amount(value: float | None) -> float:
    """A quantity as the reservations carry it: NaN where it is unknown or cannot be."""
    return value if value is not None and math.isfinite(value) and value >= 0 else math.nan


def exposures(claim: Claim) -> Iterator[tuple[Key, float]]:
    """What a position adds to each exposure.

    >>> [key for key, _ in exposures(Claim("EURUSD", -1, 1e5, ("EUR", "USD"), 0, 0)) if key.side]
    [Key(kind='symbol', name='EURUSD', side=-1), Key(kind='currency', name='EUR', side=-1), \
Key(kind='currency', name='USD', side=1)]
    """
    value = amount(claim.value)
    yield Key("symbol", claim.symbol, claim.direction), value
    yield Key("symbol_gross", claim.symbol), value
    if not claim.currencies:
        yield Key("currency", ANY_CURRENCY), math.nan
        yield Key("currency_gross", ANY_CURRENCY), math.nan
        return
    for currency, side in zip(claim.currencies, (claim.direction, -claim.direction), strict=False):
        yield Key("currency", currency, side), value
        yield Key("currency_gross", currency), value
