"""Bars in memory as the market engine reads them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.errors import BarError
from oracle_batch.market.excerpts import Excerpts
from oracle_batch.market.tape import HORIZON_S, Mark, Step, Tape, path_of
from oracle_batch.types import TIMEFRAME_SECONDS

Float64 = NDArray[np.float64]


class History:
    """Validated bars by symbol and timeframe, with the methods of ``market.feed.Feed``."""

    def __init__(self, series: Mapping[tuple[str, str], Bars]) -> None:
        self.series = dict(series)
        self._times: dict[tuple[str, str], list[int]] = {key: bars.time.tolist() for key, bars in self.series.items()}
        self._timeframes = {
            symbol: [timeframe for timeframe in TIMEFRAME_SECONDS if (symbol, timeframe) in self.series]
            for symbol, _ in self.series
        }

    def keep(self, excerpts: Excerpts) -> None:
        """Everything is in memory; nothing is left for others."""

    def symbols(self) -> list[str]:
        return sorted(self._timeframes)

    def timeframes(self, symbol: str) -> list[str]:
        return self._timeframes.get(symbol, [])

    def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        times = self._of(symbol, timeframe)
        return self.series[symbol, timeframe][bisect_left(times, start) : bisect_left(times, end)]

    def at_or_after(self, symbol: str, timeframe: str, instant: float) -> int | None:
        times = self._of(symbol, timeframe)
        place = bisect_left(times, instant)
        return times[place] if place < len(times) else None

    def at_or_before(self, symbol: str, timeframe: str, instant: float) -> int | None:
        times = self._of(symbol, timeframe)
        place = bisect_right(times, instant)
        return times[place - 1] if place else None

    def _of(self, symbol: str, timeframe: str) -> list[int]:
        times = self._times.get((symbol, timeframe))
        if times is None:
            raise BarError(f"no bars of {symbol} {timeframe}", fix=f"give {symbol}_{timeframe}.parquet or .csv")
        return times


class HistoryTape(Tape):
    """A tape over a :class:`History`: the same answers, looked up in lists that are made once.

    A symbol with one timeframe is looked up here; others as any tape does.
    """

    def __init__(self, source: History) -> None:
        super().__init__(source)
        self._paths: dict[str, _Path] = {}
        for symbol in source.symbols():
            if len(source.timeframes(symbol)) == 1:
                (timeframe,) = source.timeframes(symbol)
                self._paths[symbol] = _Path(symbol, timeframe, source.series[symbol, timeframe])

    def last(self, symbol: str, at: float) -> Mark | None:
        path = self._paths.get(symbol)
        return super().last(symbol, at) if path is None else path.last(at)

    def next_open(self, symbol: str, at: float) -> Mark | None:
        path = self._paths.get(symbol)
        return super().next_open(symbol, at) if path is None else path.next_open(at)

    def bids(self, symbol: str, instants: Float64) -> Float64:
        """The bid of ``last`` at each instant, NaN where there is none."""
        path = self._paths.get(symbol)
        if path is not None:
            return path.bids(instants)
        return _bids(self.last(symbol, at) for at in instants.tolist())

    def fill_bids(self, symbol: str, instants: Float64) -> Float64:
        """The bid that an order meets which is decided at each instant: see ``Pricing.fill_mark``."""
        path = self._paths.get(symbol)
        if path is not None:
            return path.fill_bids(instants)
        return _bids(self.next_open(symbol, at) or self.last(symbol, at) for at in instants.tolist())

    def steps(self, symbol: str, after: float, until: float) -> list[Step]:
        path = self._paths.get(symbol)
        return super().steps(symbol, after, until) if path is None else path.steps(after, until)


class _Path:
    """One series as lists. The open of a bar is known when it starts, the rest when it closes."""

    def __init__(self, symbol: str, timeframe: str, bars: Bars) -> None:
        self._symbol, self._seconds, self._bars = symbol, TIMEFRAME_SECONDS[timeframe], bars
        self._times: list[int] = bars.time.tolist()
        columns = (bars.open, bars.high, bars.low, bars.close)
        self._open, self._high, self._low, self._close = (np.asarray(column).tolist() for column in columns)

    def last(self, at: float) -> Mark | None:
        place = bisect_right(self._times, at) - 1
        if place < 0:
            return None
        start = self._times[place]
        closed = start + self._seconds
        return Mark(self._close[place], float(closed)) if closed <= at else Mark(self._open[place], float(start))

    def next_open(self, at: float) -> Mark | None:
        place = bisect_left(self._times, at)
        if place == len(self._times) or self._times[place] > at + HORIZON_S:
            return None
        return Mark(self._open[place], float(self._times[place]))

    def bids(self, instants: Float64) -> Float64:
        bars = self._bars
        place = np.searchsorted(bars.time, instants, side="right") - 1
        found = np.where(bars.time[place] + self._seconds <= instants, bars.close[place], bars.open[place])
        return np.where(place >= 0, found, np.nan)

    def fill_bids(self, instants: Float64) -> Float64:
        bars = self._bars
        place = np.minimum(np.searchsorted(bars.time, instants), len(bars) - 1)
        ahead = bars.time[place] - instants
        return np.where((ahead >= 0) & (ahead <= HORIZON_S), bars.open[place], self.bids(instants))

    def steps(self, after: float, until: float) -> list[Step]:
        """Prices with ``after < time <= until``; a bar that started before ``after`` may close after it."""
        found = []
        place = max(0, bisect_right(self._times, after - self._seconds))
        while place < len(self._times) and self._times[place] <= until:
            start = self._times[place]
            path = path_of(self._open[place], self._high[place], self._low[place], self._close[place])
            for index, bid in enumerate(path):
                time = start + (self._seconds if index else 0.0)
                if after < time <= until:
                    found.append(Step(time, start, index, self._symbol, bid))
            place += 1
        return sorted(found)


def _bids(marks: Iterable[Mark | None]) -> Float64:
    return np.array([np.nan if mark is None else mark.bid for mark in marks])
