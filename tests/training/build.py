"""Models and tapes for tests of training: real bars, made small."""

from __future__ import annotations

from dataclasses import replace as with_
from functools import cache
from typing import Any

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.bundle.model import Model, RegimeModel, TrainingCosts
from oracle_batch.training.parameters import V1, HmmParameters
from oracle_batch.training.regimes import FittedRegimes, fit_regimes
from oracle_batch.training.tape import Tape, blank_policy, tape_of
from tests.brain.markets import SHIPPED, read

COSTS = TrainingCosts(0.00001, 5, 10.0, 7.0, 2.0, 7.0, (0.0, 0.01, 0.03, 0.05))


@cache
def bars(count: int = 1500, first: int = 0) -> Bars:
    """Real EURUSD M15 bars."""
    return read(SHIPPED / "EURUSD_M15.parquet")[first : first + count]


@cache
def regimes(n_states: int = 3) -> FittedRegimes:
    """A quick fit to some of them."""
    return fit_regimes(bars(1000), V1, HmmParameters(n_states=n_states, iterations=15, starts=1), 7, file=None)


def model(n_states: int = 3, **changes: Any) -> Model:
    """A model that always waits, with a fitted regime model."""
    regime: RegimeModel = regimes(n_states).model
    found = Model(
        "EURUSD_M15", "EURUSD", "EURUSD", "M15", "", "2.1", "filter", "full", "previous", V1, COSTS, regime,
        blank_policy(n_states),
    )  # fmt: skip
    return with_(found, **changes)


@cache
def tape(count: int = 800, n_states: int = 3) -> Tape:
    """The tape of the first bars."""
    return tape_of(model(n_states), bars(count))


def actions(rng: np.random.Generator, shape: Any, *, sticky: float = 0.5) -> np.ndarray:
    """Random actions along the first axis that stay with the one before with a probability of ``sticky``."""
    drawn = rng.integers(0, 7, shape)
    for step in range(1, len(drawn)):
        keep = rng.random(drawn[step].shape) < sticky
        drawn[step] = np.where(keep, drawn[step - 1], drawn[step])
    return drawn
