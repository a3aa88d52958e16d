"""Windows that lack their newest bar: everything a decision needs stands in its place before that bar is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.brain.decide import SERIES, Brain, Decision, Windows
from oracle_batch.brain.twin import TwinState
from oracle_batch.broker.base import Bar
from oracle_batch.bundle.model import Model
from oracle_batch.types import WINDOW


class Awaiting:
    """Models and their histories, each at least 349 bars long, one bar before a decision.

    Models, regimes and nets are stacked here, and the 349 known bars of each window are in their columns. What is left
    is the arithmetic on whole columns: its sums are the same, addend by addend, as in any other decision, so that a
    replay agrees to the last bit. That costs less than a tenth of a millisecond for twenty models.
    """

    def __init__(self, models: Sequence[Model], histories: Sequence[Bars]) -> None:
        self._brain = Brain(models)
        self._columns = {
            name: np.stack(
                [np.append(getattr(bars, name)[1 - WINDOW :], getattr(bars, name)[-1]) for bars in histories]
            )
            for name in SERIES
        }
        self._time = np.array([bars.time[-1] for bars in histories], np.int64)

    def decide(self, newest: Mapping[int, Bar], twins: Sequence[TwinState]) -> list[Decision]:
        """One decision a model, in the models' order; what those without a newest bar decide means nothing.

        ``newest`` are the bars by the model's place.
        """
        for row, bar in newest.items():
            self._time[row] = bar.time
            for name, column in self._columns.items():
                column[row, -1] = getattr(bar, name)
        return self._brain.decide(Windows(self._time, **self._columns), twins)
