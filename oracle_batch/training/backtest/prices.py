"""All prices of one symbol in the order in which the market engine plays them, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.market.tape import Step, Tape
from oracle_batch.training.backtest.history import History
from oracle_batch.types import TIMEFRAME_SECONDS

Float64 = NDArray[np.float64]

_STRETCH_S = 86400.0
"""How much of a tape is read at once."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The fields of ``market.tape.Step``, one row a price."""

    symbol: str
    time: Float64
    bar_time: NDArray[np.int64]
    place: NDArray[np.int64]
    bid: Float64

    def known(self, instants: Float64) -> NDArray[np.intp]:
        """How many prices are known at each instant."""
        return np.searchsorted(self.time, instants, side="right")

    def step(self, row: int) -> Step:
        return Step(
            self.time[row].item(), self.bar_time[row].item(), self.place[row].item(), self.symbol, self.bid[row].item()
        )

    def span(self, begin: int, end: int) -> tuple[float, float]:
        """Lowest and highest bid from one count of known prices to another: its last one and all that follow."""
        bids = self.bid[max(begin - 1, 0) : end]
        return (float(bids.min()), float(bids.max())) if len(bids) else (np.inf, -np.inf)

    def spans(self, known: NDArray[np.intp]) -> tuple[Float64, Float64]:
        """``span`` from each count to the next: one pair fewer than counts."""
        low, high = np.full(len(known) - 1, np.inf), np.full(len(known) - 1, -np.inf)
        if not len(self.bid) or len(known) < 2:
            return low, high
        begins, ends = known[:-1], known[1:]
        filled = ends > begins
        if filled.any():
            edges = np.stack([begins[filled], ends[filled]], axis=1).ravel()
            bid = np.append(self.bid, self.bid[-1])  # an edge may be the end of all
            low[filled] = np.minimum.reduceat(bid, edges)[::2]
            high[filled] = np.maximum.reduceat(bid, edges)[::2]
        before = np.where(begins > 0, self.bid[np.maximum(begins - 1, 0)], np.nan)
        return np.fmin(low, before), np.fmax(high, before)


def prices_of(history: History, tape: Tape, symbol: str) -> Prices:
    """Everything that a history knows of a symbol; of a finer and a coarser bar the finer ones, as the tape has it."""
    timeframes = history.timeframes(symbol)
    if len(timeframes) == 1:
        return _of_one(history, symbol, timeframes[0])
    begin = min(int(history.series[symbol, one].time[0]) for one in timeframes) - 1.0
    end = max(int(history.series[symbol, one].time[-1]) + TIMEFRAME_SECONDS[one] for one in timeframes)
    steps: list[Step] = []
    while begin < end:
        until = min(begin + _STRETCH_S, float(end))
        steps += tape.steps(symbol, begin, until)
        begin = until
    return Prices(
        symbol,
        np.array([step.time for step in steps], np.float64),
        np.array([step.bar_time for step in steps], np.int64),
        np.array([step.place for step in steps], np.int64),
        np.array([step.bid for step in steps], np.float64),
    )


def _of_one(history: History, symbol: str, timeframe: str) -> Prices:
    bars, seconds = history.series[symbol, timeframe], TIMEFRAME_SECONDS[timeframe]
    rises = bars.open <= bars.close
    path = [bars.open, np.where(rises, bars.low, bars.high), np.where(rises, bars.high, bars.low), bars.close]
    count = len(bars)
    return Prices(
        symbol,
        (bars.time[:, None] + np.array([0, seconds, seconds, seconds])).ravel().astype(np.float64),
        np.repeat(bars.time, 4),
        np.tile(np.arange(4), count),
        np.stack(path, axis=1).ravel(),
    )
