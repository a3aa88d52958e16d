"""What each regime turned out to be: ``hmm_state_analysis`` of a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle_batch.training.prepare import Prepared
from oracle_batch.training.tape import Tape

_NAMES = {
    1: ["market"],
    2: ["bearish", "bullish"],
    3: ["bearish", "sideways", "bullish"],
    4: ["bearish", "drifting down", "drifting up", "bullish"],
    5: ["bearish", "drifting down", "sideways", "drifting up", "bullish"],
}


def analysis(prepared: Prepared, unseen: Tape) -> list[dict[str, Any]]:
    """One entry a state, from the most bearish mean momentum to the most bullish.

    ``occupancy`` are shares of decided bars by part; ``mean_duration_bars`` is 1 / (1 − the chance to stay);
    ``next_bar_bp`` is the mean log return of the bar after one in this state, on the training part.
    """
    ground, regimes = prepared.ground, prepared.regimes
    count = len(regimes.startprob)
    names = _NAMES.get(count, [f"momentum rank {rank + 1} of {count}" for rank in range(count)])
    tapes = {"train": ground.train, "validation": ground.validation, "test": unseen}
    following = np.diff(np.log(ground.train.bars.close)) * 1e4
    before = ground.train.states[:-1]
    found = []
    for state in range(count):
        after = following[before == state]
        stay = float(regimes.transmat[state, state])
        found.append(
            {
                "state": state,
                "name": names[state],
                "mean_momentum": float(regimes.means[state, 0]),
                "mean_consistency": float(regimes.means[state, 1]),
                "mean_range_position": float(regimes.means[state, 2]),
                "stationary": float(regimes.startprob[state]),
                "mean_duration_bars": 1.0 / max(1.0 - stay, 1e-9),
                "occupancy": {part: float(np.mean(tape.states == state)) for part, tape in tapes.items()},
                "next_bar_bp": float(after.mean()) if len(after) else None,
                "next_bar_sd_bp": float(after.std()) if len(after) else None,
            }
        )
    return found
