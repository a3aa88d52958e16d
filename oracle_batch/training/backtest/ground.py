"""What a model's trips are made of where only the account's money can refuse an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.broker.base import Quote
from oracle_batch.config import SymbolSettings
from oracle_batch.config.rules import EntryRules
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.spreads import spread_pips
from oracle_batch.market import fills
from oracle_batch.market.engine import Engine
from oracle_batch.market.rates import Rate
from oracle_batch.market.specs import Contract
from oracle_batch.training.backtest.history import HistoryTape
from oracle_batch.training.backtest.itinerary import Itinerary
from oracle_batch.training.backtest.life import Float64
from oracle_batch.training.backtest.prices import Prices

_PIPS: Final = 0.001
"""A spread that keeps its limit by so much keeps it at any price, however the difference of two quotes is rounded."""
_DUST: Final = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Ground:
    """``wished`` is what each action asks for, where it always asks for the same, and ``rate`` the conversion rate.

    ``seen`` are the bids known at every look, ``met`` those that an order meets which is decided there. ``margin`` (in
    minor units) is that of a volume at a price when a bar has closed, ``most_per_unit`` no less than the account
    currency per unit that it is ever made of.
    """

    contract: Contract
    rate: Rate
    money_digits: int
    wished: Mapping[int, Sized]
    seen: Float64
    met: Float64
    margin: Callable[[int, float, int], int]
    most_per_unit: float


def judges_money_alone(rules: EntryRules, settings: SymbolSettings, contract: Contract, prices: Prices) -> bool:
    """Whether no rule that can be in force (``plain.is_plain``) asks for the hour, the trades' sizes or the spread."""
    if rules.stoploss_guard.trade_limit or rules.low_profit.trade_limit or rules.trading_hours or rules.blackout:
        return False
    if settings.max_slippage_points:
        return False
    for bid in (float(prices.bid.min()), float(prices.bid.max())):
        pips = spread_pips(Quote(bid, fills.exit_quote(contract, -1, bid), 0.0), contract.spec.digits)
        if settings.max_spread_pips and (pips is None or pips > settings.max_spread_pips - _PIPS):
            return False
    return True


def ground_of(
    way: Itinerary,
    closes: NDArray[np.int64],
    contract: Contract,
    wished: Mapping[int, Sized],
    engine: Engine,
    tape: HistoryTape,
    highest: float,
) -> Ground:
    """The ground of a model's looks; ``closes`` are its bars', by row, ``highest`` is the highest bid of all."""
    book, pricing, symbol = engine.book, engine.pricing, contract.spec.symbol
    row, times = np.array(way.row), np.array(way.time)
    seen, rate = tape.bids(symbol, times), pricing.rates.profit_rate(contract, way.time[0])
    return Ground(
        contract,
        rate,
        book.money_digits,
        wished,
        seen,
        np.where(row >= 0, tape.fill_bids(symbol, closes[row].astype(np.float64)), seen),
        lambda volume, price, at: pricing.margin(contract, volume, price, at, book.leverage, book.money_digits),
        _most_per_unit(contract, rate.value, highest, book.currency, tape.source.symbols()),
    )


def _most_per_unit(contract: Contract, rate: float, highest: float, currency: str, symbols: list[str]) -> float:
    """No less than ``Rates.margin_rate`` at any bid up to the highest; infinite where other symbols' prices tell it."""
    spec = contract.spec
    direct, inverse = spec.base_asset + currency, currency + spec.base_asset
    if spec.base_asset == currency:
        return 1.0
    if symbols != [spec.symbol] or spec.symbol == inverse or (spec.symbol == direct and spec.quote_asset != currency):
        return float("inf")
    return (highest + contract.spread + contract.slippage) * rate * _DUST
