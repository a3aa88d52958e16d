"""Where prices reach the stop or the target of a position first: a test of whole stretches, then the engine's own."""

from __future__ import annotations

import numpy as np

from oracle_batch.broker.base import CloseReason
from oracle_batch.market import protection
from oracle_batch.market.book import OpenPosition
from oracle_batch.market.specs import Contract
from oracle_batch.market.tape import Reach
from oracle_batch.training.backtest.prices import Prices

_DUST = 1e-9
"""Of a price: what a sum of prices in binary may be off by, many times over."""


def reached(
    position: OpenPosition, prices: Prices, begin: int, end: int, low: float, high: float
) -> tuple[float, CloseReason, float] | None:
    """Price, reason and instant of the first stop or target among the prices ``begin`` to ``end``, None without one.

    ``low`` and ``high`` bound their bids. Stops trigger on the bid, on the ask, or a spread beyond: whatever lies two
    spreads away from both ends is not reached.
    """
    stop, target, long = position.stop_loss, position.take_profit, position.direction > 0
    down, up = (stop, target) if long else (target, stop)
    away = reserve(position.contract, high)
    if (down is None or low > down + away) and (up is None or high < up - away):
        return None
    if not protection.in_reach(position, {position.symbol: Reach(low, high, high)}):
        return None
    bids = prices.bid[begin:end]
    near = np.zeros(len(bids), np.bool_)
    if down is not None:
        near |= bids <= down + away
    if up is not None:
        near |= bids >= up - away
    for row in np.flatnonzero(near).tolist():
        step = prices.step(begin + row)
        trigger = protection.trigger(position, step)
        if trigger is not None:
            return *trigger, step.time
    return None


def reserve(contract: Contract, high: float) -> float:
    """How far bids of at most ``high`` stay away from a price that none of their quotes reaches."""
    return 2 * contract.spread + _DUST * high
