"""Faults of the market itself, switched on by the fault script; each counts from the moment it is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from oracle_batch.bars import PRICE_FIELDS, Bars, FloatArray
from oracle_batch.market.tape import BarSource
from oracle_batch.market.ticks import TickFiles, Ticks
from oracle_batch.sim.board import PERIOD_SECONDS

OrderFaultKind = Literal["refuse", "partial_then_cancel", "no_protection"]


@dataclass(frozen=True, slots=True)
class OrderFault:
    """What happens to the ``nth`` order (1: the next) that reaches the market, closes and pending orders counted.

    ``refuse`` rejects it with ``code``; ``partial_then_cancel`` fills ``fraction`` of a market order and cancels the
    rest; ``no_protection`` fills it without its stop and target.
    """

    kind: OrderFaultKind
    nth: int = 1
    code: str = "NOT_ENOUGH_MONEY"
    fraction: float = 0.5


@dataclass(frozen=True, slots=True)
class _Withheld:
    """``since`` is the real instant at which the bar would have been there."""

    symbol: str
    period: str
    time: int
    seconds: float | None
    live: bool
    since: float | None = None


@dataclass(frozen=True, slots=True)
class _Gap:
    symbol: str
    after: float
    until: float
    distance: float


class _Market(Protocol):
    """What the hooks need to know of the market."""

    @property
    def now(self) -> float: ...

    def bar_in_progress(self, symbol: str, period: str) -> int:
        """Where the bar starts that the present lies in."""
        ...

    def forget(self) -> None:
        """Read prices to come anew."""
        ...


class MarketFaults:
    """Hooks that the fault script pulls. Symbols go by name, periods by theirs (``M15``)."""

    skew_s: float = 0.0
    """Seconds that the server's clock is ahead; added to every time on the wire, and to nothing else."""

    def __init__(self, market: _Market, monotonic: Callable[[], float]) -> None:
        self._market = market
        self._monotonic = monotonic
        self._withheld: list[_Withheld] = []
        self._revised: dict[tuple[str, str, int], dict[str, float]] = {}
        self._gaps: list[_Gap] = []
        self._orders: list[OrderFault] = []
        self._locks: dict[tuple[int, int], int | None] = {}

    # Pulled by the script

    def withhold(self, symbol: str, period: str, time: int | None, seconds: float | None, *, live: bool = True) -> None:
        """Keep a closed bar (its open time; None: the next to close) out of history for real ``seconds`` after its
        close, or for good (None). ``live`` also keeps it out of the stream of live bars."""
        start = self._market.bar_in_progress(symbol, period) if time is None else time
        self._withheld.append(_Withheld(symbol, period, start, seconds, live))
        self.time_passed()

    def revise(self, symbol: str, period: str, time: int | None, changes: Mapping[str, float]) -> None:
        """Let history show another bar than was streamed: ``changes`` are added to its columns (``close``: 0.0001)."""
        start = self._market.bar_in_progress(symbol, period) if time is None else time
        self._revised[symbol, period, start] = dict(changes)

    def gap(self, symbol: str, distance: float, seconds: float | None = None) -> None:
        """Shift every price of a symbol from its next bar on, for a while or for good: quotes, bars and fills."""
        now = self._market.now
        until = float("inf") if seconds is None else now + seconds
        self._gaps.append(_Gap(symbol, now, until, distance))
        self._market.forget()

    def order(self, fault: OrderFault) -> None:
        """Do something to an order to come."""
        self._orders.append(fault)

    def lock_position(self, account_id: int, position_id: int, times: int | None = None) -> None:
        """Answer POSITION_LOCKED to closes and amendments of a position, so many times or for good."""
        self._locks[account_id, position_id] = times

    # Asked by the market

    def time_passed(self) -> None:
        """The clock moved: bars that closed are withheld from now on."""
        now, real = self._market.now, self._monotonic()
        self._withheld = [
            replace(one, since=real) if one.since is None and one.time + PERIOD_SECONDS[one.period] <= now else one
            for one in self._withheld
        ]

    def is_withheld(self, symbol: str, period: str, time: int) -> bool:
        """Whether history does not have a bar yet."""
        return any(
            self._holds(one) for one in self._withheld if (one.symbol, one.period, one.time) == (symbol, period, time)
        )

    @property
    def mutes_anything(self) -> bool:
        """Whether any bar may be missing from the stream."""
        return bool(self._withheld)

    def is_muted(self, symbol: str, period: str, time: int) -> bool:
        """Whether the stream does not show a bar."""
        return any(
            one.live and self._holds(one)
            for one in self._withheld
            if (one.symbol, one.period, one.time) == (symbol, period, time)
        )

    def history(self, symbol: str, period: str, bars: Bars) -> Bars:
        """Closed bars as history tells them."""
        if self._withheld:
            kept = np.array([not self.is_withheld(symbol, period, time) for time in bars.time.tolist()], bool)
            bars = bars[kept]
        for row, time in enumerate(bars.time.tolist()):
            if (changes := self._revised.get((symbol, period, time))) is not None:
                bars = _changed(bars, row, changes)
        return bars

    def shift(self, symbol: str, time: float) -> float:
        """What a gap adds to the prices of a bar or tick at its time."""
        return sum(gap.distance for gap in self._gaps if gap.symbol == symbol and gap.after < time <= gap.until)

    def has_gaps(self, symbol: str) -> bool:
        return any(gap.symbol == symbol for gap in self._gaps)

    def next_order(self) -> OrderFault | None:
        """The fault that an order arriving now meets."""
        self._orders = [replace(fault, nth=fault.nth - 1) for fault in self._orders]
        due = next((fault for fault in self._orders if fault.nth <= 0), None)
        if due is not None:
            self._orders.remove(due)
        return due

    def is_locked(self, account_id: int, position_id: int) -> bool:
        """Whether a request for a position finds it locked; counts the request."""
        if (account_id, position_id) not in self._locks:
            return False
        times = self._locks[account_id, position_id]
        if times is not None:
            self._locks[account_id, position_id] = times - 1
            if times <= 1:
                del self._locks[account_id, position_id]
        return times is None or times > 0

    def _holds(self, one: _Withheld) -> bool:
        if one.seconds is None or one.since is None:
            return True
        return self._monotonic() < one.since + one.seconds


class GappedSource:
    """A ``BarSource`` whose prices are shifted where the faults say so."""

    def __init__(self, source: BarSource, faults: MarketFaults) -> None:
        self._source = source
        self._faults = faults

    def symbols(self) -> list[str]:
        return self._source.symbols()

    def timeframes(self, symbol: str) -> list[str]:
        return self._source.timeframes(symbol)

    def at_or_after(self, symbol: str, timeframe: str, instant: float) -> int | None:
        return self._source.at_or_after(symbol, timeframe, instant)

    def at_or_before(self, symbol: str, timeframe: str, instant: float) -> int | None:
        return self._source.at_or_before(symbol, timeframe, instant)

    def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        bars = self._source.bars(symbol, timeframe, start, end)
        if not self._faults.has_gaps(symbol):
            return bars
        shifts = np.array([self._faults.shift(symbol, time) for time in bars.time.tolist()])
        open_, high, low, close = (_moved(getattr(bars, name), shifts) for name in PRICE_FIELDS)
        return Bars(bars.time, open_, high, low, close, bars.volume)


class GappedTicks(TickFiles):
    """Tick files, shifted likewise."""

    def __init__(self, folder: Path, faults: MarketFaults) -> None:
        super().__init__(folder)
        self._faults = faults

    def between(self, symbol: str, start: float, end: float) -> Ticks:
        ticks = super().between(symbol, start, end)
        if not self._faults.has_gaps(symbol):
            return ticks
        shifts = np.array([self._faults.shift(symbol, time) for time in ticks.time.tolist()])
        return Ticks(ticks.time, _moved(ticks.bid, shifts))


def _moved(prices: FloatArray, shifts: FloatArray) -> FloatArray:
    return np.round(prices + shifts, 8)


def _changed(bars: Bars, row: int, changes: Mapping[str, float]) -> Bars:
    """The bars with one of them changed, its high and low widened to what it then spans."""
    columns = {name: getattr(bars, name).copy() for name in (*PRICE_FIELDS, "volume")}
    for name, change in changes.items():
        columns[name][row] = round(float(columns[name][row]) + change, 8)
    spanned = [float(columns[name][row]) for name in PRICE_FIELDS]
    columns["high"][row], columns["low"][row] = max(spanned), min(spanned)
    return replace(bars, **columns)
