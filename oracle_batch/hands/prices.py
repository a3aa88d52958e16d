"""Exact prices: decimal numbers on a symbol's grid, and money turned into a price distance."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Final

RELATIVE_DIGITS: Final = 5
"""Relative prices of the broker are integers in 1/100000, whatever the symbol's digits."""
RELATIVE_SCALE: Final = 10**RELATIVE_DIGITS
_DUSTLESS: Final = Context(prec=12)
"""Quotients keep 12 digits: a rate that was computed as 1/price carries binary dust further down, and a distance of
exactly 15.51 must not become 15.50 because of it."""


@lru_cache(maxsize=1024)  # rates, balances and settings come again for every model of a tick
def exact(value: float) -> Decimal:
    """The decimal number that a float is printed as: 0.1 is one tenth."""
    return Decimal(repr(float(value)))


@lru_cache(maxsize=16)
def grid(digits: int) -> Decimal:
    """The price step of a symbol with these digits.

    >>> grid(0), grid(3)
    (Decimal('1'), Decimal('0.001'))
    """
    return Decimal(1).scaleb(-digits)


def down(price: Decimal, step: Decimal) -> Decimal:
    """The highest price on the grid that is not above ``price``. ``step`` is a power of ten."""
    return price.quantize(step, ROUND_FLOOR)


def up(price: Decimal, step: Decimal) -> Decimal:
    """The lowest price on the grid that is not below ``price``. ``step`` is a power of ten."""
    return price.quantize(step, ROUND_CEILING)


def distance(money: Decimal, value_of_one: Decimal) -> Decimal:
    """How far the price moves to make ``money``, where a move of 1.0 makes ``value_of_one``."""
    return _DUSTLESS.divide(money, value_of_one)


def relative(price_distance: Decimal) -> int:
    """A distance on the grid in the broker's 1/100000.

    >>> relative(Decimal("0.012"))
    1200
    """
    return int(price_distance * RELATIVE_SCALE)
