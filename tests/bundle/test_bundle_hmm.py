"""The regime model: what makes it unusable, and that its densities are hmmlearn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.brain.gaussian import gaussian_from_covariances
from oracle_batch.bundle.compiled import load_model
from oracle_batch.errors import BundleError
from tests.bundle.build import COVARIANCE_TYPES, Global, covariances, parts

HMM = "EURUSD_M15_hmm.pkl"


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("startprob_", np.full(5, 0.3), "add up to 1"),
        ("startprob_", np.array([1.2, -0.2, 0, 0, 0]), "negative"),
        ("startprob_", np.full(4, 0.25), "shape"),
        ("startprob_", np.full((1, 5), 0.2), "shape"),
        ("transmat_", np.zeros((5, 5)), "add up to 1"),
        ("transmat_", np.full((5, 4), 0.25), "shape"),
        ("transmat_", np.full((5, 5), np.nan), "NaN"),
        ("means_", np.zeros((5, 2)), "shape"),
        ("_covars_", np.zeros((5, 3, 3)), "positive definite"),
        ("_covars_", -np.tile(np.eye(3), (5, 1, 1)), "positive definite"),
        ("_covars_", np.tile(np.eye(3), (4, 1, 1)), "shape"),
        ("_covars_", np.ones((5, 3)), "shape"),
        ("_covars_", np.tile([[1.0, 2, 0], [0, 1, 0], [0, 0, 1]], (5, 1, 1)), "symmetric"),
        ("_covars_", np.full((5, 3, 3), np.inf), "NaN"),
        ("n_components", 4, "hmm_config.n_states"),
        ("n_components", "5", "number of states"),
        ("n_components", True, "number of states"),
        ("n_components", 0, "number of states"),
        ("n_features", 4, "n_features"),
        ("covariance_type", "banded", "covariance_type"),
        ("covariance_type", ["full"], "covariance_type"),
    ],
)
def test_unusable_models_are_refused_by_attribute(tmp_path: Path, name: str, value: Any, named: str) -> None:
    bundle = parts()
    bundle.hmm[name] = value
    with pytest.raises(BundleError, match=named) as caught:
        load_model(bundle.write(tmp_path), None)
    assert str(caught.value.field).startswith(HMM)


@pytest.mark.parametrize("name", ["startprob_", "transmat_", "means_", "_covars_", "n_components", "covariance_type"])
def test_an_unfitted_model_is_refused(tmp_path: Path, name: str) -> None:
    bundle = parts()
    del bundle.hmm[name]
    with pytest.raises(BundleError) as caught:
        load_model(bundle.write(tmp_path), None)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["GMMHMM", "CategoricalHMM", "MultinomialHMM", "PoissonHMM"])
def test_other_markov_models_are_refused_by_name(tmp_path: Path, name: str) -> None:
    bundle = parts()
    bundle.hmm_class = Global("hmmlearn.hmm", name)
    with pytest.raises(BundleError, match=rf"hmmlearn\.hmm\.{name}"):
        load_model(bundle.write(tmp_path), None)


def test_something_else_in_the_pickle_is_refused(tmp_path: Path) -> None:
    bundle = parts()
    bundle.hmm_class = Global("hmmlearn.base", "ConvergenceMonitor")
    with pytest.raises(BundleError, match="ConvergenceMonitor, not a hmmlearn"):
        load_model(bundle.write(tmp_path), None)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_densities_follow_their_formula(covariance_type: str) -> None:
    rng = np.random.default_rng(2)
    covars = covariances(covariance_type, 4, rng)
    if covariance_type in ("diag", "spherical"):
        full = covars[:, :, None] * np.eye(3)
    else:
        full = np.broadcast_to(covars, (4, 3, 3))
    whitening, log_norm = gaussian_from_covariances(covariance_type, covars, 4)
    offset = rng.normal(size=3)
    for state in range(4):
        assert np.array_equal(whitening[state], np.tril(whitening[state]))
        quadratic = offset @ np.linalg.solve(full[state], offset)
        wanted = -0.5 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(full[state])[1] + quadratic)
        assert log_norm[state] - 0.5 * np.sum((whitening[state] @ offset) ** 2) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_spherical_variances_come_in_three_shapes(shape: tuple[int, ...]) -> None:
    variances = np.array([0.5, 1.0, 2.0, 4.0])
    covars = np.broadcast_to(variances.reshape(-1, *[1] * (len(shape) - 1)), shape)
    whitening, _ = gaussian_from_covariances("spherical", covars, 4)
    assert np.allclose(whitening, np.eye(3) / np.sqrt(variances)[:, None, None])


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_the_tiniest_variances_do_not_overflow_silently(covariance_type: str) -> None:
    shape = {"full": (2, 3, 3), "tied": (3, 3), "diag": (2, 3), "spherical": (2, 3)}[covariance_type]
    tiny = (
        np.full(shape, 5e-324)
        if covariance_type in ("diag", "spherical")
        else np.broadcast_to(1e-320 * np.eye(3), shape)
    )
    try:
        whitening, log_norm = gaussian_from_covariances(covariance_type, tiny, 2)
    except ValueError:
        return
    assert np.isfinite(whitening).all()
    assert np.isfinite(log_norm).all()


def test_an_unknown_covariance_type_is_refused() -> None:
    with pytest.raises(ValueError, match="none of full, diag, spherical, tied"):
        gaussian_from_covariances("banded", np.eye(3), 1)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_densities_are_hmmlearns_own(tmp_path: Path, covariance_type: str) -> None:
    """A model that hmmlearn fitted and pickled, read back: the same log-likelihood for every point."""
    hmm = pytest.importorskip("hmmlearn.hmm")
    import pickle

    rng = np.random.default_rng(4)
    data = np.concatenate([rng.normal(centre, 0.4, (150, 3)) for centre in (-1.0, 0.0, 1.5)])
    fitted = hmm.GaussianHMM(n_components=3, covariance_type=covariance_type, n_iter=20, random_state=1).fit(data)
    bundle = parts(n_states=3)
    bundle.raw[HMM] = pickle.dumps(fitted, protocol=4)
    regime = load_model(bundle.write(tmp_path), None).regime
    points = rng.normal(0, 2, (2000, 3)).astype(np.float32)
    offset = points[:, None, :].astype(np.float64) - regime.means
    whitened = np.einsum("nij,tnj->tni", regime.whitening, offset)
    ours = regime.log_norm - 0.5 * (whitened**2).sum(axis=-1)
    theirs = fitted._compute_log_likelihood(points.astype(np.float64))
    assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    assert np.array_equal(regime.transmat, fitted.transmat_)
    assert np.array_equal(regime.startprob, fitted.startprob_)


def test_a_model_with_random_state_or_default_protocol_is_read_or_named(tmp_path: Path) -> None:
    hmm = pytest.importorskip("hmmlearn.hmm")
    import pickle

    fitted = hmm.GaussianHMM(n_components=2, covariance_type="diag", random_state=np.random.RandomState(1))
    fitted.fit(np.random.default_rng(0).normal(size=(200, 3)))
    bundle = parts(n_states=2)
    bundle.raw[HMM] = pickle.dumps(fitted, protocol=4)
    with pytest.raises(BundleError, match=r"numpy\.random"):
        load_model(bundle.write(tmp_path), None)
    fitted.random_state = None
    bundle.raw[HMM] = pickle.dumps(fitted, protocol=5)
    with pytest.raises(BundleError, match=r"numeric\._frombuffer"):
        load_model(bundle.write(tmp_path), None)
