"""The quotes of the moment and the bars in progress, as prices come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oracle_batch.market.fills import exit_quote
from oracle_batch.market.specs import Contract
from oracle_batch.market.track import Point, Track
from oracle_batch.sim.events import LiveBar, Spot
from oracle_batch.types import TIMEFRAME_SECONDS

PERIOD_SECONDS: Final = dict(
    sorted(
        {**TIMEFRAME_SECONDS, "M2": 120, "M3": 180, "M4": 240, "M10": 600, "H12": 43200, "W1": 604800}.items(),
        key=lambda item: item[1],
    )
)
"""Periods of bars that the market can tell. A month has no fixed length and is not among them."""
_SUNDAY: Final = 3 * 86400
"""The first Sunday after the epoch: weeks start there."""


class Forming:
    """A bar in progress; bid prices, Unix seconds."""

    __slots__ = ("close", "end", "high", "low", "open", "period", "time", "volume")

    def __init__(self, period: str, time: int, end: int, bid: float) -> None:
        self.period, self.time, self.end, self.volume = period, time, end, 0.0
        self.open = self.high = self.low = self.close = bid

    def add(self, bid: float, volume: float) -> None:
        self.high, self.low, self.close = max(self.high, bid), min(self.low, bid), bid
        self.volume += volume

    def view(self) -> LiveBar:
        return LiveBar(self.period, self.time, self.open, self.high, self.low, self.close, self.volume)


class Board:
    """One symbol: its quote and its bars of the given periods, as far as the folder can tell them."""

    def __init__(self, symbol_id: int, contract: Contract, periods: Sequence[str], track: Track, at: float) -> None:
        self.symbol_id = symbol_id
        self.symbol = contract.spec.symbol
        self.contract = contract
        self._track = track
        self._files = track.source.timeframes(self.symbol)
        self.periods = tuple(period for period in periods if self.tells(period))
        self._forming = {period: bar for period in self.periods if (bar := self.fold(period, at)) is not None}
        self._point = track.current(self.symbol, at)

    @property
    def is_quoted(self) -> bool:
        """Whether there was a price yet."""
        return self._point is not None

    @property
    def next_end(self) -> float:
        """When the next bar in progress ends."""
        return min((bar.end for bar in self._forming.values()), default=float("inf"))

    def tells(self, period: str) -> bool:
        """Whether there are bars as fine as the period."""
        seconds = PERIOD_SECONDS.get(period)
        return seconds is not None and bool(self._files) and TIMEFRAME_SECONDS[self._files[0]] <= seconds

    def follow(self, period: str, at: float) -> None:
        """Keep the bars of one more period."""
        if period not in self.periods and self.tells(period):
            self.periods = (*self.periods, period)
            bar = self.fold(period, at)
            if bar is not None:
                self._forming[period] = bar

    def see(self, point: Point) -> Spot:
        """Take in a price."""
        bid, end = point.step.bid, point.shown
        for period in self.periods:
            bar, seconds = self._forming.get(period), PERIOD_SECONDS[period]
            if point.length > seconds:
                continue
            if bar is None or end >= bar.end:
                start = self.slot(period, point.shown)
                bar = self._forming[period] = Forming(period, start, start + seconds, bid)
            bar.add(bid, point.volume)
        self._point = point
        return self.spot(point.shown)

    def ended(self, at: float) -> list[LiveBar]:
        """Bars that have ended by an instant; each is returned once."""
        found = [bar for bar in self._forming.values() if bar.end <= at]
        for bar in found:
            del self._forming[bar.period]
        return [bar.view() for bar in found]

    def spot(self, at: float, bars: tuple[LiveBar, ...] | None = None, *, closed: bool = False) -> Spot:
        """The quote as it stands, with the bars in progress unless others are given."""
        assert self._point is not None
        bid = self._point.step.bid
        live = tuple(bar.view() for bar in self._forming.values() if bar.end > at) if bars is None else bars
        return Spot(self.symbol_id, bid, exit_quote(self.contract, -1, bid), at, live, closed)

    def forming(self, period: str, at: float) -> Forming | None:
        """The bar in progress of any period."""
        bar = self._forming.get(period) if period in self.periods else self.fold(period, at)
        return bar if bar is not None and bar.end > at else None

    def fold(self, period: str, at: float) -> Forming | None:
        """The bar in progress, made from every price since its start."""
        if not self.tells(period):
            return None
        start, seconds = self.slot(period, at), PERIOD_SECONDS[period]
        bar = None
        for point in self._track.points(self.symbol, start - 1e-6, at):
            if point.length <= seconds:
                bar = bar or Forming(period, start, start + seconds, point.step.bid)
                bar.add(point.step.bid, point.volume)
        return bar

    def slot(self, period: str, at: float) -> int:
        """Where the bar that an instant lies in starts: by the file's own bars, else by the usual grid."""
        seconds = PERIOD_SECONDS[period]
        if seconds <= 3600:
            return int(at // seconds) * seconds
        anchor = _SUNDAY if period == "W1" else 0
        if period in self._files:
            start = self._track.source.at_or_before(self.symbol, period, at)
            if start is not None:
                if at < start + seconds:
                    return start
                anchor = start
        return anchor + int((at - anchor) // seconds) * seconds
