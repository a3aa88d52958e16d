"""How far chance alone explains a Sharpe ratio: block bootstrap, deflation for trials, families.

Sources: Politis & Romano, The Stationary Bootstrap (1994); Bailey & López de Prado, The Sharpe Ratio Efficient Frontier
(2012) and The Deflated Sharpe Ratio (2014); Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
DRAWS: Final = 2000
EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the range that 95 % of the bootstrap's draws lie in."""

    value: float
    low: float
    high: float


def block_length(count: int) -> int:
    """Mean length of a block in days: the cube root of the sample's length, five at least.

    >>> block_length(30), block_length(1000)
    (5, 10)
    """
    return max(5, round(math.cbrt(count)))


def block_draws(
    count: int, draws: int, seed: int, *, length: int | None = None, take: int | None = None
) -> NDArray[np.intp]:
    """Rows of the stationary bootstrap: (draws, ``take``) places in a sample of ``count``.

    Each block begins anywhere, has a geometric length, and wraps around the sample's end.
    """
    take = take or count
    chance = np.random.default_rng(seed)
    fresh = chance.random((draws, take)) < 1 / (length or block_length(count))
    fresh[:, 0] = True
    begins = chance.integers(0, count, (draws, take))
    step = np.arange(take)
    since = np.maximum.accumulate(np.where(fresh, step, 0), axis=1)
    return (np.take_along_axis(begins, since, axis=1) + step - since) % count


def interval(
    returns: Float64, statistic: Callable[[Float64], Float64], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """A statistic of daily returns, computed along the last axis, with its bootstrap interval."""
    sampled = statistic(returns[block_draws(len(returns), draws, seed)])
    low, high = np.quantile(sampled, (0.025, 0.975))
    return Interval(float(statistic(returns[None])[0]), float(low), float(high))


def sharpe_rows(returns: Float64) -> Float64:
    """Annual Sharpe ratios of rows of daily returns; 0 where a row does not vary."""
    spread = returns.std(axis=-1, ddof=1)
    found: Float64 = np.where(spread > 1e-15, returns.mean(axis=-1) / np.where(spread > 1e-15, spread, 1), 0.0)
    return found * math.sqrt(252)


def mean_above_zero(returns: Float64, *, draws: int = DRAWS, seed: int = 0) -> float:
    """One-sided p-value of a mean daily return at or below 0: the share of centred draws as large as what was seen."""
    sampled = (returns - returns.mean())[block_draws(len(returns), draws, seed)].mean(axis=1)
    return float((np.sum(sampled >= returns.mean()) + 1) / (draws + 1))


def probabilistic_sharpe(returns: Float64, benchmark: float = 0.0) -> float:
    """The probability that the true daily Sharpe ratio is above ``benchmark``, for skewed and fat-tailed returns.

    Raises:
        ValueError: fewer than three returns, or all the same.
    """
    count, spread = len(returns), returns.std(ddof=1) if len(returns) > 2 else 0.0
    if spread <= 1e-15:
        raise ValueError("the returns do not vary")
    ratio = returns.mean() / spread
    scaled = (returns - returns.mean()) / returns.std()
    skew, kurtosis = (scaled**3).mean(), (scaled**4).mean()
    width = math.sqrt(max(1e-12, 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2))
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(count - 1) / width)


def expected_best(trials: int, variance: float) -> float:
    """The best daily Sharpe ratio that so many trials without any edge are expected to show.

    >>> expected_best(1, 0.01)
    0.0
    >>> round(expected_best(100, 0.01), 4)
    0.2531
    """
    if trials < 2:
        return 0.0
    first, second = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER) * first + EULER * second)


def deflated_sharpe(returns: Float64, trials: int, variance: float | None = None) -> float:
    """The probability of an edge after selection among ``trials``.

    ``variance`` is that of the trials' daily Sharpe ratios; where it is not known, that of an estimate from so many
    days, 1 / (n − 1), stands in.
    """
    spread = 1 / (len(returns) - 1) if variance is None else variance
    return probabilistic_sharpe(returns, expected_best(trials, spread))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family, corrected so that the chance of any false discovery stays at the level.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = worst
    return found
