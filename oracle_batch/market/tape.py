"""Prices in time: the finest bars that exist, seen as a path of bid prices.

A bar's path is O-L-H-C when it closed at or above its open, else O-H-L-C. The open is known when the bar starts;
when the other three become known is a choice of the user of this module (``offsets``, in bar lengths after the start).
By default they become known when the bar closes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from oracle_batch.bars import Bars
from oracle_batch.errors import BarError
from oracle_batch.types import TIMEFRAME_SECONDS

HORIZON_S = 7 * 86400
"""How far ahead a market order looks for the next open: a weekend with holidays, not a hole in the files."""

_SEEN = 256


class BarSource(Protocol):
    """What the tape needs of a feed; see ``feed.Feed``. Any method may raise BarError."""

    def symbols(self) -> list[str]: ...

    def timeframes(self, symbol: str) -> list[str]: ...

    def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars: ...

    def at_or_after(self, symbol: str, timeframe: str, instant: float) -> int | None: ...

    def at_or_before(self, symbol: str, timeframe: str, instant: float) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """A bid price and the instant it belongs to (Unix seconds)."""

    bid: float
    time: float


class Step(NamedTuple):
    """One point of the path; sorts in playing order. ``place`` 0 is a bar's open, which may be a gap."""

    time: float
    bar_time: int
    place: int
    symbol: str
    bid: float


@dataclass(frozen=True, slots=True)
class Reach:
    """Lowest, highest and last bid of a stretch."""

    low: float
    high: float
    last: float


def reach_of(steps: Iterable[Step]) -> dict[str, Reach]:
    """What each symbol's prices span; ``steps`` are in playing order symbol by symbol."""
    bids: dict[str, list[float]] = {}
    for step in steps:
        bids.setdefault(step.symbol, []).append(step.bid)
    return {symbol: Reach(min(prices), max(prices), prices[-1]) for symbol, prices in bids.items()}


def path_of(open_: float, high: float, low: float, close: float) -> tuple[float, float, float, float]:
    """The four prices of a bar in the order they are played.

    >>> path_of(1.0, 4.0, 0.5, 2.0)
    (1.0, 0.5, 4.0, 2.0)
    """
    return (open_, low, high, close) if open_ <= close else (open_, high, low, close)


class Tape:
    """Reads a feed as one stream of prices per symbol."""

    def __init__(self, source: BarSource, offsets: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
        self.source = source
        self._offsets = (0.0, *offsets)
        self._seen: dict[tuple[str, float], Mark | None] = {}

    def last(self, symbol: str, at: float) -> Mark | None:
        """The newest price known at an instant, None when the symbol has none yet.

        That is the open of the finest bar in progress, else the last close; of two timeframes the one that knows
        the later price counts, so a fine series that ended long ago does not hide a coarse one that goes on.
        """
        if (symbol, at) not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[symbol, at] = self._last(symbol, at)
        return self._seen[symbol, at]

    def _last(self, symbol: str, at: float) -> Mark | None:
        best: Mark | None = None
        best_open = False
        for timeframe in self.source.timeframes(symbol):
            start = self.source.at_or_before(symbol, timeframe, at)
            if start is None:
                continue
            steps = [step for step in self._steps(symbol, timeframe, start, start + 1) if step.time <= at]
            newest = steps[-1]
            if best is None or (newest.time, newest.place == 0) > (best.time, best_open):
                best, best_open = Mark(newest.bid, newest.time), newest.place == 0
            if start + TIMEFRAME_SECONDS[timeframe] > at:
                break
        return best

    def next_open(self, symbol: str, at: float) -> Mark | None:
        """The open of the next bar that starts at or after an instant, at most a week ahead; the finest of equals."""
        found: tuple[int, str] | None = None
        for timeframe in self.source.timeframes(symbol):
            start = self.source.at_or_after(symbol, timeframe, at)
            if start is not None and start <= at + HORIZON_S and (found is None or start < found[0]):
                found = (start, timeframe)
            if found is not None and found[0] < at + TIMEFRAME_SECONDS[found[1]]:
                break  # no slot of a finer grid lies before it, so none of a coarser one does
        if found is None:
            return None
        start, timeframe = found
        return Mark(float(self.source.bars(symbol, timeframe, start, start + 1).open[0]), float(start))

    def steps(self, symbol: str, after: float, until: float) -> list[Step]:
        """Every price with ``after < time <= until`` in playing order, from the finest bars of every stretch.

        A coarse bar is played only where no finer bar starts within it.

        Raises:
            BarError: the symbol has no file, or a bar of this stretch breaks the rules.
        """
        found: list[Step] = []
        finer: list[str] = []
        timeframes = self.source.timeframes(symbol)
        if not timeframes:
            raise BarError(
                f"no bars of {symbol} any more", fix=f"put {symbol}_M15.parquet or the like back into the folder"
            )
        for timeframe in timeframes:
            seconds = TIMEFRAME_SECONDS[timeframe]
            slot = int(after // seconds) * seconds
            bars = self._steps(symbol, timeframe, slot if seconds <= 3600 else int(after) - seconds, int(until) + 1)
            alone = {step.bar_time for step in bars if step.place == 0}
            alone = {start for start in alone if not self._covered(symbol, finer, start, start + seconds)}
            found += [step for step in bars if step.bar_time in alone and after < step.time <= until]
            if len(alone) == int(until // seconds) - slot // seconds + 1:
                break
            finer.append(timeframe)
        return sorted(found)

    def _covered(self, symbol: str, finer: list[str], start: int, end: int) -> bool:
        for timeframe in finer:
            first = self.source.at_or_after(symbol, timeframe, start)
            if first is not None and first < end:
                return True
        return False

    def _steps(self, symbol: str, timeframe: str, start: int, end: int) -> list[Step]:
        seconds = TIMEFRAME_SECONDS[timeframe]
        bars = self.source.bars(symbol, timeframe, start, end)
        columns = (bars.time, bars.open, bars.high, bars.low, bars.close)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [
            Step(time + offset * seconds, time, place, symbol, bid)
            for time, open_, high, low, close in rows
            for place, (offset, bid) in enumerate(zip(self._offsets, path_of(open_, high, low, close), strict=True))
        ]
