"""The regime model: fitted to what it is given and nothing else, in canonical order, readable by anyone."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from oracle_batch.brain import regime
from oracle_batch.bundle.hmm import read_hmm
from oracle_batch.bundle.problems import Problems
from oracle_batch.errors import DataError
from oracle_batch.training.parameters import V1, HmmParameters
from oracle_batch.training.regimes import canonical_order, fit_regimes, pickled, regime_series, stationary
from tests.brain.reference import frame, regime_features
from tests.training.build import bars, regimes

QUICK = HmmParameters(n_states=3, iterations=15, starts=1)


def test_the_series_is_what_the_reference_computes() -> None:
    config = {"momentum_period": 12, "consistency_period": 12, "range_period": 20}
    expected = regime_features(frame(bars(600)), config).dropna().to_numpy()
    assert np.allclose(regime_series(bars(600), V1), expected, atol=1e-6)


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (fit_regimes(bars(800), V1, QUICK, 5, file=None) for _ in range(2))
    for name in ("startprob", "transmat", "means", "covars"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


def test_states_go_from_bearish_to_bullish() -> None:
    assert np.all(np.diff(regimes(4).means[:, 0]) > 0)
    assert canonical_order(np.array([[0.2, 0, 0], [-1, 0, 0.1], [-1, 0, -0.1]])).tolist() == [2, 1, 0]


def test_the_start_is_the_chains_long_run_share_and_not_one_hot() -> None:
    fitted = regimes()
    assert np.allclose(fitted.startprob @ fitted.transmat, fitted.startprob, atol=1e-9)
    assert fitted.startprob.max() < 0.95
    periodic = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert stationary(periodic).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical", "tied"])
def test_the_pickle_is_a_plain_hmmlearn_model_that_decodes_alike(covariance_type: str) -> None:
    chosen = HmmParameters(n_states=3, covariance_type=covariance_type, iterations=10, starts=1)
    fitted = fit_regimes(bars(900), V1, chosen, 2, file=None)
    data = pickled(fitted, chosen, 2)
    read = read_hmm(data, "m", 3, problems := Problems("x.zip"))
    assert not problems.found
    assert read is not None
    assert read[1] == covariance_type
    theirs = pickle.load(io.BytesIO(data))
    inputs = regime_series(bars(900), V1)
    stack = regime.stack_regimes([read[0]])
    ours = [int(regime.decode_single(stack, one[None, None])[0, 0]) for one in inputs[::40]]
    assert ours == [int(theirs.predict(one[None].astype(np.float64))[0]) for one in inputs[::40]]
    assert len(set(ours)) > 1, "the single decoding is no constant"
    path = regime.decode_viterbi(stack, regime.log_density(stack, inputs[:400, None]))
    assert path[0] == theirs.predict(inputs[:400].astype(np.float64))[-1]


def test_bars_that_no_model_fits_are_refused() -> None:
    with pytest.raises(DataError, match="no regime model of 20 full states fits") as refused:
        fit_regimes(bars(36), V1, HmmParameters(n_states=20, starts=1), 1, file="a.csv")
    assert refused.value.field == "hmm.n_states"
