"""Small markets for tests: bars from a few numbers, a source in memory, and an engine on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oracle_batch.bars import FIELDS, Bars, validate
from oracle_batch.broker.base import SymbolSpec
from oracle_batch.bundle.model import Model
from oracle_batch.market.book import Book, new_book
from oracle_batch.market.engine import Engine
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.specs import Contract, Contracts
from oracle_batch.market.tape import Tape
from oracle_batch.types import TIMEFRAME_SECONDS

T0 = 1_700_002_800
"""A full hour (2023-11-14 23:00 UTC)."""
M15 = 900
FILE = Path("config/symbols.json")
COSTS = SymbolSettings(spread_points=7, slippage_points=2, commission_per_lot=7)


def bars(rows: Iterable[tuple[float, ...]], start: int = T0, seconds: int = M15) -> Bars:
    """Bars in a row from ``(open, high, low, close)``, or ``(price,)`` for a bar that stands still."""
    full = [row * 4 if len(row) == 1 else row for row in rows]
    columns = np.array(full, np.float64).reshape(-1, 4).T
    times = start + seconds * np.arange(len(full), dtype=np.int64)
    open_, high, low, close = (np.ascontiguousarray(column) for column in columns)
    return Bars(times, open_, high, low, close, np.ones(len(full)))


class MemorySource:
    """A ``BarSource`` over arrays, by (symbol, timeframe)."""

    def __init__(self, series: Mapping[tuple[str, str], Bars]) -> None:
        self.series = dict(series)

    def symbols(self) -> list[str]:
        return sorted({symbol for symbol, _ in self.series})

    def timeframes(self, symbol: str) -> list[str]:
        return [timeframe for timeframe in TIMEFRAME_SECONDS if (symbol, timeframe) in self.series]

    def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        found = self.series[symbol, timeframe]
        return validate(found[(found.time >= start) & (found.time < end)], symbol, timeframe)

    def at_or_after(self, symbol: str, timeframe: str, instant: float) -> int | None:
        times = self.series[symbol, timeframe].time
        later = times[times >= instant]
        return int(later[0]) if len(later) else None

    def at_or_before(self, symbol: str, timeframe: str, instant: float) -> int | None:
        times = self.series[symbol, timeframe].time
        earlier = times[times <= instant]
        return int(earlier[-1]) if len(earlier) else None


def market(
    series: Mapping[Any, Bars],
    *,
    currency: str = "USD",
    balance: float = 10_000,
    leverage: float = 100,
    hedged: bool = True,
    clock: float = T0,
    settings: Mapping[str, SymbolSettings] | None = None,
    models: Iterable[Model] = (),
    book: Book | None = None,
) -> Engine:
    """An engine over series by symbol (then M15) or (symbol, timeframe); costs are ``COSTS`` unless given."""
    keyed = {(key, "M15") if isinstance(key, str) else key: value for key, value in series.items()}
    given = dict(settings or {})
    if not models:
        for symbol, _ in keyed:
            given.setdefault(symbol, COSTS)
    book = book or new_book("paper", currency, balance, leverage, clock=clock, hedged=hedged)
    return Engine(book, Tape(MemorySource(keyed)), Contracts(given, models, currency, FILE))


def contract_of(symbol: str, settings: SymbolSettings = COSTS) -> Contract:
    """The shipped contract with costs."""
    contract = Contracts({symbol: settings}, (), "USD", FILE).find(symbol)
    assert contract is not None
    return contract


def cents(spec: SymbolSpec, lots: float) -> int:
    return round(lots * spec.lot_size_cents)


def columns(source: Bars) -> dict[str, list[float]]:
    return {name: getattr(source, name).tolist() for name in FIELDS}
