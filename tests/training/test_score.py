"""What a part's result says, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace as with_

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.brain.decide import Replay
from oracle_batch.brain.twin import FLAT, step
from oracle_batch.training import score
from oracle_batch.training.reward import Reward
from oracle_batch.training.tape import Tape
from tests.training.build import COSTS, model

PIP = 0.0001
NONE = np.empty((0, 0), np.float32)


def lived(actions: list[int], close: np.ndarray, first: int = 900) -> Replay:
    """The twin's life under given actions."""
    twins, state = [], FLAT
    times = first + 900 * np.arange(len(actions))
    for action, price, time in zip(actions, close.tolist(), times.tolist(), strict=True):
        state = step(state, action, 1, time, price, COSTS)
        twins.append(state)
    return Replay(times, actions, [1] * len(actions), twins, NONE)


CLOSE = 1.1 + PIP * np.array([0, 0, 10, 20, 10, 10])
ACTIONS = [0, 3, 3, 6, 0, 0]
LONG = (20 - 0.9 - 0.2) * 10 * 0.05 - 7 * 0.05
SHORT = (10 - 0.9 - 0.2) * 10 * 0.05 - 7 * 0.05


def result(monkeypatch: pytest.MonkeyPatch, actions: list[int] = ACTIONS, close: np.ndarray = CLOSE) -> score.Result:
    life = lived(actions, close)
    flat = np.zeros(len(close))
    tape = Tape(Bars(life.time, close, close, close, close, flat), np.zeros(len(close), np.intp), NONE, NONE)
    monkeypatch.setattr(score, "live", lambda *_: life)
    return score.result_of(with_(model()), tape, Reward(2.0, 0.0), 10_000.0)


def test_a_reversal_is_two_round_turns_net_of_their_costs() -> None:
    long, short = score.round_turns(lived(ACTIONS, CLOSE), CLOSE, COSTS)
    assert (long.direction, short.direction) == (1, -1)
    assert (long.entry_time, long.exit_time, short.exit_time) == (1800, 3600, 4500)
    assert long.profit == pytest.approx(LONG)
    assert short.profit == pytest.approx(SHORT)
    assert long.costs == pytest.approx(0.35)


def test_the_numbers_of_a_life(monkeypatch: pytest.MonkeyPatch) -> None:
    found = result(monkeypatch).score
    assert found.bars == 5
    assert found.net_profit == pytest.approx(LONG + SHORT)
    assert found.total_return == pytest.approx((LONG + SHORT) / 10_000)
    assert found.score == pytest.approx((LONG + SHORT) / 2.0 / 5)
    assert (found.trades, found.win_rate, found.profit_factor) == (2, 1.0, None)
    assert found.expectancy == pytest.approx((LONG + SHORT) / 2)
    assert found.exposure == pytest.approx(3 / 5)
    assert found.turnover_lots == pytest.approx(4 * 0.05)
    assert found.costs == pytest.approx(2 * (1.1 * 10 * 0.05 + 7 * 0.05))
    assert found.actions_used == 3


def test_a_life_without_trades_has_no_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    found = result(monkeypatch, [0] * 6).score
    assert (found.net_profit, found.max_drawdown, found.trades, found.exposure) == (0.0, 0.0, 0, 0.0)
    assert (found.sharpe, found.sortino, found.win_rate, found.profit_factor, found.expectancy) == (None,) * 5


def test_losses_and_gains_make_the_profit_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    found = result(monkeypatch, [0, 3, 0, 3, 0, 0]).score
    win, loss = (10 - 1.1) * 0.5 - 0.35, (-10 - 1.1) * 0.5 - 0.35
    assert found.win_rate == 0.5
    assert found.profit_factor == pytest.approx(win / -loss)
    assert found.max_drawdown < 0


def test_the_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    assert score.max_drawdown(np.array([100.0, 110.0, 99.0, 120.0, 114.0])) == pytest.approx(-0.1)


def test_daily_changes_end_with_each_utc_day() -> None:
    time = np.array([0, 43200, 86400, 86400 + 900, 5 * 86400])
    equity = np.array([10.0, 11.0, 13.0, 12.0, 16.0, 15.0])
    assert score.daily_changes(time, equity).tolist() == [3.0, 3.0, -1.0]


def test_the_ratios_are_daily_and_annualised_by_252() -> None:
    daily = np.array([1.0, -2.0, 3.0, 0.5])
    assert score.sharpe(daily) == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(252))
    downside = np.sqrt(np.mean(np.minimum(daily, 0) ** 2))
    assert score.sortino(daily) == pytest.approx(daily.mean() / downside * np.sqrt(252))
    assert score.sharpe(np.array([1.0])) is None
    assert score.sharpe(np.zeros(9)) is None
    assert score.sortino(np.array([1.0, 2.0])) is None
