"""The twin against a trading environment on decimal numbers, written from the text of DESIGN §3.5."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.brain.twin import FLAT, TwinState, mark, step
from oracle_batch.bundle.model import TrainingCosts
from tests.brain.reference import EXECUTES, TradingEnvironment


def costs_of(raw: dict[str, Any]) -> TrainingCosts:
    """The same costs in the brain's form."""
    return TrainingCosts(**{**raw, "lot_sizes": tuple(raw["lot_sizes"])})


@st.composite
def any_costs(draw: st.DrawFn) -> dict[str, Any]:
    """Costs of any instrument with 0 to 5 digits."""
    digits = draw(st.integers(0, 5))
    weak, moderate, strong = sorted(draw(st.lists(st.integers(1, 500), min_size=3, max_size=3)))
    return {
        "point": float(f"1e-{digits}"),
        "digits": digits,
        "pip_value": draw(st.sampled_from([1.0, 6.7, 10.0, 0.01, 12.345])),
        "spread_points": draw(st.sampled_from([0, 1, 7, 9.5, 20])),
        "slippage_points": draw(st.sampled_from([0, 2, 0.5])),
        "commission_per_lot": draw(st.sampled_from([0.0, 7.0, 3.5, 6.125])),
        "lot_sizes": [0, weak / 100, moderate / 100, strong / 100],
    }


@st.composite
def lives(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[int, float]]]:
    """Costs, and actions at closes that move by whole points."""
    costs = draw(any_costs())
    start = draw(st.sampled_from([11_000, 150_123, 2_345_678]))
    moves = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(-300, 300)), max_size=60))
    bars, points = [], start
    for action, move in moves:
        points = max(points + move, 1000)
        bars.append((action, float(Decimal(points).scaleb(-costs["digits"]))))
    return costs, bars


def live(costs: TrainingCosts, bars: list[tuple[int, float]]) -> list[TwinState]:
    """The twin after each bar."""
    states, state = [], FLAT
    for number, (action, close) in enumerate(bars):
        state = step(state, action, number % 5, 900 * (number + 1), close, costs)
        states.append(state)
    return states


@given(lives())
def test_every_bar_is_as_in_the_training_environment(life: tuple[dict[str, Any], list[tuple[int, float]]]) -> None:
    raw, bars = life
    env = TradingEnvironment(raw)
    for (action, close), twin in zip(bars, live(costs_of(raw), bars), strict=True):
        env.step(action, close)
        assert (twin.direction, twin.intensity) == (env.direction, env.intensity) == EXECUTES[action]
        assert twin.entry_price == pytest.approx(float(env.entry), rel=1e-12)
        scale = 1e-9 * max(1.0, float(abs(env.lots)) * float(env.pip_value) / raw["point"])
        assert twin.floating_pnl == pytest.approx(float(env.floating), rel=1e-9, abs=scale)
        assert twin.realized_pnl == pytest.approx(float(env.realized), rel=1e-9, abs=scale * len(bars) + 1e-6)


@given(lives())
def test_money_is_neither_made_nor_lost_between_realized_and_floating(
    life: tuple[dict[str, Any], list[tuple[int, float]]],
) -> None:
    """Equity = what the price moves gave, less spread, slippage and commission of every round turn so far."""
    raw, bars = life
    costs = costs_of(raw)
    per_lot = raw["pip_value"] / (raw["point"] * costs.points_per_pip)
    held, moved, paid, last = (0, 0), 0.0, 0.0, 0.0
    for (action, close), twin in zip(bars, live(costs, bars), strict=True):
        moved += (close - last) * held[0] * per_lot * raw["lot_sizes"][held[1]]
        last, target = close, EXECUTES[action]
        if target != held:
            slippage, spread = (raw[name] * raw["point"] * per_lot for name in ("slippage_points", "spread_points"))
            half = raw["commission_per_lot"] / 2
            paid += raw["lot_sizes"][held[1]] * (slippage + half)
            paid += raw["lot_sizes"][target[1]] * (slippage + spread + half)
        held = target
        tolerance = 1e-6 + 1e-9 * (abs(moved) + paid + per_lot)
        assert twin.realized_pnl + twin.floating_pnl == pytest.approx(moved - paid, rel=1e-7, abs=tolerance)


@given(lives())
def test_the_books_of_a_state_are_consistent(life: tuple[dict[str, Any], list[tuple[int, float]]]) -> None:
    raw, bars = life
    previous = FLAT
    for number, (bar, twin) in enumerate(zip(bars, live(costs_of(raw), bars), strict=True)):
        action, close = bar
        assert (twin.bar_time, twin.last_action, twin.last_hmm_state) == (900 * (number + 1), action, number % 5)
        if twin.direction == 0:
            empty = (twin.intensity, twin.entry_price, twin.entry_time, twin.entry_hmm_state, twin.floating_pnl)
            assert empty == (0, 0.0, 0, -1, 0.0)
        else:
            assert twin.floating_pnl == mark(twin, close, costs_of(raw))
        if (twin.direction, twin.intensity) == (previous.direction, previous.intensity):
            assert twin.realized_pnl == previous.realized_pnl
            assert (twin.entry_price, twin.entry_time) == (previous.entry_price, previous.entry_time)
        elif twin.direction:
            assert (twin.entry_time, twin.entry_hmm_state) == (twin.bar_time, number % 5)
        previous = twin


RAW: dict[str, Any] = {
    "point": 0.00001,
    "digits": 5,
    "pip_value": 10.0,
    "spread_points": 7,
    "slippage_points": 2,
    "commission_per_lot": 7.0,
    "lot_sizes": [0, 0.01, 0.03, 0.05],
}


def test_a_round_turn_by_hand() -> None:
    """EURUSD, 0.05 lots bought at 1.10000 and sold at 1.10100."""
    opened = step(FLAT, 3, 2, 900, 1.10000, costs_of(RAW))
    assert opened.entry_price == pytest.approx(1.10009, abs=1e-12), "spread 7 + slippage 2 points"
    assert opened.floating_pnl == pytest.approx(-0.45), "9 points · 0.1 pip · 10 · 0.05"
    assert opened.realized_pnl == pytest.approx(-0.175), "half the commission"
    closed = step(opened, 0, 2, 1800, 1.10100, costs_of(RAW))
    assert closed.realized_pnl == pytest.approx((1.10098 - 1.10009) * 1e4 * 10 * 0.05 - 0.35)
    assert closed.floating_pnl == 0.0


@pytest.mark.parametrize(("digits", "pips"), [(0, 1), (1, 1), (2, 1), (3, 10), (4, 1), (5, 10)])
def test_points_per_pip(digits: int, pips: int) -> None:
    raw = {**RAW, "digits": digits, "point": float(f"1e-{digits}"), "spread_points": 0, "slippage_points": 0}
    raw["commission_per_lot"] = 0
    opened = step(FLAT, 1, 0, 900, 100.0, costs_of(raw))
    up = step(opened, 1, 0, 1800, 100.0 + 20 * raw["point"], costs_of(raw))
    assert up.floating_pnl == pytest.approx(20 / pips * 10 * 0.01, rel=1e-9)


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("second", range(7))
def test_every_transition(first: int, second: int) -> None:
    """From any target to any other: hold when nothing changes, else everything is closed and opened anew."""
    costs = costs_of(RAW)
    one = step(FLAT, first, 0, 900, 1.1, costs)
    two = step(one, second, 1, 1800, 1.2, costs)
    assert (two.direction, two.intensity) == EXECUTES[second]
    assert (two.entry_time == 900) == (first == second != 0)
    if first == second:
        assert two.realized_pnl == one.realized_pnl
    elif first:
        profit = (1.2 - one.direction * 2e-5 - one.entry_price) * one.direction * 1e5 * costs.lot_sizes[one.intensity]
        fees = 3.5 * (2 * costs.lot_sizes[one.intensity] + costs.lot_sizes[two.intensity])
        assert two.realized_pnl == pytest.approx(profit - fees)
