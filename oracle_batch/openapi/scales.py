"""The Open API's scales: relative prices, money with its digits, times. Pure.

Spot, trend bar and relative prices are integers in 1/100000 whatever the symbol's digits; order, position and deal
prices are doubles. Volumes are hundredths of a unit on both sides and need no scale.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from oracle_batch.hands.prices import RELATIVE_DIGITS as RELATIVE_DIGITS
from oracle_batch.hands.prices import RELATIVE_SCALE as RELATIVE_SCALE

MAX_MONEY_DIGITS: Final = 8
_MS: Final = 1000


def price(relative: int, digits: int) -> float:
    """The price of a relative integer, on the symbol's digits.

    >>> price(112345, 5), price(15012300, 3), price(240150000, 2)
    (1.12345, 150.123, 2401.5)
    """
    return round(relative / RELATIVE_SCALE, digits)


def relative(price: float) -> int:
    """The relative integer of a price or a distance.

    >>> relative(1.12345), relative(150.123)
    (112345, 15012300)
    """
    return round(price * RELATIVE_SCALE)


def relative_step(digits: int) -> int:
    """What relative stops and targets are multiples of: the symbol's point, at least one.

    >>> relative_step(5), relative_step(3), relative_step(2), relative_step(6)
    (1, 100, 1000, 1)
    """
    return int(10 ** max(0, RELATIVE_DIGITS - digits))


def money(minor: int, money_digits: int) -> float:
    """An amount from its integer and the digits that come with it.

    >>> money(1012345, 2), money(1012345, 0), money(-5, 8)
    (10123.45, 1012345.0, -5e-08)

    Raises:
        ValueError: digits that the API does not know.
    """
    return minor / int(10 ** _checked(money_digits))


def minor_units(amount: float, money_digits: int) -> int:
    """The integer of an amount, rounded half away from zero.

    >>> minor_units(10123.45, 2), minor_units(-0.125, 2), minor_units(7.0, 0)
    (1012345, -13, 7)

    Raises:
        ValueError: digits that the API does not know.
    """
    scaled = Decimal(repr(amount)).scaleb(_checked(money_digits))
    return int(scaled.to_integral_value(ROUND_HALF_UP))


def milliseconds(seconds: float) -> int:
    """Unix milliseconds of Unix seconds."""
    return round(seconds * _MS)


def seconds(milliseconds: int) -> float:
    """Unix seconds of Unix milliseconds."""
    return milliseconds / _MS


def _checked(money_digits: int) -> int:
    if not 0 <= money_digits <= MAX_MONEY_DIGITS:
        raise ValueError(f"{money_digits} money digits, the API has 0 to {MAX_MONEY_DIGITS}")
    return money_digits
