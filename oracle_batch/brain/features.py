"""Features ``v1``: what the regime model and the policy see of the market (DESIGN §3.2).

Arrays are time-major, ``(bars, columns)``: a column is one model in a live decision, or one model's whole
history in a replay. Every rolling value is a fixed sequence of element-wise operations, so that a value does
not depend on how many bars or models are computed beside it: replay and live agree to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oracle_batch.bundle.model import FeatureParams
from oracle_batch.types import WINDOW

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

MARKET_INPUTS = 6
"""Observation values that come from the market; N regime values and 3 twin values follow."""
TWIN_INPUTS = 3
EMA_CHUNK = 1024
SINE_OF_HOUR: Float64 = np.sin(2 * np.pi * np.arange(24) / 24)


@dataclass(frozen=True, slots=True)
class Columns:
    """Time-major (bars, columns) float64 arrays of the same shape, oldest bar first."""

    high: Float64
    low: Float64
    close: Float64
    volume: Float64


def rolling_sum(values: Float64, period: int, count: int) -> Float64:
    """Sums over the last ``period`` rows at each of the last ``count`` rows, oldest addend first.

    >>> rolling_sum(np.array([[1.0], [2.0], [3.0]]), 2, 2).tolist()
    [[3.0], [5.0]]
    """
    if count == 1:
        return np.add.accumulate(values[-period:], axis=0)[-1:]  # one by one, as the loop below
    first = len(values) - count - period + 1
    total = values[first : first + count].copy()
    for row in range(first + 1, first + period):
        total += values[row : row + count]
    return total


def rolling_extreme(pick: np.ufunc, values: Float64, period: int, count: int) -> Float64:
    """Highest (``np.maximum``) or lowest (``np.minimum``) of the last ``period`` rows at the last ``count`` rows.

    >>> rolling_extreme(np.maximum, np.array([[3.0], [1.0], [2.0]]), 2, 2).tolist()
    [[3.0], [2.0]]
    """
    if count == 1:
        only: Float64 = pick.reduce(values[-period:], axis=0, keepdims=True)
        return only
    best, width = values[len(values) - count - period + 1 :], 1
    while width < period:
        shift = min(width, period - width)
        best = pick(best[:-shift], best[shift:])
        width += shift
    return best


def range_position(bars: Columns, period: int, count: int) -> Float64:
    """(close − lowest) / (highest − lowest) · 2 − 1 over ``period`` bars, 0 where the range is empty."""
    lowest = rolling_extreme(np.minimum, bars.low, period, count)
    span = rolling_extreme(np.maximum, bars.high, period, count) - lowest
    inside = (bars.close[-count:] - lowest) / np.where(span > 0, span, 1.0) * 2 - 1
    return np.where(span > 0, inside, 0.0)


def regime_inputs(bars: Columns, position: Float64, params: FeatureParams, count: int) -> Float32:
    """:func:`regime_values` as the regime model takes them: (count, columns, 3) float32, without NaN."""
    return without_nan(regime_values(bars, position, params, count))


def regime_values(bars: Columns, position: Float64, params: FeatureParams, count: int) -> Float64:
    """Momentum, consistency and range position of the last ``count`` bars: (count, columns, 3).

    ``position`` is :func:`range_position` over ``hmm_range_period``.
    """
    momentum, period = params.momentum_period, params.consistency_period
    close = bars.close[-count - max(momentum, period) :]
    returns = close[1:] / close[:-1] - 1
    out = np.empty((count, close.shape[1], 3))
    out[:, :, 0] = np.clip(100 * rolling_sum(returns, momentum, count), -5, 5)
    signs = np.sign(returns)
    # up − down and up + down are sums of whole numbers, so their order cannot matter
    balance, moves = rolling_sum(signs, period, count), rolling_sum(np.abs(signs), period, count)
    stronger = (moves + np.abs(balance)) / 2
    out[:, :, 1] = (stronger / period * 2 - 1) * np.sign(balance)
    out[:, :, 2] = position
    return out


@cache
def ema_weights(span: int) -> Float64:
    """Weights of the window's closes in the recursive EMA seeded with the window's first close: (350,)."""
    alpha = 2.0 / (span + 1)
    weights = alpha * (1 - alpha) ** np.arange(WINDOW - 1, -1, -1, dtype=np.float64)
    weights[0] /= alpha
    return weights


def window_ema(close: Float64, span: int, count: int) -> Float64:
    """The EMA of each 350-bar window that ends at one of the last ``count`` bars.

    ``close`` is row-major, (columns, at least WINDOW + count - 1 bars); the result time-major, (count, columns).
    """
    weights = ema_weights(span)
    if count == 1:
        newest: Float64 = (close[:, -WINDOW:] * weights).sum(axis=-1)
        return newest[None, :]
    out = np.empty((count, len(close)))
    windows = sliding_window_view(close[:, -count - WINDOW + 1 :], WINDOW, axis=1)
    for start in range(0, count, EMA_CHUNK):
        chunk = windows[:, start : start + EMA_CHUNK] * weights
        out[start : start + EMA_CHUNK] = np.ascontiguousarray(chunk).sum(axis=-1).T
    return out


def market_inputs(
    bars: Columns, position: Float64, ema: Float64, time: NDArray[np.int64], params: FeatureParams, count: int
) -> Float32:
    """:func:`market_values` as the policy takes them: (count, columns, 6) float32, without NaN."""
    return without_nan(market_values(bars, position, ema, time, params, count))


def market_values(
    bars: Columns, position: Float64, ema: Float64, time: NDArray[np.int64], params: FeatureParams, count: int
) -> Float64:
    """The six market values of the observation at the last ``count`` bars: (count, columns, 6).

    ``position`` (:func:`range_position` over ``rl_range_period``), ``ema`` (:func:`window_ema`) and ``time``,
    the bars' open times, are (count, columns); ``bars`` must reach :func:`lookback` bars back.
    """
    close = bars.close[-count:]
    before = bars.close[-count - params.roc_period : len(bars.close) - params.roc_period]
    reach = count + params.atr_period - 1
    high, low, previous = bars.high[-reach:], bars.low[-reach:], bars.close[-reach - 1 : -1]
    true_range = np.maximum(high - low, np.maximum(np.abs(high - previous), np.abs(low - previous)))
    mean_range = rolling_sum(true_range, params.atr_period, count) / params.atr_period
    mean_volume = rolling_sum(bars.volume, params.volume_ma_period, count) / params.volume_ma_period
    mean_volume = np.where(mean_volume == 0, 1.0, mean_volume)
    out = np.empty((count, close.shape[1], MARKET_INPUTS))
    out[:, :, 0] = 20 * (close - before) / before
    out[:, :, 1] = 50 * mean_range / close
    out[:, :, 2] = 20 * (close - ema) / ema
    out[:, :, 3] = 0
    out[:, :, 4] = 2 * (bars.volume[-count:] / mean_volume - 1)
    np.tanh(out[:, :, :5], out=out[:, :, :5])
    out[:, :, 3] = position
    out[:, :, 5] = SINE_OF_HOUR[time // 3600 % 24]
    return out


def twin_inputs(direction: Float64, lots: Float64, floating_pnl: Float64) -> Float32:
    """Direction, lots · 10 and tanh(floating profit / 100), each (columns,): (columns, 3) float32."""
    out = np.empty((len(direction), TWIN_INPUTS))
    out[:, 0] = direction
    out[:, 1] = lots * 10
    out[:, 2] = np.tanh(floating_pnl / 100)
    return without_nan(out)


def without_nan(values: Float64) -> Float32:
    """NaN becomes 0, then everything float32."""
    narrow = values.astype(np.float32)
    narrow[np.isnan(narrow)] = 0
    return narrow


def both_positions(bars: Columns, params: FeatureParams, counted: int, count: int) -> tuple[Float64, Float64]:
    """Range positions for the regime's last ``counted`` bars and the policy's last ``count`` ones (count ≤ counted)."""
    position = range_position(bars, params.hmm_range_period, counted)
    if params.rl_range_period == params.hmm_range_period:
        return position, position[-count:]
    return position, range_position(bars, params.rl_range_period, count)


def lookback(params: FeatureParams, count: int) -> int:
    """Bars that the rolling values of the last ``count`` bars look at."""
    longest = max(
        params.momentum_period + 1,
        params.consistency_period + 1,
        params.hmm_range_period,
        params.roc_period + 1,
        params.atr_period + 1,
        params.rl_range_period,
        params.volume_ma_period,
    )
    return longest + count - 1


def first_full_row(params: FeatureParams) -> int:
    """The first row of a window that has all three regime inputs."""
    return max(params.momentum_period, params.consistency_period, params.hmm_range_period - 1)
