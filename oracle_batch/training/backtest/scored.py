"""What a model's own books say on bars that it has seen and on bars that it has not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.model import TrainingCosts
from oracle_batch.training.backtest.ledger import twin_trades
from oracle_batch.training.backtest.lives import Life, Sight, obey
from oracle_batch.training.backtest.metrics import Metrics, daily, measure, returns_of
from oracle_batch.training.honesty import baselines
from oracle_batch.training.honesty.chance import (
    deflated_sharpe,
    interval,
    mean_above_zero,
    probabilistic_sharpe,
    sharpe_rows,
)
from oracle_batch.training.honesty.trials import LEAST_SEEDS

Float64 = NDArray[np.float64]
STRESSES: Final = (1.0, 1.5, 2.0)
LEAST_DAYS: Final = 60
LEVEL: Final = 0.05


class Range(msgspec.Struct, frozen=True):
    """A value with its 95 % block-bootstrap interval."""

    value: float
    low: float
    high: float


class Baseline(msgspec.Struct, frozen=True):
    """What another way of deciding made on the same bars: its result, or the median and the 5 % and 95 % of many."""

    net: float
    net_low: float | None = None
    net_high: float | None = None
    draws: int = 1
    beaten: float | None = None


class Honesty(msgspec.Struct, frozen=True, kw_only=True):
    """How far the unseen bars' result may be believed.

    ``trials`` is how many were tried before this one, as far as anybody knows. ``deflated_sharpe`` and
    ``probabilistic_sharpe`` are probabilities that the true Sharpe ratio is above what luck explains, or above 0.
    ``overfitting`` is the probability of backtest overfitting among the trials, None without their daily results.
    """

    days: int
    trials: int
    trials_known: bool
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    p_value: float | None
    family_p_value: float | None
    overfitting: float | None
    sharpe: Range | None
    yearly_return: Range | None
    max_drawdown: Range | None
    seeds: dict[str, float] | None


def rebased(life: Life, rows: slice) -> Life:
    """The same actions on a stretch of rows, from flat."""
    cut = Life(
        *(
            getattr(life, name) if name == "model" else getattr(life, name)[rows]
            for name in ("model", "time", "close", "hmm_state", "action", "entry_price", "floating_pnl", "realized_pnl")
        )
    )
    return obey(life.model, cut, cut.action)


def stressed(costs: TrainingCosts, factor: float) -> TrainingCosts:
    """The same market at a multiple of its costs."""
    return replace(
        costs,
        spread_points=costs.spread_points * factor,
        slippage_points=costs.slippage_points * factor,
        commission_per_lot=costs.commission_per_lot * factor,
    )


def metrics_of(life: Life, balance: float, factor: float = 1.0) -> Metrics:
    """The metrics of a life that began flat, its decisions paid at a multiple of the trained costs."""
    paid = (
        life if factor == 1 else obey(replace(life.model, costs=stressed(life.model.costs, factor)), life, life.action)
    )
    exposure = float(np.mean(life.action != 0)) if len(life) else 0.0
    return measure(paid.time, balance + paid.equity, twin_trades(paid), exposure=exposure, start=balance)


def daily_returns(life: Life, balance: float) -> Float64:
    """Returns of the trading days of a life that began flat."""
    _, equity = daily(life.time, balance + life.equity)
    return returns_of(np.concatenate([[balance], equity]))


def honesty_of(
    returns: Float64,
    *,
    trials: int,
    trials_known: bool,
    trial_sharpes: Sequence[float] = (),
    overfitting: float | None = None,
    seeds: dict[str, float] | None = None,
) -> Honesty:
    """Everything that chance and selection leave of a stretch of daily returns.

    ``trial_sharpes`` are the annual Sharpe ratios of the trials, where known.
    """
    usable = len(returns) >= LEAST_DAYS and bool(returns.std() > 1e-15)
    variance = float(np.var(trial_sharpes, ddof=1)) / 252 if len(trial_sharpes) > 1 else None
    return Honesty(
        days=len(returns),
        trials=trials,
        trials_known=trials_known,
        probabilistic_sharpe=probabilistic_sharpe(returns) if usable else None,
        deflated_sharpe=deflated_sharpe(returns, trials, variance) if usable else None,
        p_value=mean_above_zero(returns) if usable else None,
        family_p_value=None,
        overfitting=overfitting,
        sharpe=_range(returns, sharpe_rows) if usable else None,
        yearly_return=_range(returns, lambda rows: rows.mean(axis=-1) * 252) if usable else None,
        max_drawdown=_range(returns, _drawdowns) if usable else None,
        seeds=seeds,
    )


def _range(returns: Float64, statistic: object) -> Range:
    found = interval(returns, statistic)  # type: ignore[arg-type]
    return Range(found.value, found.low, found.high)


def _drawdowns(rows: Float64) -> Float64:
    equity = np.cumprod(1 + np.atleast_2d(rows), axis=-1)
    equity = np.concatenate([np.ones((len(equity), 1)), equity], axis=-1)
    found: Float64 = (equity / np.maximum.accumulate(equity, axis=-1) - 1).min(axis=-1)
    return found


def compared(life: Life, sight: Sight, rows: slice) -> dict[str, Baseline]:
    """Baselines on the same bars, under the same costs. ``life`` began flat on ``rows`` of ``sight``."""
    own = float(life.equity[-1])
    chance = np.array([one.equity[-1] for one in baselines.random_same_turnover(life)])
    shuffled = np.array([rebased(one, rows).equity[-1] for one in baselines.shuffled_regime(sight)])
    return {
        "flat": Baseline(0.0, beaten=float(own > 0)),
        "always_long": _alone(float(baselines.always_long(life).equity[-1]), own),
        "random_same_turnover": _many(chance, own),
        "shuffled_regime": _many(shuffled, own),
    }


def _alone(net: float, own: float) -> Baseline:
    return Baseline(net, beaten=float(own > net))


def _many(nets: Float64, own: float) -> Baseline:
    low, high = np.quantile(nets, (0.05, 0.95))
    return Baseline(float(np.median(nets)), float(low), float(high), len(nets), float(np.mean(own > nets)))


def doubts(
    headline: Metrics | None, honesty: Honesty | None, stress: dict[str, Metrics], others: dict[str, Baseline]
) -> list[str]:
    """Why there is no evidence of an edge, in plain words; empty where nothing speaks against one."""
    if headline is None or honesty is None:
        return ["no bar is known to be unseen by the model, so nothing here is evidence"]
    found = []
    if honesty.days < LEAST_DAYS:
        found.append(f"{honesty.days} unseen days are too few, {LEAST_DAYS} are the least")
    if headline.total_return <= 0:
        found.append(f"it lost {-headline.total_return:.2%} on the unseen bars")
    if honesty.deflated_sharpe is None or honesty.deflated_sharpe < 1 - LEVEL:
        said = (
            "cannot be computed" if honesty.deflated_sharpe is None else f"is {honesty.deflated_sharpe:.2f}, below 0.95"
        )
        found.append(f"the deflated Sharpe ratio {said}")
    if honesty.sharpe is not None and honesty.sharpe.low <= 0:
        found.append(f"the interval of the Sharpe ratio reaches down to {honesty.sharpe.low:.2f}")
    if honesty.seeds is not None and honesty.seeds["count"] < LEAST_SEEDS:
        found.append(f"seeds of its training: {honesty.seeds['count']:.0f}, {LEAST_SEEDS} are the least")
    if honesty.family_p_value is not None and honesty.family_p_value > LEVEL:
        found.append(f"within its family of bundles p is {honesty.family_p_value:.2f}")
    if honesty.overfitting is not None and honesty.overfitting > 0.5:
        found.append(f"the choice among the trials is overfitted with probability {honesty.overfitting:.2f}")
    harder = stress.get("1.5")
    if harder is not None and harder.total_return <= 0 < headline.total_return:
        found.append("it loses as soon as costs are half as high again")
    random = others.get("random_same_turnover")
    if random is not None and random.beaten is not None and random.beaten < 1 - LEVEL:
        found.append(f"{1 - random.beaten:.0%} of random traders with the same turnover did as well or better")
    return found
