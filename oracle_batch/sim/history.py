"""What the market tells about the past: trend bars and prices, as of its clock."""

from __future__ import annotations

import numpy as np

from oracle_batch.bars import PRICE_FIELDS, Bars, IntArray, empty, join
from oracle_batch.market.fills import exit_quote
from oracle_batch.market.tape import BarSource
from oracle_batch.market.track import Track
from oracle_batch.sim.board import PERIOD_SECONDS, Board
from oracle_batch.sim.market_faults import MarketFaults
from oracle_batch.sim.values import TickData
from oracle_batch.types import TIMEFRAME_SECONDS


class History:
    """Reads the folder up to the present, as the faults let it."""

    def __init__(self, source: BarSource, track: Track, faults: MarketFaults) -> None:
        self._source = source
        self._track = track
        self._faults = faults

    def trendbars(self, board: Board, period: str, start: float, end: float, count: int | None, now: float) -> Bars:
        """See ``Exchange.trendbars``.

        Raises:
            BarError: a bar of this stretch breaks the rules.
        """
        if not board.tells(period) or end < start:
            return empty()
        seconds = PERIOD_SECONDS[period]
        last = min(int(end), int(now) - seconds)
        bars = self._faults.history(board.symbol, period, self._closed(board, period, int(np.ceil(start)), last + 1))
        forming = board.forming(period, now)
        if forming is not None and start <= forming.time <= end:
            values = (forming.open, forming.high, forming.low, forming.close, forming.volume)
            bars = join(bars, Bars(np.array([forming.time], np.int64), *(np.array([value]) for value in values)))
        return bars[-count:] if count else bars

    def ticks(self, board: Board, direction: int, start: float, end: float, now: float) -> list[TickData]:
        """See ``Exchange.ticks``."""
        points = self._track.points(board.symbol, start - 1e-6, min(end, now))
        prices = [TickData(point.shown, exit_quote(board.contract, direction, point.step.bid)) for point in points]
        return prices[::-1]

    def _closed(self, board: Board, period: str, start: int, end: int) -> Bars:
        if end <= start:
            return empty()
        files = self._source.timeframes(board.symbol)
        if period in files:
            return self._source.bars(board.symbol, period, start, end)
        seconds = PERIOD_SECONDS[period]
        finer = [name for name in files if TIMEFRAME_SECONDS[name] < seconds and not seconds % TIMEFRAME_SECONDS[name]]
        if not finer:
            return empty()
        first, last = board.slot(period, start), board.slot(period, end - 1) + seconds
        made = _made(self._source.bars(board.symbol, finer[-1], first, last), board, period)
        return made[(made.time >= start) & (made.time < end)]


def _made(bars: Bars, board: Board, period: str) -> Bars:
    """Bars of a longer period from finer ones."""
    if not len(bars):
        return bars
    slots: IntArray = np.array([board.slot(period, time) for time in bars.time.tolist()], np.int64)
    first = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
    last = np.append(first[1:], len(slots)) - 1
    open_, high, low, close = (getattr(bars, name) for name in PRICE_FIELDS)
    return Bars(
        slots[first],
        open_[first],
        np.maximum.reduceat(high, first),
        np.minimum.reduceat(low, first),
        close[last],
        np.add.reduceat(bars.volume, first),
    )
