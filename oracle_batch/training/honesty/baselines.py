"""What would have been made without the model's wisdom, under the same twin and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.training.backtest.lives import Life, Sight, live, obey

RANDOM_DRAWS: Final = 200
SHUFFLES: Final = 10
LONG_WEAK: Final = 1
NAMES: Final = ("flat", "always_long", "random_same_turnover", "shuffled_regime")


def always_long(life: Life) -> Life:
    """One weak long position from the first bar on."""
    return obey(life.model, life, np.full(len(life), LONG_WEAK))


def random_same_turnover(life: Life, *, draws: int = RANDOM_DRAWS, seed: int = 0) -> Iterator[Life]:
    """The same holdings in another order: each run of one action stays as long as it was, their sequence is drawn."""
    chance = np.random.default_rng(seed)
    starts = np.flatnonzero(np.diff(life.action, prepend=-1))
    lengths = np.diff(starts, append=len(life))
    actions = life.action[starts]
    for _ in range(draws):
        order = chance.permutation(len(starts))
        yield obey(life.model, life, np.repeat(actions[order], lengths[order]))


def shuffled_regime(sight: Sight, *, draws: int = SHUFFLES, seed: int = 0) -> Iterator[Life]:
    """The model told a regime of some other bar, so that only how often each regime is seen stays true."""
    chance = np.random.default_rng(seed)
    for _ in range(draws):
        states: NDArray[np.intp] = chance.permutation(sight.hmm_state)
        yield live(replace(sight, hmm_state=states))
