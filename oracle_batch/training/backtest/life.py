"""A model over a history, as columns: what it sees, and what its twin comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.model import Model, TrainingCosts
from oracle_batch.types import ACTIONS

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ints = NDArray[np.intp]

DIRECTION = np.array([action.direction for action in ACTIONS])
INTENSITY = np.array([action.intensity for action in ACTIONS])


@dataclass(frozen=True, slots=True)
class Sight:
    """What one model sees of T bars whatever its twin holds: one row a decided bar.

    ``market`` (T, 6) float32, ``hmm_state`` (T,), and the bars' ``time`` and ``close``.
    """

    model: Model
    time: NDArray[np.int64]
    close: Float64
    hmm_state: Ints
    market: Float32

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Life:
    """A model's decisions and its twin after each of T bars, as columns."""

    model: Model
    time: NDArray[np.int64]
    close: Float64
    hmm_state: Ints
    action: Ints
    entry_price: Float64
    floating_pnl: Float64
    realized_pnl: Float64

    def __len__(self) -> int:
        return len(self.time)

    @property
    def direction(self) -> Ints:
        found: Ints = DIRECTION[self.action]
        return found

    @property
    def intensity(self) -> Ints:
        found: Ints = INTENSITY[self.action]
        return found

    @property
    def equity(self) -> Float64:
        """Profit of the twin's books so far, realized and floating, in account currency."""
        return self.realized_pnl + self.floating_pnl

    @property
    def changes(self) -> Ints:
        """Rows on which the action differs from the row before (before the first row stands WAIT)."""
        return np.flatnonzero(np.diff(self.action, prepend=0))


def profits(costs: TrainingCosts, entry: Float64, exit_: Float64, direction: Ints, lots: Float64) -> Float64:
    """``twin.profit`` of many positions, in its order of operations."""
    moved: Float64 = (exit_ - entry) * direction / costs.point / costs.points_per_pip * costs.pip_value * lots
    return moved
