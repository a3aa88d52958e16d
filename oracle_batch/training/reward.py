"""What an action is worth: the change of the twin's equity, in units that are alike on every market.

The action on bar t is executed at close t, so its reward is the change of equity from just before it to just before
the next action, at close t + 1: the costs that it caused now and the first move of the position that it chose. The
rewards of an episode add up to its profit. With ``x = change / unit``:

    reward = x − risk_aversion / 2 · x²

``unit`` is the money that the strongest position makes or loses on a typical bar of the training part (the root mean
square of the closes' changes), so that rewards are about 1 for a lot in gold as for one in euros, and the same
learning rate serves both. A linear reward alone would know two sizes only, nothing and the strongest; the quadratic
term is the mean-variance investor's, for whom the best size is (edge of a bar) / (risk_aversion · variance). At
0.02 the strongest size pays from an edge of 2 % of a typical bar's move on; below it, the weaker ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oracle_batch.brain.twin import profit
from oracle_batch.bundle.model import TrainingCosts

Number = TypeVar("Number", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Reward:
    """``unit`` in account currency, above 0."""

    unit: float
    risk_aversion: float

    def of(self, change: Number) -> Number:
        """The reward of a change of equity.

        >>> Reward(unit=2.0, risk_aversion=0.5).of(4.0)
        1.0
        """
        x = change / self.unit
        return x - self.risk_aversion / 2.0 * x * x


def reward_unit(close: NDArray[np.float64], costs: TrainingCosts) -> float:
    """Money that the strongest position typically makes or loses on one bar."""
    move = float(np.sqrt(np.mean(np.square(np.diff(close)))))
    return profit(0.0, move, 1, costs.lot_sizes[3], costs)
