"""What a backtest came to, in the field's words. Ratios are made from daily equity, a year has 252 of them."""

from __future__ import annotations

import math
import warnings
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from oracle_batch.training.backtest.ledger import Trades

Float64 = NDArray[np.float64]
DAY_S: Final = 86400
DAY_ZONE: Final = "America/New_York"
DAY_END_S: Final = 17 * 3600
YEAR_S: Final = 365.25 * DAY_S
DAYS_A_YEAR: Final = 252


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are fractions, money in account currency; None: not defined, as a ratio of nothing.

    ``sharpe``, ``sortino`` and ``volatility`` are annual; ``calmar`` is CAGR over the maximum drawdown. ``expectancy``
    is the mean net result of a trade, ``profit_factor`` won over lost money, ``exposure`` the share of bars in a
    position, ``turnover`` what was bought and sold in a year over the mean equity, ``cost_share`` spread, slippage and
    commission over the absolute gross results of all trades.
    """

    days: int
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    trades: int
    profit_factor: float | None
    win_rate: float | None
    expectancy: float | None
    exposure: float
    turnover: float | None
    costs: float
    swap: float
    cost_share: float | None


def day_of(time: NDArray[np.generic]) -> NDArray[np.int64]:
    """The trading day of each instant: days since 1970 that end at 17:00 New York, so that Sunday evening is Monday.

    >>> day_of(np.array([1_704_664_799, 1_704_664_800])).tolist()  # Sunday 2024-01-07 21:59:59Z and 22:00Z
    [19729, 19730]
    """
    seconds = np.asarray(time, np.int64)
    days, which = np.unique(seconds // DAY_S, return_inverse=True)
    zone = ZoneInfo(DAY_ZONE)
    noons = (datetime.fromtimestamp(int(day) * DAY_S + DAY_S // 2, UTC).astimezone(zone) for day in days)
    offsets = np.array([noon.utcoffset().total_seconds() for noon in noons], np.int64)  # type: ignore[union-attr]
    found: NDArray[np.int64] = (seconds + (offsets[which] if len(days) else 0) + DAY_S - DAY_END_S) // DAY_S
    return found


def daily(time: NDArray[np.generic], equity: Float64) -> tuple[NDArray[np.int64], Float64]:
    """The last equity of each trading day that has one: days and values.

    >>> daily(np.array([0, 79199, 79200]), np.array([1.0, 2.0, 3.0]))
    (array([0, 1]), array([2., 3.]))
    """
    day = day_of(time)
    last = np.flatnonzero(np.diff(day, append=day[-1:] + 1)) if len(day) else np.empty(0, np.intp)
    return day[last], equity[last]


def returns_of(equity: Float64) -> Float64:
    """Day over day, the first value being where it began."""
    return equity[1:] / equity[:-1] - 1


def measure(time: NDArray[np.generic], equity: Float64, trades: Trades, *, exposure: float, start: float) -> Metrics:
    """The metrics of an equity curve (``time`` in Unix seconds) that began at ``start`` money, and of its trades."""
    _, days = daily(time, equity)
    returns = returns_of(np.concatenate([[start], days]))
    seconds = float(time[-1] - time[0]) if len(time) > 1 else 0.0
    won, lost = trades.net[trades.net > 0].sum(), -trades.net[trades.net < 0].sum()
    gross = float(np.abs(trades.gross).sum())
    ratios = _ratios(returns)
    return Metrics(
        days=len(days),
        total_return=float(equity[-1] / start - 1) if len(equity) else 0.0,
        **ratios,
        max_drawdown=drawdown(np.concatenate([[start], equity])),
        trades=len(trades),
        profit_factor=_number(won / lost) if lost else None,
        win_rate=float((trades.net > 0).mean()) if len(trades) else None,
        expectancy=float(trades.net.mean()) if len(trades) else None,
        exposure=exposure,
        turnover=float(trades.notional.sum() / equity.mean() / (seconds / YEAR_S)) if seconds else None,
        costs=float(trades.costs.sum()),
        swap=float(trades.swap.sum()),
        cost_share=float(trades.costs.sum()) / gross if gross else None,
    )


def drawdown(equity: Float64) -> float:
    """The deepest fall from a peak, as a negative fraction of it.

    >>> drawdown(np.array([100.0, 120.0, 90.0, 130.0]))
    -0.25
    """
    if not len(equity):
        return 0.0
    peaks = np.maximum.accumulate(equity)
    return float((equity / peaks - 1).min())


def sharpe(returns: Float64) -> float | None:
    """Mean over standard deviation (n − 1) of daily returns, times √252; None where they do not vary."""
    spread = returns.std(ddof=1) if len(returns) > 1 else 0.0
    return float(returns.mean() / spread * math.sqrt(DAYS_A_YEAR)) if spread > 1e-15 else None


def _ratios(returns: Float64) -> dict[str, float | None]:
    names = ("cagr", "volatility", "sharpe", "sortino", "calmar")
    if len(returns) < 2:
        return dict.fromkeys(names)
    import empyrical

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = (
            empyrical.cagr(returns),
            empyrical.annual_volatility(returns),
            sharpe(returns),
            empyrical.sortino_ratio(returns),
            empyrical.calmar_ratio(returns),
        )
    return {name: _number(value) for name, value in zip(names, found, strict=True)}


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
