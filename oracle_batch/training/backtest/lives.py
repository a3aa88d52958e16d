"""A model's life over a history: what the brain sees, what it decides, and what the twin's books make of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.brain import decide
from oracle_batch.bundle.model import Model, TrainingCosts
from oracle_batch.errors import BarError
from oracle_batch.training.backtest.life import DIRECTION as DIRECTION
from oracle_batch.training.backtest.life import INTENSITY as INTENSITY
from oracle_batch.training.backtest.life import Float32, Float64, Ints
from oracle_batch.training.backtest.life import Life as Life
from oracle_batch.training.backtest.life import Sight as Sight
from oracle_batch.training.backtest.life import profits as profits
from oracle_batch.training.backtest.walk import Walk
from oracle_batch.types import WINDOW


def see(model: Model, bars: Bars) -> Sight:
    """What a model sees from the 350th bar on.

    Raises:
        BarError: fewer than 350 bars.
    """
    count = len(bars) - WINDOW + 1
    if count < 1:
        raise BarError(
            f"{model.model_id}: {len(bars)} bars, {WINDOW} are needed", field="bars", fix="give a longer history"
        )
    states, market = decide.market_view(model, bars, count)
    return Sight(model, bars.time[-count:], np.ascontiguousarray(bars.close[-count:]), states, market)


def live(sight: Sight) -> Life:
    """The model's life from its first row on, from a flat twin."""
    action, entry = Walk(sight).through()
    return _with_money(sight.model, sight, action, entry)


def joins(sight: Sight, starts: Sequence[int]) -> NDArray[np.int64]:
    """After how many bars a flat twin that begins at each row is the one that began at row 0; -1: never."""
    walk = Walk(sight)
    walk.through()
    begin = np.array(starts, np.intp)
    last = walk.follow(begin, np.zeros(len(begin), np.intp), np.zeros(len(begin)), np.full(len(begin), len(sight)))
    return np.where(last >= 0, last - begin + 1, -1)


def obey(model: Model, over: Sight | Life, action: Ints) -> Life:
    """The twin's books under given actions, one a row, whoever thought of them."""
    costs, direction = model.costs, DIRECTION[action]
    turns = np.flatnonzero(np.diff(action, prepend=0))
    entries = over.close[turns] + direction[turns] * (costs.spread_points + costs.slippage_points) * costs.point
    latest = np.concatenate([[0.0], entries])[np.searchsorted(turns, np.arange(len(action)), side="right")]
    return _with_money(model, over, action, np.where(direction != 0, latest, 0.0))


def observations(sight: Sight, life: Life) -> Float32:
    """What the policy saw on each row of a life: (T, inputs)."""
    walk = Walk(sight)
    before = np.concatenate([[0], life.action[:-1]])
    entry = np.concatenate([[0.0], life.entry_price[:-1]])
    rows = np.arange(len(sight))[:, None]
    return walk.observations(rows, before, entry)[:, 0]


def _with_money(model: Model, over: Sight | Life, action: Ints, entry: Float64) -> Life:
    costs, lots = model.costs, np.array(model.costs.lot_sizes, np.float64)
    direction = DIRECTION[action]
    floating = profits(costs, entry, over.close, direction, lots[INTENSITY[action]])
    floating = np.where(direction != 0, floating, 0.0)
    realized = _realized(costs, over.close, action, entry)
    return Life(model, over.time, over.close, over.hmm_state, action, entry, floating, realized)


def _realized(costs: TrainingCosts, closes: Float64, action: Ints, entry: Float64) -> Float64:
    """Profit taken so far, booked in the twin's order: what a turn closes, then what its opening costs."""
    sizes = np.array(costs.lot_sizes, np.float64)
    turns = np.flatnonzero(np.diff(action, prepend=0))
    old = np.concatenate([[0], action])[turns]
    out, lots = DIRECTION[old], sizes[INTENSITY[old]]
    leaving = closes[turns] - out * costs.slippage_points * costs.point
    before = np.concatenate([[0.0], entry])[turns]
    won = profits(costs, before, leaving, out, lots) - costs.commission_per_lot * lots / 2.0
    opening = costs.commission_per_lot * sizes[INTENSITY[action[turns]]] / 2.0
    booked = np.zeros(1 + 2 * len(turns))
    booked[1::2] = np.where(out != 0, won, 0.0)
    booked[2::2] = np.where(DIRECTION[action[turns]] != 0, -opening, 0.0)
    after = np.add.accumulate(booked)[::2]
    return after[np.searchsorted(turns, np.arange(len(action)), side="right")]
