"""The tape as an observer sees it: every price at an instant of its own, so that a market can be watched live.

What a bar's path is, and which bars make it, is as in ``tape``; quote ticks, where there are any, are the finest.
A step keeps the time that the engine books it at (a bar's end, for all but its open), so that money comes out the same
whether the market is played price by price or bar by bar; ``shown`` is when the price is seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from oracle_batch.market.tape import BarSource, Mark, Step, Tape, path_of
from oracle_batch.market.ticks import TickFiles
from oracle_batch.types import TIMEFRAME_SECONDS

OFFSETS: Final = (0.0, 0.25, 0.75, 0.999)
"""When the four prices of a bar are shown, in bar lengths after its open. The last one comes before the close."""
STANDING_S: Final = 3600.0
"""How long the quote of a tick stands when no other follows."""
_STRETCH: Final = 4 * 3600
"""Seconds of prices that are worked out in one go: a day of ticks would be felt."""
_KEPT: Final = 12
_LONGEST: Final = max(TIMEFRAME_SECONDS.values())


class Point(NamedTuple):
    """One price. ``start`` and ``end`` are the bar's (of a tick: its own instant, and how long it stands); ``volume``
    is its share of the bar's; ``step`` what the engine plays."""

    shown: float
    step: Step
    start: float
    end: float
    volume: float
    length: int
    """Of its bar in seconds; 0 for a tick."""


class _Stretch(NamedTuple):
    times: list[float]
    points: list[Point]


class Track(Tape):
    """A tape whose ``last`` follows the prices inside a bar, and whose orders fill on arrival."""

    def __init__(self, source: BarSource, ticks: TickFiles | None = None) -> None:
        super().__init__(source)
        self._ticks = ticks
        self._stretches: dict[str, dict[int, _Stretch]] = {}

    def forget(self) -> None:
        """Read everything anew: the source tells something else now."""
        self._stretches.clear()

    def points(self, symbol: str, after: float, until: float) -> Iterator[Point]:
        """Every price with ``after < shown <= until``, in order.

        Raises:
            BarError: a bar of this stretch breaks the rules.
        """
        number = int(after // _STRETCH)
        while number <= until // _STRETCH:
            stretch = self._stretch(symbol, number)
            yield from stretch.points[bisect_right(stretch.times, after) : bisect_right(stretch.times, until)]
            number += 1
            if not stretch.points and not self._goes_on(symbol, number * _STRETCH):
                coming = self.next_price(symbol, number * _STRETCH)
                number = int(until // _STRETCH) + 1 if coming is None else int(coming // _STRETCH)

    def current(self, symbol: str, at: float) -> Point | None:
        """The newest price shown, None when the symbol has none yet."""
        number = int(at // _STRETCH)
        stretch = self._stretch(symbol, number)
        row = bisect_right(stretch.times, at)
        if row:
            return stretch.points[row - 1]
        newest, longest = self._newest(symbol, at)
        if newest is None:
            return None
        for earlier in range(min(number - 1, int((newest + longest) // _STRETCH)), int(newest // _STRETCH) - 1, -1):
            found = self._stretch(symbol, earlier)
            if found.points:
                return found.points[-1]
        return None

    def last(self, symbol: str, at: float) -> Mark | None:
        point = self.current(symbol, at)
        return None if point is None else Mark(point.step.bid, point.shown)

    def next_open(self, symbol: str, at: float) -> Mark | None:
        """The price of the moment while there is one; between bars the next open, as on the plain tape."""
        point = self.current(symbol, at)
        if point is not None and at < point.end:
            return Mark(point.step.bid, point.shown)
        return super().next_open(symbol, at)

    def next_price(self, symbol: str, after: float) -> float | None:
        """When the next bar or tick comes, at an instant or later."""
        instants = [self.source.at_or_after(symbol, name, after) for name in self.source.timeframes(symbol)]
        tick = self._ticks.at_or_after(symbol, after) if self._ticks is not None else None
        return min((instant for instant in (*instants, tick) if instant is not None), default=None)

    def _goes_on(self, symbol: str, at: float) -> bool:
        """Whether a bar that started before an instant may show prices after it."""
        newest, longest = self._newest(symbol, at)
        return newest is not None and newest + longest > at

    def _newest(self, symbol: str, at: float) -> tuple[float | None, float]:
        names = self.source.timeframes(symbol)
        starts = [self.source.at_or_before(symbol, name, at) for name in names]
        tick = self._ticks.at_or_before(symbol, at) if self._ticks is not None else None
        known = [start for start in (*starts, tick) if start is not None]
        return max(known, default=None), max((TIMEFRAME_SECONDS[name] for name in names), default=0)

    def _stretch(self, symbol: str, number: int) -> _Stretch:
        kept = self._stretches.setdefault(symbol, {})
        if number not in kept:
            points = sorted(point for point in self._build(symbol, number) if point.shown // _STRETCH == number)
            if len(kept) >= _KEPT:
                del kept[min(kept)]
            kept[number] = _Stretch([point.shown for point in points], points)
        return kept[number]

    def _build(self, symbol: str, number: int) -> Iterator[Point]:
        start, end = number * _STRETCH, (number + 1) * _STRETCH
        ticked = np.empty(0)
        if self._ticks is not None:
            ticked = self._ticks.between(symbol, start - _LONGEST, end + _LONGEST).time
            ticks = self._ticks.between(symbol, start, end)
            for time, bid in zip(ticks.time.tolist(), ticks.bid.tolist(), strict=True):
                yield Point(time, Step(time, int(time), 0, symbol, bid), time, time + STANDING_S, 1.0, 0)
        finer: list[str] = []
        for timeframe in self.source.timeframes(symbol):
            seconds = TIMEFRAME_SECONDS[timeframe]
            bars = self.source.bars(symbol, timeframe, start - seconds, end)
            edges = np.searchsorted(ticked, np.stack([bars.time, bars.time + seconds]), "left")
            bars = bars[edges[0] == edges[1]]
            columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
            for time, open_, high, low, close, volume in zip(*(one.tolist() for one in columns), strict=True):
                close_time = time + seconds
                if self._covered(symbol, finer, time, close_time):
                    continue
                for place, bid in enumerate(path_of(open_, high, low, close)):
                    booked = float(close_time) if place else float(time)
                    step = Step(booked, time, place, symbol, bid)
                    yield Point(time + OFFSETS[place] * seconds, step, time, close_time, volume / 4, seconds)
            finer.append(timeframe)
