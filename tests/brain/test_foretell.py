"""The filter's short cut: where every belief of some bars ago leads to one state, that state is the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.brain import regime
from oracle_batch.bundle.model import RegimeModel


def chain(rng: np.random.Generator, states: int, stickiness: float) -> RegimeModel:
    transmat = rng.dirichlet(np.ones(states), size=states) * (1 - stickiness) + np.eye(states) * stickiness
    start = rng.dirichlet(np.ones(states))
    means, whitening = np.zeros((states, 3)), np.tile(np.eye(3), (states, 1, 1))
    return RegimeModel(start, transmat, means, whitening, np.zeros(states))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    states=st.integers(1, 6),
    recent=st.integers(1, 60),
    stickiness=st.sampled_from([0.0, 0.9, 0.999, 1.0]),
    scale=st.sampled_from([0.01, 1.0, 30.0, 1000.0]),
)
def test_what_is_sure_is_what_the_whole_window_says(
    seed: int, states: int, recent: int, stickiness: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    stack = regime.stack_regimes([chain(rng, states, stickiness) for _ in range(4)])
    density = rng.normal(0, scale, (states, 4, 90))
    whole = regime.decode_filter(stack, density)
    found, sure = regime.foretell_filter(stack, density[:, :, -recent:])
    assert found[sure].tolist() == whole[sure].tolist()


def test_a_chain_that_never_forgets_is_never_sure() -> None:
    model = chain(np.random.default_rng(1), 3, 1.0)
    stack = regime.stack_regimes(
        [RegimeModel(model.startprob, np.eye(3), *(np.zeros((3, 3)), model.whitening, np.zeros(3)))]
    )
    _, sure = regime.foretell_filter(stack, np.zeros((3, 1, 90)))
    assert sure.tolist() == [False]


def test_a_chain_that_forgets_is_sure_at_once() -> None:
    rng = np.random.default_rng(2)
    stack = regime.stack_regimes([chain(rng, 4, 0.0) for _ in range(3)])
    density = np.zeros((4, 3, 20))
    density[2] = 5.0
    found, sure = regime.foretell_filter(stack, density)
    assert found.tolist() == [2, 2, 2]
    assert sure.all()


@pytest.mark.parametrize("models", [[0], [2, 0], [0, 1, 2]])
def test_taking_models_out_of_a_stack_keeps_their_decoding(models: list[int]) -> None:
    rng = np.random.default_rng(3)
    stack = regime.stack_regimes([chain(rng, 3, 0.9) for _ in range(3)])
    inputs = rng.normal(0, 1, (50, 3, 3)).astype(np.float32)
    picked = np.array(models)
    together = regime.decode_filter(stack, regime.log_density(stack, inputs))
    alone = regime.take(stack, picked)
    assert (
        regime.decode_filter(alone, regime.log_density(alone, inputs[:, picked])).tolist() == together[picked].tolist()
    )
