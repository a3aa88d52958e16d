"""The probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Source: Bailey, Borwein, López de Prado & Zhu, The Probability of Backtest Overfitting (2016).
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.training.honesty.chance import sharpe_rows

BLOCKS: Final = 10
"""Even number of blocks; 252 ways to take half of them."""


def probability_of_overfitting(returns: NDArray[np.float64], blocks: int = BLOCKS) -> float:
    """How often the trial that is best on one half of the days is below the median on the other half.

    ``returns`` (days, trials) are daily returns of all trials on the same days.

    Raises:
        ValueError: fewer than two trials, or fewer than two days a block.
    """
    days, trials = returns.shape
    if trials < 2 or days < 2 * blocks:
        raise ValueError(f"{trials} trials over {days} days: at least 2 over {2 * blocks} are needed")
    parts = np.array_split(np.arange(days), blocks)
    below = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[one] for one in chosen])
        outside = np.concatenate([parts[one] for one in range(blocks) if one not in chosen])
        best = int(np.argmax(sharpe_rows(returns[inside].T)))
        after = sharpe_rows(returns[outside].T)
        rank = (np.sum(after < after[best]) + 0.5 * (np.sum(after == after[best]) + 1)) / (trials + 1)
        below.append(rank < 0.5 or (rank == 0.5 and trials > 2))
    return float(np.mean(below))
