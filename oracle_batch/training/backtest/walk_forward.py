"""Walk-forward: regimes and policy are fitted anew on what was known, then live through the bars that came next."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace as with_
from numpy.typing import NDArray

from oracle_batch.errors import BarError
from oracle_batch.training.backtest.lives import live, see
from oracle_batch.training.backtest.metrics import Metrics
from oracle_batch.training.backtest.run import Task
from oracle_batch.training.backtest.scored import metrics_of, rebased
from oracle_batch.training.costs import CostOptions
from oracle_batch.training.data import History, usable
from oracle_batch.training.fit import PolicyFit
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.prepare import prepare
from oracle_batch.training.silent import silent
from oracle_batch.types import WINDOW

FIRST_SHARE: Final = 0.5
"""Share of the bars that the first fit may look at; the rest is cut into the folds."""
LEAST_FOLD: Final = 50


class Fold(msgspec.Struct, frozen=True):
    """One refit: fitted on the bars before ``start``, judged on those from there to ``end`` (Unix seconds)."""

    start: int
    end: int
    fitted_on: int
    metrics: Metrics
    net: float


class WalkForward(msgspec.Struct, frozen=True, kw_only=True):
    """All folds. ``total_return`` adds their results up, as a share of the balance; ``winning`` is a share of folds."""

    folds: tuple[Fold, ...]
    steps: int
    total_return: float
    winning: float


def walk_forward(task: Task, folds: int, steps: int) -> WalkForward:
    """Refit ``folds`` times on a window that grows, with the bundle's own costs, features, regimes, net and twin.

    Raises:
        BarError: the bars are too few for so many folds.
        DataError: no regime model fits a window.
    """
    bars, model = task.bars, task.model
    first = int(len(bars) * FIRST_SHARE)
    edges: NDArray[np.intp] = np.linspace(first, len(bars), folds + 1).astype(np.intp)
    if first < 2 * WINDOW or (len(bars) - first) // folds < LEAST_FOLD:
        raise BarError(
            f"{len(bars)} bars are too few for {folds} folds",
            file=task.bars_from,
            field="--walk-forward",
            fix="give a longer history, or ask for fewer folds",
        )
    costs = model.costs
    options = CostOptions(
        costs.digits, costs.pip_value, costs.spread_points, costs.slippage_points, costs.commission_per_lot
    )
    usual = TrainingParameters()
    parameters = with_(
        usual,
        hmm=with_(
            usual.hmm,
            n_states=model.regime.n_states,
            decoding=model.decoding,
            covariance_type=model.covariance_type,
        ),
        features=model.features,
        env=with_(usual.env, lot_sizes=costs.lot_sizes, observation_pnl=model.observation_pnl),
        ppo=with_(usual.ppo, total_steps=steps, net=model.policy.shape[1:-1], activation=model.policy.activation),
    )
    found = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        known = usable(History(model.symbol, model.timeframe, bars[:begin], task.bars_from))
        prepared = prepare(known, parameters, options, model.broker_symbol)
        policy = PolicyFit(prepared.ground, parameters, parameters.seed).run(silent, lambda _: None)
        refitted = replace(prepared.ground.model, policy=policy.actor)
        sight = see(refitted, bars[begin - WINDOW + 1 : end])
        life = rebased(live(sight), slice(None))
        net = float(life.equity[-1])
        found.append(Fold(int(life.time[0]), int(life.time[-1]), begin, metrics_of(life, task.balance), net))
    return WalkForward(
        folds=tuple(found),
        steps=steps,
        total_return=sum(fold.net for fold in found) / task.balance,
        winning=float(np.mean([fold.net > 0 for fold in found])),
    )
