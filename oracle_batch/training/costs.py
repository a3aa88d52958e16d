"""What trading costs in the training environment: what the operator gives, else a shipped table that is named aloud.

The contract (digits, units a lot) is the one of :mod:`oracle_batch.market.spec_table`. Spread, slippage and commission
are usual retail terms; the pip value is converted at the history's own prices or at a round rate.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.bundle.model import TrainingCosts
from oracle_batch.errors import UsageError
from oracle_batch.market.spec_table import CURRENCIES, shipped

MAJORS: Final = {"EURUSD": 7.0, "USDJPY": 9.0, "GBPUSD": 9.0, "AUDUSD": 8.0, "USDCHF": 10.0, "USDCAD": 10.0}
"""Spreads in points."""
OTHER_PAIRS: Final = 15.0
METALS: Final = {"XAUUSD": 20.0, "XAGUSD": 25.0, "XPTUSD": 300.0, "XPDUSD": 800.0, "XAUEUR": 30.0}
INDEX_SPREAD: Final = 150.0
SHARE_SPREAD: Final = 4.0
SLIPPAGE: Final = 2.0
COMMISSION: Final = 7.0
"""Account currency a lot and round turn, on pairs and metals; none on others, where the spread is the price."""
DOLLARS: Final = {
    "USD": 1.0, "EUR": 1.10, "GBP": 1.30, "AUD": 0.66, "NZD": 0.60, "CAD": 0.73, "CHF": 1.15, "JPY": 0.0067,
    "NOK": 0.095, "SEK": 0.095, "DKK": 0.147, "PLN": 0.26, "CZK": 0.044, "HUF": 0.0028, "TRY": 0.028, "ZAR": 0.055,
    "MXN": 0.055, "SGD": 0.75, "HKD": 0.128, "CNH": 0.139,
}  # fmt: skip
"""Round dollar prices of quote currencies, for symbols whose own prices do not tell."""


class CostOptions(msgspec.Struct, frozen=True):
    """What the operator says; None takes the shipped number."""

    digits: int | None = None
    pip_value: float | None = None
    spread_points: float | None = None
    slippage_points: float | None = None
    commission_per_lot: float | None = None


def training_costs(
    symbol: str, bars: Bars, options: CostOptions, lots: tuple[float, float, float, float]
) -> TrainingCosts:
    """The costs for a symbol, in dollars. ``bars`` are the training part, which may tell the rate.

    Raises:
        UsageError: the table does not know the symbol and an option is missing.
    """
    terms = shipped(symbol)
    digits = options.digits if options.digits is not None else terms.digits if terms else None
    if digits is None:
        raise _missing(symbol, options)
    point = float(f"1e-{digits}")
    pip = point * (10.0 if digits in (3, 5) else 1.0)
    value = options.pip_value
    if value is None:
        if terms is None:
            raise _missing(symbol, options)
        value = float(f"{terms.lot_size * pip * _dollars(terms.base, terms.quote, bars):.6g}")
    spread = options.spread_points if options.spread_points is not None else _spread(symbol)
    if spread is None:
        raise _missing(symbol, options)
    commission = options.commission_per_lot
    if commission is None:
        commission = COMMISSION if terms and terms.lot_size > 1 else 0.0
    slippage = SLIPPAGE if options.slippage_points is None else options.slippage_points
    for name, number in (("spread-points", spread), ("slippage-points", slippage), ("commission-per-lot", commission)):
        if not (np.isfinite(number) and 0 <= number <= 1e6):
            raise UsageError(f"is {number}", field=f"--{name}", fix="give a number that is not negative")
    if not (np.isfinite(value) and 0 < value <= 1e9 and 0 <= digits <= 8):
        raise UsageError(f"{value} a pip with {digits} digits cannot be", field="--pip-value")
    return TrainingCosts(point, digits, value, spread, slippage, commission, lots)


def describe(costs: TrainingCosts, options: CostOptions) -> str:
    """One line for the log: the numbers, and which of them nobody gave."""
    shipped_ones = [name.replace("_", "-") for name in options.__struct_fields__ if getattr(options, name) is None]
    source = f"; from the shipped table: {', '.join(shipped_ones)}" if shipped_ones else ""
    return (
        f"costs: spread {costs.spread_points:g} + slippage {costs.slippage_points:g} points of {costs.point:g}, "
        f"commission {costs.commission_per_lot:g} a lot, {costs.pip_value:g} a pip and lot{source}"
    )


def _spread(symbol: str) -> float | None:
    terms = shipped(symbol)
    if terms is None:
        return None
    if terms.base in CURRENCIES:
        return MAJORS.get(symbol, OTHER_PAIRS)
    return METALS.get(symbol, INDEX_SPREAD if terms.quote != "USD" or symbol[-1].isdigit() else SHARE_SPREAD)


def _dollars(base: str, quote: str, bars: Bars) -> float:
    """Dollars for one unit of the quote asset."""
    if base == "USD":
        return 1.0 / float(np.median(bars.close))
    return DOLLARS[quote]


def _missing(symbol: str, options: CostOptions) -> UsageError:
    wanted = [name for name in ("digits", "pip_value", "spread_points") if getattr(options, name) is None]
    given = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
    return UsageError(f"{symbol} is not in the shipped table of contracts", field="costs", fix=f"give {given}")
