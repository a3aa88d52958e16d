"""Features ``v1`` against pandas, on rough bars of every kind, and their independence from what stands beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.brain import decide, features
from oracle_batch.bundle.model import FeatureParams
from oracle_batch.types import WINDOW
from tests.brain.markets import invented, market
from tests.brain.reference import frame, market_features, regime_features

pytest.importorskip("pandas")

DEFAULTS = FeatureParams(12, 12, 20, 10, 14, 200, 20, 20)
SHORTEST = FeatureParams(1, 1, 1, 1, 1, 1, 1, 1)
LONGEST = FeatureParams(349, 349, 350, 349, 349, 100_000, 350, 350)

with_previous = st.integers(1, 60) | st.integers(1, 349)
within = st.integers(1, 60) | st.integers(1, 350)
periods = st.builds(
    FeatureParams,
    with_previous,
    with_previous,
    within,
    with_previous,
    with_previous,
    st.integers(1, 2000),
    *[within] * 2,
)


def columns_of(bars: Bars) -> features.Columns:
    """One column of bars."""
    return features.Columns(*(getattr(bars, name)[:, None] for name in decide.SERIES))


def ours(bars: Bars, params: FeatureParams, counted: int) -> tuple[Any, Any]:
    """Regime inputs of the last ``counted`` bars and market inputs of the last one."""
    columns = columns_of(bars)
    position, rl_position = features.both_positions(columns, params, counted, 1)
    ema = features.window_ema(bars.close[None], params.ema_period, 1)
    market = features.market_inputs(columns, rl_position, ema, bars.time[None, -1:], params, 1)
    return features.regime_inputs(columns, position, params, counted)[:, 0], market[0, 0]


def configs(params: FeatureParams) -> tuple[dict[str, int], dict[str, int]]:
    """The two metadata sections."""
    hmm = {"momentum_period": params.momentum_period, "consistency_period": params.consistency_period}
    rl = {name: getattr(params, name) for name in ("roc_period", "atr_period", "ema_period", "volume_ma_period")}
    return {**hmm, "range_period": params.hmm_range_period}, {**rl, "range_period": params.rl_range_period}


def compare(bars: Bars, params: FeatureParams) -> None:
    """All inputs of a window, the regime's for every bar that has them."""
    hmm_config, rl_config = configs(params)
    counted = WINDOW - features.first_full_row(params)
    regime, policy = ours(bars, params, counted)
    table = frame(bars)
    reference = regime_features(table, hmm_config)
    complete = reference.dropna()
    assert len(complete) == counted
    np.testing.assert_allclose(regime, complete.to_numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(policy, market_features(table, rl_config), rtol=0, atol=1e-6)
    assert regime.dtype == policy.dtype == np.float32
    assert np.isfinite(regime).all()
    assert np.isfinite(policy).all()


@pytest.mark.parametrize("params", [DEFAULTS, SHORTEST, LONGEST], ids=["default", "shortest", "longest"])
@pytest.mark.parametrize("symbol", ["EURUSD", "USDJPY", "XAUUSD", "NAS100"])
def test_real_windows_of_other_instruments(symbol: str, params: FeatureParams) -> None:
    bars = market(symbol)
    for end in np.random.default_rng(1).integers(WINDOW, len(bars) + 1, 3).tolist():
        compare(bars[end - WINDOW : end], params)


@settings(max_examples=50, deadline=None)
@given(
    params=periods,
    seed=st.integers(0, 2**32 - 1),
    flat=st.sampled_from([0.0, 0.2, 0.9, 0.99]),
    kind=st.sampled_from([(1.1, 5), (150.0, 3), (2300.0, 2), (18000.0, 1), (0.00002, 8)]),
)
def test_any_periods_over_any_market(params: FeatureParams, seed: int, flat: float, kind: tuple[float, int]) -> None:
    price, digits = kind
    compare(invented(np.random.default_rng(seed), WINDOW, price=price, digits=digits, flat=flat), params)


def still(volume: float = 0.0) -> Bars:
    """A market in which nothing happens."""
    price = np.full(WINDOW, 1.1)
    return Bars(np.arange(1, WINDOW + 1) * 900, price, price, price, price, np.full(WINDOW, volume))


def test_a_dead_market_gives_zeros_and_the_hour() -> None:
    bars = still()
    regime, policy = ours(bars, DEFAULTS, 1)
    hour = int(bars.time[-1]) // 3600 % 24
    assert regime[0].tolist() == [0.0, 0.0, 0.0]
    assert policy[:4].tolist() == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert policy[4] == np.float32(np.tanh(-2.0)), "a mean volume of 0 counts as 1: 2 · (0 / 1 − 1)"
    assert policy[5] == np.float32(np.sin(2 * np.pi * hour / 24))


def test_an_even_split_of_ups_and_downs_has_no_consistency() -> None:
    close = np.full(WINDOW, 1.1)
    close[1::2] = 1.2
    bars = Bars(np.arange(1, WINDOW + 1) * 900, close, close, close, close, np.ones(WINDOW))
    assert ours(bars, DEFAULTS, 1)[0][0, 1] == 0.0


def test_few_moves_in_one_direction_count_against_that_direction() -> None:
    """Two ups in twelve bars: (2 / 12 · 2 − 1) · 1, a negative consistency. That is the formula."""
    close = np.full(WINDOW, 1.1)
    close[-2:] = [1.2, 1.3]
    bars = Bars(np.arange(1, WINDOW + 1) * 900, close, close, close, close, np.ones(WINDOW))
    assert ours(bars, DEFAULTS, 1)[0][0, 1] == np.float32(2 / 12 * 2 - 1)


def test_momentum_is_clipped_on_both_sides() -> None:
    for factor, clipped in ((1.2, 5.0), (1 / 1.2, -5.0)):
        close = 1.1 * factor ** np.arange(WINDOW, dtype=float)
        bars = Bars(np.arange(1, WINDOW + 1) * 900, close, close, close, close, np.ones(WINDOW))
        assert ours(bars, DEFAULTS, 1)[0][0, 0] == clipped


def test_a_volume_that_dries_up_leaves_no_residue() -> None:
    """Rolling means that add and subtract keep a rest of huge volumes; here a dead stretch has mean 0 exactly."""
    bars = still()
    bars.volume[:-20] = 1e15 / 3
    assert ours(bars, DEFAULTS, 1)[1][4] == np.float32(np.tanh(-2.0))


@pytest.mark.parametrize("hour", range(24))
def test_the_hour_is_that_of_the_open_in_utc(hour: int) -> None:
    bars = still(3.0)
    bars.time[:] += 20_000 * 86400 + hour * 3600 + 59 * 60 - bars.time[-1]
    assert ours(bars, DEFAULTS, 1)[1][5] == np.float32(np.sin(2 * np.pi * hour / 24))


def test_twin_inputs() -> None:
    values = features.twin_inputs(np.array([-1, 0, 1]), np.array([0.05, 0, 0.01]), np.array([-50.0, 0, np.nan]))
    assert values.dtype == np.float32
    expected = [[-1, 0.5, np.tanh(-0.5)], [0, 0, 0], [1, 0.1, 0]]
    np.testing.assert_array_equal(values, np.array(expected, np.float32))


@settings(max_examples=25, deadline=None)
@given(params=periods, seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60))
def test_a_value_does_not_depend_on_its_neighbours(params: FeatureParams, seed: int, count: int) -> None:
    """Many bars at once, many models at once or one alone: the same bits."""
    rng = np.random.default_rng(seed)
    histories = [invented(rng, WINDOW + count - 1, flat=0.1) for _ in range(3)]
    wide = features.Columns(*(np.stack([getattr(one, n) for one in histories], axis=1) for n in decide.SERIES))
    close = np.stack([one.close for one in histories])
    time = np.stack([one.time for one in histories], axis=1)[-count:]
    position, rl_position = features.both_positions(wide, params, count, count)
    regime = features.regime_inputs(wide, position, params, count)
    ema = features.window_ema(close, params.ema_period, count)
    policy = features.market_inputs(wide, rl_position, ema, time, params, count)
    for column, bars in enumerate(histories):
        for row in {0, count // 2, count - 1}:
            one_regime, one_policy = ours(bars[row : row + WINDOW], params, 1)
            assert regime[row, column].tobytes() == one_regime[0].tobytes()
            assert policy[row, column].tobytes() == one_policy.tobytes()
