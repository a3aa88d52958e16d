"""The three decodings against hmmlearn and a forward filter in logarithms, for every covariance type."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.brain import regime
from oracle_batch.brain.gaussian import COVARIANCE_TYPES, gaussian_from_covariances
from oracle_batch.bundle.model import RegimeModel
from tests.brain.markets import SHIPPED, read
from tests.brain.reference import forward_in_logs, frame, regime_features

DEFAULT = {"momentum_period": 12, "consistency_period": 12, "range_period": 20}
BARS = 331
"""Bars of a 350-bar window that have all three inputs under the default periods."""


@cache
def real_inputs() -> Any:
    """Regime inputs of 2000 real bars, float32."""
    pytest.importorskip("pandas")
    bars = read(SHIPPED / "EURUSD_M15.parquet")[-2020:]
    return regime_features(frame(bars), DEFAULT).dropna().to_numpy().astype(np.float32)


def model_of(hmm: Any) -> RegimeModel:
    """A fitted hmmlearn model in the brain's form."""
    stored = np.asarray(hmm._covars_, np.float64)
    factors = gaussian_from_covariances(hmm.covariance_type, stored, hmm.n_components)
    return RegimeModel(hmm.startprob_, hmm.transmat_, hmm.means_, *factors)


@cache
def fitted(covariance_type: str, n_states: int) -> Any:
    """A model that hmmlearn fits to real inputs, and how it starts is made less certain than EM leaves it."""
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    model = hmmlearn.GaussianHMM(n_states, covariance_type=covariance_type, n_iter=12, random_state=n_states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(real_inputs()[:1200].astype(np.float64))
    model.startprob_ = (model.startprob_ + 0.2) / (model.startprob_ + 0.2).sum()
    return model


def windows(count: int, seed: int) -> Any:
    """``count`` stretches of real inputs: (BARS, count, 3) float32."""
    starts = np.random.default_rng(seed).integers(0, len(real_inputs()) - BARS, count)
    return np.stack([real_inputs()[start : start + BARS] for start in starts], axis=1)


def by_model(density: Any) -> Any:
    """Log densities (N, T, M) in the order the decoders take, (N, M, T)."""
    return density.swapaxes(1, 2)


def in_logs(model: RegimeModel, density: Any) -> Any:
    """Filtered log joint of the last bar for one model: ``density`` (N, T) → (N,)."""
    with np.errstate(divide="ignore"):
        start, transitions = np.log(model.startprob), np.log(model.transmat)
    return forward_in_logs(start, transitions, density.T)[-1]


kinds = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
sizes = pytest.mark.parametrize("n_states", [1, 2, 3, 5, 7])


@kinds
@sizes
def test_single_is_hmmlearns_prediction_of_one_observation(covariance_type: str, n_states: int) -> None:
    hmm = fitted(covariance_type, n_states)
    inputs = real_inputs()[-300:]
    ours = regime.decode_single(regime.stack_regimes([model_of(hmm)]), inputs[:, None])[:, 0]
    assert ours.tolist() == [int(hmm.predict(one[None])[0]) for one in inputs]


@kinds
@sizes
def test_viterbi_is_hmmlearns_path(covariance_type: str, n_states: int) -> None:
    hmm, inputs = fitted(covariance_type, n_states), windows(30, 5)
    stack = regime.stack_regimes([model_of(hmm)])
    ours = regime.decode_viterbi(stack, regime.log_density(stack, inputs))
    assert ours.tolist() == [int(hmm.predict(inputs[:, column])[-1]) for column in range(30)]


@kinds
@sizes
def test_filter_is_hmmlearns_forward_pass(covariance_type: str, n_states: int) -> None:
    from hmmlearn import _hmmc

    hmm, inputs = fitted(covariance_type, n_states), windows(30, 6)
    model = model_of(hmm)
    stack = regime.stack_regimes([model])
    ours = regime.decode_filter(stack, regime.log_density(stack, inputs))
    theirs = []
    for column in range(30):
        density = hmm._compute_log_likelihood(inputs[:, column].astype(np.float64))
        _, lattice = _hmmc.forward_log(hmm.startprob_, hmm.transmat_, density)
        theirs.append(int(np.argmax(lattice[-1])))
        assert theirs[-1] == int(np.argmax(in_logs(model, density.T)))
    assert ours.tolist() == theirs


@kinds
def test_densities_are_hmmlearns(covariance_type: str) -> None:
    hmm, inputs = fitted(covariance_type, 5), real_inputs()[:200]
    ours = regime.log_density(regime.stack_regimes([model_of(hmm)]), inputs[:, None])[:, 0].T
    np.testing.assert_allclose(ours, hmm._compute_log_likelihood(inputs.astype(np.float64)), rtol=1e-9, atol=1e-9)


DECODINGS = {
    "single": lambda stack, inputs: regime.decode_single(stack, inputs[-1:])[0],
    "filter": lambda stack, inputs: regime.decode_filter(stack, regime.log_density(stack, inputs)),
    "viterbi": lambda stack, inputs: regime.decode_viterbi(stack, regime.log_density(stack, inputs)),
}


@pytest.mark.parametrize("decoding", list(DECODINGS))
def test_a_stack_decodes_each_model_as_alone(decoding: str) -> None:
    models = [model_of(fitted(kind, 5)) for kind in COVARIANCE_TYPES] * 4
    inputs = windows(len(models), 8)
    together = DECODINGS[decoding](regime.stack_regimes(models), inputs)
    alone = [
        int(DECODINGS[decoding](regime.stack_regimes([one]), inputs[:, column : column + 1])[0])
        for column, one in enumerate(models)
    ]
    assert together.tolist() == alone
    assert len(set(alone)) > 1


# Degenerate models. Their densities are made by hand: (N, T, M).


def by_hand(startprob: Any, transmat: Any) -> RegimeModel:
    """A model of which only the chain matters."""
    n = len(startprob)
    startprob, transmat = np.array(startprob, np.float64), np.array(transmat, np.float64)
    return RegimeModel(startprob, transmat, np.zeros((n, 3)), np.tile(np.eye(3), (n, 1, 1)), np.zeros(n))


def test_a_one_hot_start_without_way_out_never_changes_its_state() -> None:
    """The trap of ``single``, and of an absorbing state: whatever is observed, the start decides."""
    model = by_hand([0, 1, 0], np.eye(3))
    stack = regime.stack_regimes([model])
    rng = np.random.default_rng(3)
    assert set(regime.decode_single(stack, rng.normal(0, 3, (50, 1, 3)).astype(np.float32))[:, 0].tolist()) == {1}
    density = rng.normal(-500, 300, (3, 60, 4))
    assert regime.decode_filter(stack, by_model(density)).tolist() == [1] * 4
    assert regime.decode_viterbi(stack, by_model(density)).tolist() == [1] * 4


def test_equal_states_decode_to_the_first() -> None:
    stack = regime.stack_regimes([by_hand([0.25] * 4, np.full((4, 4), 0.25))])
    density = np.full((4, 30, 2), -3.0)
    assert regime.decode_filter(stack, by_model(density)).tolist() == [0, 0]
    assert regime.decode_viterbi(stack, by_model(density)).tolist() == [0, 0]
    assert regime.decode_single(stack, np.zeros((5, 1, 3), np.float32))[:, 0].tolist() == [0] * 5


def test_observations_that_no_state_explains() -> None:
    """A jump at which every likelihood is below the smallest float: logarithms still tell the states apart."""
    model = by_hand([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]])
    stack = regime.stack_regimes([model])
    density = np.zeros((2, 40, 1))
    density[:, 20:, 0] = [[-90_000.0], [-80_000.0]]
    assert regime.decode_filter(stack, by_model(density)).tolist() == [1]
    assert regime.decode_viterbi(stack, by_model(density)).tolist() == [1]


def test_a_chain_that_forbids_what_is_observed() -> None:
    """The only reachable state explains the observations by far worst: its belief vanishes unless kept in logs."""
    model = by_hand([1, 0, 0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    stack = regime.stack_regimes([model])
    density = np.zeros((3, 41, 1))
    for bar in range(41):
        density[bar % 3, bar] = -2000.0
    assert regime.decode_filter(stack, by_model(density)).tolist() == [40 % 3]
    assert regime.decode_viterbi(stack, by_model(density)).tolist() == [40 % 3]


def test_one_vanishing_model_does_not_disturb_its_neighbours() -> None:
    cycle = by_hand([1, 0, 0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    calm = by_hand([0.3, 0.3, 0.4], np.full((3, 3), 1 / 3))
    density = np.random.default_rng(4).normal(-3, 2, (3, 41, 3))
    for bar in range(41):
        density[bar % 3, bar, 1] = -2000.0
    together = regime.decode_filter(regime.stack_regimes([calm, cycle, calm]), by_model(density))
    assert together[1] == 40 % 3
    for column in (0, 2):
        alone = regime.decode_filter(regime.stack_regimes([calm]), by_model(density[:, :, column : column + 1]))
        assert together[column] == alone[0]


@st.composite
def chains(draw: st.DrawFn, *, forbidding: bool) -> tuple[RegimeModel, Any]:
    """Chains under densities from mild to monstrous; forbidding ones have zero and tiny transitions."""
    n, bars = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    power = draw(st.sampled_from([4, 40] if forbidding else [0, 2]))
    transmat = np.exp(-power * rng.exponential(1.0, (n, n)))
    if forbidding:
        transmat[rng.random((n, n)) < 0.3] = 0
        transmat[np.arange(n), rng.integers(0, n, n)] += 0.5
    startprob = np.where(rng.random(n) < 0.4, 0.0, rng.random(n))
    startprob[rng.integers(0, n)] += 0.1
    density = rng.normal(0, draw(st.sampled_from([1.0, 30.0, 700.0, 1e5])), (n, bars, 1))
    return by_hand(startprob / startprob.sum(), transmat / transmat.sum(axis=1, keepdims=True)), density


def is_clear(scores: Any) -> bool:
    """Whether rounding cannot decide which score is the highest."""
    top = np.sort(scores)
    return len(top) == 1 or not top[-1] - top[-2] < 1e-8 * max(1.0, abs(top[-1]))


def check_filter(model: RegimeModel, density: Any) -> None:
    """The state is the one of the log-space recursion, where that one is not a tie."""
    scores = in_logs(model, density[:, :, 0])
    if is_clear(scores):
        assert regime.decode_filter(regime.stack_regimes([model]), by_model(density)).tolist() == [
            int(np.argmax(scores))
        ]


@settings(max_examples=200, deadline=None)
@given(chains(forbidding=False))
def test_filter_equals_logarithms_whatever_is_observed(chain: tuple[RegimeModel, Any]) -> None:
    check_filter(*chain)


@settings(max_examples=200, deadline=None)
@given(chains(forbidding=True))
def test_filter_equals_logarithms_under_forbidden_transitions(chain: tuple[RegimeModel, Any]) -> None:
    check_filter(*chain)


@pytest.mark.parametrize(("behind", "caught_up"), [(200.0, 50.0), (2000.0, 500.0)], ids=["rescaled", "in logarithms"])
def test_a_belief_that_vanished_beside_a_healthy_one_can_come_back(behind: float, caught_up: float) -> None:
    """State 1 falls behind by more than the smallest float can tell, then makes up for it bar by bar."""
    density = np.zeros((2, 49, 1))
    density[1, :8] = -behind
    density[0, 8:] = -caught_up
    check_filter(by_hand([0.5, 0.5], np.eye(2)), density)


@settings(max_examples=200, deadline=None)
@given(chains(forbidding=True))
def test_viterbi_equals_the_textbook_on_any_chain(chain: tuple[RegimeModel, Any]) -> None:
    model, density = chain
    with np.errstate(divide="ignore"):
        start, transitions = np.log(model.startprob), np.log(model.transmat)
    best = start + density[:, 0, 0]
    for row in density[:, 1:, 0].T:
        best = np.array([max(best[i] + transitions[i, j] for i in range(len(best))) for j in range(len(best))]) + row
    if is_clear(best):
        assert regime.decode_viterbi(regime.stack_regimes([model]), by_model(density)).tolist() == [
            int(np.argmax(best))
        ]
