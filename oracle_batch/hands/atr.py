"""The average true range of closed bars, as a price distance."""

from __future__ import annotations

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.brain.features import rolling_sum


def atr(bars: Bars, period: int) -> float | None:
    """Mean true range of the last ``period`` bars; None where fewer than ``period + 1`` bars are there.

    TR = max(h − l, |h − c₋₁|, |l − c₋₁|), and the plain mean of it, as in the policy's observation (DESIGN §3.2).
    """
    if period < 1 or len(bars) <= period:
        return None
    high, low, previous = bars.high[-period:], bars.low[-period:], bars.close[-period - 1 : -1]
    true_range = np.maximum(high - low, np.maximum(np.abs(high - previous), np.abs(low - previous)))
    return float(rolling_sum(true_range[:, None], period, 1)[0, 0] / period)
