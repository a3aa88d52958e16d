"""How a policy did on one part of a history: its life as the product replays it, in the words of the field."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from oracle_batch.brain.decide import Replay, live_through
from oracle_batch.brain.twin import FLAT, entry_price, exit_price, half_commission, profit
from oracle_batch.bundle.model import Model, TrainingCosts
from oracle_batch.training.reward import Reward
from oracle_batch.training.tape import Tape

Float64 = NDArray[np.float64]
DAY = 86400
TRADING_DAYS = 252


@dataclass(frozen=True, slots=True)
class RoundTurn:
    """A closed trade. ``profit`` in account currency is net of spread, slippage and commission."""

    entry_time: int
    exit_time: int
    direction: int
    lots: float
    hmm_state: int
    profit: float
    costs: float


class Score(msgspec.Struct, frozen=True):
    """A part's result. Money in account currency, returns as shares of the initial balance.

    ``score`` is the mean reward of a bar, which selection goes by. ``sharpe`` is from daily equity changes, times √252;
    None where it is not defined. ``exposure`` is the share of bars with a position, ``turnover`` the lots traded.
    """

    bars: int
    score: float
    net_profit: float
    total_return: float
    max_drawdown: float
    sharpe: float | None
    sortino: float | None
    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    exposure: float
    turnover_lots: float
    costs: float
    actions_used: int


@dataclass(frozen=True, slots=True)
class Result:
    """The scored bars of a life: ``equity`` (B + 1,) starts at the first bar's eve; ``time``, ``close`` … are (B,)."""

    time: NDArray[np.int64]
    close: Float64
    equity: Float64
    actions: NDArray[np.int64]
    states: NDArray[np.int64]
    turns: list[RoundTurn]
    daily: Float64
    score: Score


def live(model: Model, tape: Tape) -> Replay:
    """The model's life over a tape from a flat twin: what ``oracle-batch replay`` does with the part's bars."""
    return live_through(model, (tape.states, tape.market), tape.bars, FLAT)


def result_of(model: Model, tape: Tape, reward: Reward, initial_balance: float) -> Result:
    """Live a part and score all of it but the tape's first bar, which ends the warm-up."""
    lived = live(model, tape)
    equity = initial_balance + np.array([twin.realized_pnl + twin.floating_pnl for twin in lived.twins])
    held = np.array([twin.direction != 0 for twin in lived.twins[1:]])
    changes = np.diff(equity)
    turns = [turn for turn in round_turns(lived, tape.bars.close, model.costs) if turn.exit_time > tape.bars.time[0]]
    daily = daily_changes(tape.bars.time[1:], equity)
    time = tape.bars.time[1:]
    lots, costs = _traded(lived, model.costs)
    score = Score(
        bars=len(changes),
        score=float(np.mean(reward.of(changes))),
        net_profit=float(equity[-1] - equity[0]),
        total_return=float((equity[-1] - equity[0]) / initial_balance),
        max_drawdown=max_drawdown(equity),
        sharpe=sharpe(daily),
        sortino=sortino(daily),
        trades=len(turns),
        exposure=float(np.mean(held)),
        turnover_lots=lots,
        costs=costs,
        actions_used=len(set(lived.actions[1:])),
        **_of_trades([turn.profit for turn in turns]),
    )
    actions, states = np.array(lived.actions[1:]), np.array(lived.hmm_states[1:])
    return Result(time, tape.bars.close[1:], equity, actions, states, turns, daily, score)


def _of_trades(profits: list[float]) -> dict[str, Any]:
    gains = sum(one for one in profits if one > 0)
    losses = -sum(one for one in profits if one < 0)
    return {
        "win_rate": sum(one > 0 for one in profits) / len(profits) if profits else None,
        "profit_factor": gains / losses if losses else None,
        "expectancy": sum(profits) / len(profits) if profits else None,
    }


def _traded(lived: Replay, costs: TrainingCosts) -> tuple[float, float]:
    """Lots bought and sold on the scored bars, and what spread, slippage and commission took."""
    traded = paid = 0.0
    point = 1.0 / costs.point / costs.points_per_pip * costs.pip_value
    entering, leaving = entry_price(0.0, 1, costs) * point, -exit_price(0.0, 1, costs) * point
    for before, after in zip(lived.twins, lived.twins[1:], strict=False):
        if (before.direction, before.intensity) == (after.direction, after.intensity):
            continue
        out, into = (costs.lot_sizes[twin.intensity] for twin in (before, after))
        traded += out + into
        paid += leaving * out + entering * into + half_commission(out, costs) + half_commission(into, costs)
    return traded, paid


def round_turns(lived: Replay, close: Float64, costs: TrainingCosts) -> list[RoundTurn]:
    """Every closed trade of a life, oldest first."""
    turns = []
    for row, (before, after) in enumerate(zip(lived.twins, lived.twins[1:], strict=False), 1):
        if not before.direction or (before.direction, before.intensity) == (after.direction, after.intensity):
            continue
        lots = costs.lot_sizes[before.intensity]
        leaving = exit_price(float(close[row]), before.direction, costs)
        commission = 2 * half_commission(lots, costs)
        gross = profit(before.entry_price, leaving, before.direction, lots, costs)
        turns.append(
            RoundTurn(
                before.entry_time,
                after.bar_time,
                before.direction,
                lots,
                before.entry_hmm_state,
                gross - commission,
                commission,
            )
        )
    return turns


def daily_changes(time: NDArray[np.int64], equity: Float64) -> Float64:
    """The change of equity of each UTC day with a bar. ``equity`` (B + 1,) starts before the first of B bars."""
    days = time // DAY
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    closing = equity[1:][last]
    return np.diff(closing, prepend=equity[0])


def max_drawdown(equity: Float64) -> float:
    """The deepest fall from a peak, as a share of that peak; 0 or negative."""
    peaks = np.maximum.accumulate(equity)
    return float(np.min(equity / peaks - 1.0))


def sharpe(daily: Float64) -> float | None:
    """Mean over standard deviation of daily changes, times √252; None below two days or where nothing changes."""
    return _ratio("sharpe_ratio", daily)


def sortino(daily: Float64) -> float | None:
    """Mean over downside deviation of daily changes, times √252; None where there is no downside."""
    return _ratio("sortino_ratio", daily)


def _ratio(name: str, daily: Float64) -> float | None:
    import empyrical

    if len(daily) < 2 or not np.ptp(daily):
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(getattr(empyrical, name)(daily, annualization=TRADING_DAYS))
    return value if np.isfinite(value) else None
