"""Deciding together is deciding alone; replaying is deciding again and again. To the last bit."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace as with_
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.brain.decide import Brain, Decision, replay, stack_windows
from oracle_batch.brain.twin import FLAT, TwinState, step
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Decoding, Model, ObservationPnl
from oracle_batch.types import ACTIONS, WINDOW
from tests.brain.markets import invented, market
from tests.bundle.build import make_bundle

DECODINGS = ("single", "filter", "viterbi")
MARKETS = ("EURUSD", "USDJPY", "XAUUSD", "NAS100")
OTHER_PERIODS = {
    "hmm_config": {"momentum_period": 30, "consistency_period": 7, "range_period": 55},
    "rl_config": {"roc_period": 3, "atr_period": 40, "ema_period": 21, "range_period": 9, "volume_ma_period": 130},
}


@cache
def models() -> tuple[Model, ...]:
    """A crowd of different kinds: some alike in all but their weights, some alike in nothing."""
    found = []
    with TemporaryDirectory() as folder:
        for seed, (decoding, symbol) in enumerate(product(DECODINGS, MARKETS)):
            options: dict[str, Any] = {"decoding": decoding, "symbol": symbol, "seed": seed}
            variants: list[dict[str, Any]] = [
                {},
                {"n_states": 3, "covariance_type": "tied", "hidden": (32,), "activation": "relu"},
                {"observation_pnl": "current", "covariance_type": "diag", **OTHER_PERIODS},
                {"n_states": 7, "covariance_type": "spherical", "hidden": (48, 24, 12)},
            ]
            chosen = variants[0] if seed % 2 else variants[seed // 2 % 4]
            costs = {"XAUUSD": {"digits": 2, "pip_value": 1.0}, "NAS100": {"digits": 1, "pip_value": 1.0}}
            path = make_bundle(Path(folder), **options, **chosen, costs=costs.get(symbol))
            found.append(load_model(path, None))
    return tuple(found)


def bits(twin: TwinState) -> tuple[bytes, ...]:
    """Every field of a twin, floats as bytes, so that −0 is not 0."""
    return tuple(struct.pack("<d", one) for one in msgspec.structs.astuple(twin))


def histories(count: int, seed: int) -> list[Bars]:
    """A stretch of its own market for each model."""
    rng = np.random.default_rng(seed)
    found = []
    for model in models():
        bars = market(model.symbol)
        start = int(rng.integers(0, len(bars) - count))
        found.append(bars[start : start + count])
    return found


@st.composite
def twins(draw: st.DrawFn) -> TwinState:
    """Any twin that some past could have left."""
    action = ACTIONS[draw(st.integers(0, 6))]
    realized = draw(st.floats(-1e4, 1e4))
    if not action.direction:
        return TwinState(realized_pnl=realized)
    entry, floating = draw(st.floats(0.5, 2e4)), draw(st.floats(-500, 500))
    return TwinState(action.direction, action.intensity, entry, 900, 2, floating, realized, 900, action.index, 2)


def assert_same(one: Decision, other: Decision) -> None:
    """Equal in every bit."""
    assert (one.action, one.hmm_state) == (other.action, other.hmm_state)
    assert bits(one.twin) == bits(other.twin)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_crowd_decides_as_each_model_alone(data: st.DataObject) -> None:
    crowd = data.draw(st.lists(st.integers(0, len(models()) - 1), min_size=1, max_size=30))
    all_bars = histories(WINDOW, data.draw(st.integers(0, 1000)))
    bars, states = [all_bars[one] for one in crowd], [data.draw(twins()) for _ in crowd]
    together = Brain([models()[one] for one in crowd]).decide(stack_windows(bars), states)
    assert len(together) == len(crowd)
    for index, one in enumerate(crowd):
        alone = Brain([models()[one]]).decide(stack_windows([bars[index]]), [states[index]])
        assert_same(together[index], alone[0])


def test_what_is_given_is_not_changed() -> None:
    bars, states = histories(WINDOW + 5, 3), [FLAT] * len(models())
    windows = stack_windows(bars)
    kept = [getattr(windows, name).copy() for name in ("time", "high", "low", "close", "volume")]
    brain = Brain(models())
    first, second = brain.decide(windows, states), brain.decide(windows, states)
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)
    for name, before in zip(("time", "high", "low", "close", "volume"), kept, strict=True):
        assert np.array_equal(getattr(windows, name), before)
    assert TwinState() == FLAT


def test_the_window_is_the_last_350_bars() -> None:
    """What came before them changes nothing."""
    longer = histories(WINDOW + 200, 4)
    exact = [bars[-WINDOW:] for bars in longer]
    states = [FLAT] * len(models())
    brain = Brain(models())
    for one, other in zip(
        brain.decide(stack_windows(longer), states), brain.decide(stack_windows(exact), states), strict=True
    ):
        assert_same(one, other)


def decide_alone(model: Model, bars: Bars, start: TwinState, count: int) -> list[Decision]:
    """``count`` live decisions, one after another."""
    brain, state, decisions = Brain([model]), start, []
    for end in range(len(bars) - count + 1, len(bars) + 1):
        decision = brain.decide(stack_windows([bars[:end]]), [state])[0]
        decisions.append(decision)
        state = decision.twin
    return decisions


@pytest.mark.parametrize("index", range(len(DECODINGS) * len(MARKETS)))
def test_a_replay_is_as_many_single_decisions(index: int) -> None:
    count, model = 70, models()[index]
    bars = histories(WINDOW + count - 1, 5)[index]
    result = replay(model, bars, FLAT, count)
    decisions = decide_alone(model, bars, FLAT, count)
    assert result.actions == [one.action for one in decisions]
    assert result.hmm_states == [one.hmm_state for one in decisions]
    assert [bits(twin) for twin in result.twins] == [bits(one.twin) for one in decisions]
    assert result.time.tolist() == bars.time[-count:].tolist() == [twin.bar_time for twin in result.twins]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_long_replay_is_as_many_single_decisions(decoding: Decoding) -> None:
    """Longer than the chunks that a replay works in."""
    model = with_(models()[1], decoding=decoding)
    bars = market("EURUSD")[-(WINDOW + 1199) :]
    result = replay(model, bars, FLAT, 1200)
    brain = Brain([model])
    for row in (*range(3), *range(509, 516), *range(1021, 1028), 1199):
        state = result.twins[row - 1] if row else FLAT
        decision = brain.decide(stack_windows([bars[: WINDOW + row]]), [state])[0]
        assert_same(decision, Decision(result.actions[row], result.hmm_states[row], result.twins[row]))
    assert len(set(result.actions)) > 1


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 11), st.lists(st.integers(1, 119), max_size=4), st.integers(0, 1000))
def test_a_replay_in_pieces_is_the_whole(index: int, cuts: list[int], seed: int) -> None:
    count, model = 120, models()[index]
    bars = histories(WINDOW + count - 1, seed)[index]
    whole = replay(model, bars, FLAT, count)
    edges: Sequence[int] = sorted({0, *cuts, count})
    state, pieces, seen = FLAT, [], []
    for start, end in pairwise(edges):
        piece = replay(model, bars[: WINDOW - 1 + end], state, end - start)
        pieces += piece.twins
        seen.append(piece.observations)
        state = pieces[-1]
    assert [bits(twin) for twin in pieces] == [bits(twin) for twin in whole.twins]
    assert np.concatenate(seen).tobytes() == whole.observations.tobytes()


@pytest.mark.parametrize("observation_pnl", ["previous", "current"])
def test_the_observation_sees_the_twin_before_its_bar(observation_pnl: ObservationPnl) -> None:
    """Floating profit as the previous bar left it, or marked at this bar's close first; never after the action."""
    model = with_(models()[1], observation_pnl=observation_pnl)
    bars = market("EURUSD")[-(WINDOW + 299) :]
    result = replay(model, bars, FLAT, 300)
    marked = 0
    for row in range(1, 300):
        before, close = result.twins[row - 1], float(bars.close[row - 300])
        floating = before.floating_pnl
        if observation_pnl == "current" and before.direction:
            floating = step(before, before.last_action, 0, 0, close, model.costs).floating_pnl
            marked += floating != before.floating_pnl
        expected = [before.direction, model.costs.lot_sizes[before.intensity] * 10, np.tanh(floating / 100)]
        np.testing.assert_allclose(result.observations[row, -3:], np.array(expected, np.float32), rtol=0, atol=1e-7)
    assert observation_pnl == "previous" or marked > 10
    assert result.observations[0, -3:].tolist() == [0, 0, 0]


def test_observations_carry_market_one_hot_and_twin() -> None:
    for index, model in enumerate(models()):
        bars = histories(WINDOW + 9, 6)[index]
        result, n = replay(model, bars, FLAT, 10), model.regime.n_states
        assert result.observations.shape == (10, 6 + n + 3)
        assert result.observations.dtype == np.float32
        one_hot = result.observations[:, 6 : 6 + n]
        assert np.array_equal(one_hot, np.eye(n, dtype=np.float32)[result.hmm_states])


@pytest.mark.parametrize("flat", [0.5, 1.0])
def test_a_market_that_stands_still_is_decided_too(flat: float) -> None:
    """No division by an empty range or a volume of nothing gets through to the policy."""
    bars = invented(np.random.default_rng(7), WINDOW + 40, flat=flat)
    with np.errstate(all="raise", under="ignore"):
        for model in models():
            result = replay(model, bars, FLAT, 41)
            assert np.isfinite(result.observations).all()
            assert np.isfinite([twin.realized_pnl for twin in result.twins]).all()
