"""Spreads in pips: now, and over a window of recent ones."""

from __future__ import annotations

from statistics import median
from typing import Final

import msgspec

from oracle_batch.broker.base import Quote
from oracle_batch.hands.refusal import known

WINDOW: Final = 96
"""Spreads that a window keeps."""
ENOUGH: Final = 12
"""With fewer spreads a median says nothing."""
_DUST: Final = 6
"""Decimals of a pip that count: 1.10030 − 1.10000 are 3 pips, not 3.0000000000008."""


class SpreadWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest spreads of one symbol in pips, oldest first."""

    pips: tuple[float, ...] = ()

    def with_spread(self, pips: float) -> SpreadWindow:
        """The window with one more spread."""
        return SpreadWindow((*self.pips, pips)[-WINDOW:])

    def median(self) -> float | None:
        """The median, None while there are too few."""
        return median(self.pips) if len(self.pips) >= ENOUGH else None


def pip_size(digits: int) -> float:
    """The price distance of a pip: ten points where prices have 3 or 5 digits, else one.

    >>> pip_size(5), pip_size(3), pip_size(2)
    (0.0001, 0.01, 0.01)
    """
    return float(10.0 ** -(digits - 1 if digits in (3, 5) else digits))


def spread_pips(quote: Quote, digits: int) -> float | None:
    """The spread of a quote, None when the quote cannot be right.

    >>> spread_pips(Quote(1.10000, 1.10030, 0), 5)
    3.0
    """
    if not known(quote.bid, quote.ask) or not 0 < quote.bid <= quote.ask:
        return None
    return round((quote.ask - quote.bid) / pip_size(digits), _DUST)
