"""Money in minor units (cents at two digits), exact; what has no exact form is rounded against us."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from functools import lru_cache


def have(amount: float, money_digits: int) -> int:
    """Minor units of what we own (balance, equity), never more than it is.

    >>> have(104000.0, 2), have(0.1 + 0.2, 1), have(-0.05, 1)
    (10400000, 3, -1)
    """
    return int(_scaled(amount, money_digits).to_integral_value(ROUND_FLOOR))


def owe(amount: float, money_digits: int) -> int:
    """Minor units of what we may lose (a stop, a cost), never less than it is.

    >>> owe(12.341, 2), owe(12.34, 2)
    (1235, 1234)
    """
    return int(_scaled(amount, money_digits).to_integral_value(ROUND_CEILING))


def percent_of(amount: int, percent: float) -> int:
    """So many percent of an amount, rounded down; of a negative amount nothing.

    >>> percent_of(10_000_000, 5.0), percent_of(999, 4.4), percent_of(-5, 10.0)
    (500000, 43, 0)
    """
    parts, whole = _parts_of(float(percent))
    return max(amount, 0) * parts // whole


@lru_cache(maxsize=64)
def _parts_of(percent: float) -> tuple[int, int]:
    """A percentage as a fraction of whole numbers."""
    rate = Fraction(repr(percent)) / 100
    return rate.numerator, rate.denominator


def _scaled(amount: float, money_digits: int) -> Decimal:
    """The decimal number that the float is printed as, up to a ten-millionth of a minor unit."""
    return Decimal(repr(float(amount))).scaleb(money_digits).quantize(Decimal("1e-7"))
