"""Decimal prices and money as columns of whole numbers, in which sums and products are exact.

What ``hands.prices.exact`` and ``market.book.to_minor`` do one by one comes out here for many at once, to the last bit,
or not at all. Two facts carry it: a decimal number of at most 15 digits and the double nearest to it tell each other
apart, and dividing whole numbers below 2^53 gives the double nearest to their quotient. Prices with binary dust, which
bars of other sources carry, need more digits; these few are taken one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.hands.prices import exact
from oracle_batch.training.backtest.life import Float64

Whole = NDArray[np.int64]

_TOLD_APART: Final = 10**14
_MOST_DIGITS: Final = 18
"""Of an int64, and one more than a double is ever printed with."""
_DECIMAL: Final = 10**28
"""A ``Decimal`` keeps 28 digits of a product."""
_INT64: Final = 2**62


class InexactError(Exception):
    """A number cannot be held exactly."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Prices as multiples of 10^-``digits``; most of them need ``usual`` digits at most."""

    usual: int
    digits: int

    def units(self, values: Float64) -> Whole:
        """Each price as ``exact`` has it.

        Raises:
            InexactError: one has more digits.
        """
        coarse = np.rint(values * 10.0**self.usual)
        plain = (np.abs(coarse) < _TOLD_APART) & (coarse / 10.0**self.usual == values)
        found: Whole = np.where(plain, coarse, 0).astype(np.int64) * 10 ** (self.digits - self.usual)
        if not plain.all():
            others = [exact(one).scaleb(self.digits) for one in values[~plain].tolist()]
            if not all(one.is_finite() and abs(one) < _INT64 and one == int(one) for one in others):
                raise InexactError
            found[~plain] = [int(one) for one in others]
        return found

    def prices(self, units: Whole) -> Float64:
        """The double nearest to each price."""
        finer = 10 ** (self.digits - self.usual)
        coarse, rest = np.divmod(units, finer)
        found = coarse / 10.0**self.usual
        others = (rest != 0) | (np.abs(coarse) >= _TOLD_APART)
        if others.any():
            found[others] = [one / 10**self.digits for one in units[others].tolist()]
        return found

    def rounded(self, units: Whole) -> tuple[Float64, Whole]:
        """The doubles nearest to exact prices, and what these are exactly."""
        prices = self.prices(units)
        return prices, self.units(prices)


def scale_of(prices: Float64, usual: int) -> Scale:
    """The coarsest scale that serves all prices.

    Raises:
        InexactError: a price is no number.
    """
    if not np.isfinite(prices).all():
        raise InexactError
    plain = Scale(usual, usual)
    try:
        plain.units(prices)
    except InexactError:
        return Scale(usual, max(usual, _MOST_DIGITS - len(str(int(np.abs(prices).max(initial=0.0))))))
    return plain


def onto(units: Whole, step: int, *, up: NDArray[np.intp]) -> Whole:
    """Units on a coarser grid: ``hands.prices.up`` where ``up`` is above 0, ``down`` where it is below."""
    found: Whole = -up * (-up * units // step) * step
    return found


def in_minor(units: Whole, scale: Scale, volume_cents: int, rate: float, money_digits: int) -> Whole:
    """The money of price moves on a volume, as ``market.fills.profit_minor`` has it.

    Raises:
        InexactError: a ``Decimal`` would round it on the way, or it does not fit.
    """
    most, worth = int(np.abs(units).max(initial=0)), exact(rate)
    coefficient = int("".join(map(str, worth.as_tuple().digits)))
    one = Fraction(worth) * Fraction(volume_cents, 100) * Fraction(10**money_digits, 10**scale.digits)
    if most * volume_cents * coefficient >= _DECIMAL or 2 * max(most, 1) * one.numerator + one.denominator >= _INT64:
        raise InexactError
    size = (2 * np.abs(units) * one.numerator + one.denominator) // (2 * one.denominator)
    found: Whole = np.sign(units) * size
    return found
