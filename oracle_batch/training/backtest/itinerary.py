"""What every look that must be made will find of the market and of one model's signals, known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.looks import TICK_AFTER_S, Looks, closes_of
from oracle_batch.training.backtest.prices import Prices


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Lists by the number of a look that must be made.

    ``place`` among all looks, ``time`` (Unix seconds), ``ends_day``; ``row`` of the bar whose signal is new there, -1
    where none is; ``known``, how many prices have appeared by then. ``low`` and ``high`` bound the bids from the look
    before on (see ``Prices.spans``); the first look has none. ``wishes`` counts new signals for a position before it.
    """

    place: list[int]
    time: list[float]
    ends_day: list[bool]
    row: list[int]
    known: list[int]
    low: list[float]
    high: list[float]
    wishes: list[int]

    def __len__(self) -> int:
        return len(self.place)


def itinerary_of(life: Life, looks: Looks, prices: Prices) -> Itinerary:
    """The looks that must be made for one life."""
    closes, times = closes_of(life), looks.time[looks.must]
    row = np.minimum(np.searchsorted(closes, times - TICK_AFTER_S), len(closes) - 1)
    turns = np.diff(life.action, prepend=0) != 0
    new = looks.is_tick[looks.must] & (closes[row] + TICK_AFTER_S == times) & turns[row]
    known = prices.known(times)
    low, high = prices.spans(known)
    return Itinerary(
        looks.must.tolist(),
        times.tolist(),
        looks.day_end[looks.must].tolist(),
        np.where(new, row, -1).tolist(),
        known.tolist(),
        [np.inf, *low.tolist()],
        [-np.inf, *high.tolist()],
        [0, *np.cumsum(new & (life.action[row] != 0)).tolist()],
    )
