"""The instants at which the live job would run over a history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.reset_days import resets_between
from oracle_batch.training.backtest.lives import Life
from oracle_batch.types import TIMEFRAME_SECONDS

TICK_AFTER_S: Final = 1.0
GUARD_AFTER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Looks:
    """All looks in time order: (L,) ``time``, ``is_tick``, ``day_end`` (the last one before a reset).

    ``must`` are the places of those with a new signal, or at a reset.
    """

    time: NDArray[np.float64]
    is_tick: NDArray[np.bool_]
    day_end: NDArray[np.bool_]
    must: NDArray[np.intp]

    @property
    def last(self) -> int:
        return len(self.time) - 1

    def next_must(self, place: int) -> int:
        """The first look from ``place`` on that must be made, else the last of all."""
        due = int(np.searchsorted(self.must, place))
        return int(self.must[due]) if due < len(self.must) else self.last

    def at_or_after(self, instant: float) -> int:
        return int(np.searchsorted(self.time, instant))


def closes_of(life: Life) -> NDArray[np.int64]:
    """When each bar of a life closes."""
    return life.time + TIMEFRAME_SECONDS[life.model.timeframe]


def looks_of(lives: Sequence[Life], first: Sequence[int], series: Iterable[Bars], rules: LimitRules) -> Looks:
    """The looks at lives, each from row ``first`` on; ``series`` are all prices that appear."""
    all_closes = [closes_of(life) for life in lives]
    closes = [one[row:] for one, row in zip(all_closes, first, strict=True)]
    begin, end = min(int(one[0]) for one in closes), max(int(one[-1]) for one in closes)
    changed = [one[life.changes[life.changes >= row]] for one, life, row in zip(all_closes, lives, first, strict=True)]
    firsts = np.array([one[0] for one in closes])
    ticks = np.unique(np.concatenate(closes)) + TICK_AFTER_S
    opens = np.concatenate([bars.time for bars in series])
    prices = np.concatenate([opens[(opens >= begin) & (opens <= end)], np.concatenate(closes)])
    resets = np.array(resets_between(rules.day, begin, end), np.float64)
    before, after = resets - GUARD_AFTER_S, resets + GUARD_AFTER_S
    time = np.unique(np.concatenate([ticks, prices + GUARD_AFTER_S, before, after]))
    must = np.concatenate([np.concatenate([*changed, firsts]) + TICK_AFTER_S, before, after])
    return Looks(time, _marked(time, ticks), _marked(time, before), np.flatnonzero(_marked(time, must)))


def _marked(times: NDArray[np.float64], some: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which of the times are among some of them."""
    found = np.zeros(len(times), np.bool_)
    found[np.searchsorted(times, some)] = True
    return found
