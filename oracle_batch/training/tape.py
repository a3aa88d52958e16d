"""A part of a history prepared for the environment: all that its observations hold and no action can change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.brain import features
from oracle_batch.brain.decide import Float32, market_view
from oracle_batch.bundle.model import Model, PolicyNet
from oracle_batch.types import ACTIONS, WINDOW

_POSITIONS = len(ACTIONS)


@dataclass(frozen=True, slots=True)
class Tape:
    """The decided bars of a part, from its 350th on: T bars.

    ``states`` (T,) the regime at each, ``market`` (T, 6), ``fixed`` (T, 6 + N) float32 the observation without the
    twin's three values. Computed by the brain itself.
    """

    bars: Bars
    states: NDArray[np.intp]
    market: Float32
    fixed: Float32

    def __len__(self) -> int:
        return len(self.states)


def tape_of(model: Model, bars: Bars) -> Tape:
    """The tape of a part's bars, at least 350 of them. Only the model's features, regime and decoding matter."""
    count = len(bars) - WINDOW + 1
    states, market = market_view(model, bars, count)
    one_hot = np.eye(model.regime.n_states, dtype=np.float32)[states]
    return Tape(bars[-count:], states, market, np.concatenate([market, one_hot], axis=1))


def inputs_of(n_states: int) -> int:
    """Values in one observation."""
    return features.MARKET_INPUTS + n_states + features.TWIN_INPUTS


def blank_policy(n_states: int) -> PolicyNet:
    """A net of one layer that always waits; holds the place of one that is yet to be trained."""
    bias = np.zeros(_POSITIONS, np.float32)
    bias[0] = 1.0
    return PolicyNet((np.zeros((inputs_of(n_states), _POSITIONS), np.float32),), (bias,), "tanh")
