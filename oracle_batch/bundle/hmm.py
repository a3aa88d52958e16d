"""The regime model in a bundle: a pickled ``hmmlearn`` GaussianHMM, read as data (DESIGN §4)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.brain.gaussian import COVARIANCE_TYPES, INPUTS, gaussian_from_covariances
from oracle_batch.bundle.arrays import NDARRAY, float_array, numpy_builders
from oracle_batch.bundle.inert import Allowed, Inert, deque_of
from oracle_batch.bundle.model import RegimeModel
from oracle_batch.bundle.problems import Problems, shorten
from oracle_batch.bundle.unpickle import unpickle
from oracle_batch.errors import BundleError

GAUSSIAN_HMM: Final = "hmmlearn.hmm.GaussianHMM"
PROBABILITY_TOLERANCE: Final = 1e-6

_ALLOWED: Final = Allowed(
    builders={**numpy_builders(), "collections.deque": deque_of},
    classes=frozenset((GAUSSIAN_HMM, "hmmlearn.base.ConvergenceMonitor")),
    names=frozenset((NDARRAY,)),
)


def read_hmm(data: bytes, member: str, n_states: int | None, problems: Problems) -> tuple[RegimeModel, str] | None:
    """The regime model in a pickle and its covariance type; None after noting what is wrong with it.

    ``n_states`` is what the metadata promise, None when they cannot be read.
    """
    with problems.collecting(member):
        state = _attributes(unpickle(data, _ALLOWED))
        return _regime(state, member, n_states, problems)
    return None


def _attributes(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        if "model" not in value:
            raise BundleError("is a dict without a model", field="model")
        value = value["model"]
    if not isinstance(value, Inert) or value.path != GAUSSIAN_HMM:
        kind = value.path if isinstance(value, Inert) else f"a {type(value).__name__}"
        raise BundleError(f"holds {kind}, not a {GAUSSIAN_HMM}")
    return value.state


def _regime(
    state: dict[str, Any], member: str, promised: int | None, problems: Problems
) -> tuple[RegimeModel, str] | None:
    before = len(problems.found)
    n_states = state.get("n_components")
    if type(n_states) is not int or n_states < 1:
        raise BundleError(f"is {shorten(n_states)}, not a number of states", field="n_components")
    if promised is not None and n_states != promised:
        problems.add(f"{member}: n_components", f"is {n_states}, but hmm_config.n_states says {promised}")
    if state.get("n_features", INPUTS) != INPUTS:
        raise BundleError(f"is {shorten(state['n_features'])}, not {INPUTS}", field="n_features")
    covariance_type = state.get("covariance_type")
    if covariance_type not in COVARIANCE_TYPES:
        raise BundleError(
            f"is {shorten(covariance_type)}, none of {', '.join(COVARIANCE_TYPES)}", field="covariance_type"
        )
    startprob = _array(state, "startprob_", (n_states,), member, problems)
    transmat = _array(state, "transmat_", (n_states, n_states), member, problems)
    means = _array(state, "means_", (n_states, INPUTS), member, problems)
    covars = _array(state, "_covars_", None, member, problems)
    _check_probabilities("startprob_", startprob, member, problems)
    _check_probabilities("transmat_", transmat, member, problems)
    if covars is not None:
        try:
            whitening, log_norm = gaussian_from_covariances(covariance_type, covars, n_states)
        except ValueError as error:
            problems.add(f"{member}: _covars_", str(error), "train the HMM again")
    if len(problems.found) > before:
        return None
    assert startprob is not None
    assert transmat is not None
    assert means is not None
    return RegimeModel(startprob, transmat, means, whitening, log_norm), covariance_type


def _array(
    state: dict[str, Any], name: str, shape: tuple[int, ...] | None, member: str, problems: Problems
) -> NDArray[np.float64] | None:
    field = f"{member}: {name}"
    if name not in state:
        problems.add(field, "is missing", "export a fitted model")
        return None
    values = float_array(state[name])
    if values is None:
        problems.add(field, "is not an array of numbers")
    elif shape is not None and values.shape != shape:
        problems.add(field, f"has shape {values.shape}, not {shape}")
    elif not np.isfinite(values).all():
        problems.add(field, "holds NaN or infinity", "train the HMM again")
    else:
        return values
    return None


def _check_probabilities(name: str, values: NDArray[np.float64] | None, member: str, problems: Problems) -> None:
    if values is None:
        return
    if (values < 0).any():
        problems.add(f"{member}: {name}", "holds a negative probability", "train the HMM again")
    elif (np.abs(values.sum(axis=-1) - 1.0) > PROBABILITY_TOLERANCE).any():
        problems.add(f"{member}: {name}", "holds probabilities that do not add up to 1", "train the HMM again")
