"""The regime model: fitted by hmmlearn on the training part alone, its states in one order that means something."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from oracle_batch.bars import Bars
from oracle_batch.brain import features
from oracle_batch.brain.gaussian import gaussian_from_covariances
from oracle_batch.bundle.model import FeatureParams, RegimeModel
from oracle_batch.errors import DataError
from oracle_batch.training.parameters import HmmParameters

Float64 = NDArray[np.float64]
PICKLE_PROTOCOL = 4


@dataclass(frozen=True, slots=True)
class FittedRegimes:
    """An HMM's numbers in canonical order: ``covars`` as hmmlearn stores them (``_covars_``)."""

    covariance_type: str
    startprob: Float64
    transmat: Float64
    means: Float64
    covars: Float64
    log_likelihood: float
    iterations: int
    converged: bool

    @property
    def model(self) -> RegimeModel:
        """The same for the brain."""
        whitening, log_norm = gaussian_from_covariances(self.covariance_type, self.covars, len(self.startprob))
        return RegimeModel(self.startprob, self.transmat, self.means, whitening, log_norm)


def regime_series(bars: Bars, params: FeatureParams) -> NDArray[np.float32]:
    """The three regime inputs of every bar that has them all: (bars, 3) float32."""
    columns = features.Columns(*(getattr(bars, name)[:, None] for name in ("high", "low", "close", "volume")))
    count = len(bars) - features.first_full_row(params)
    position = features.range_position(columns, params.hmm_range_period, count)
    return features.regime_inputs(columns, position, params, count)[:, 0]


def fit_regimes(bars: Bars, params: FeatureParams, hmm: HmmParameters, seed: int, *, file: object) -> FittedRegimes:
    """The likeliest of several fits to the bars, which must be the training part's.

    The start probabilities that EM leaves after one long sequence are practically one-hot: they say how *that sequence*
    began. A live window begins anywhere, so they are replaced by the chain's stationary distribution, which also makes
    the ``single`` decoding of a 2.0 reader a proper one.

    Raises:
        DataError: no fit is possible.
    """
    inputs = regime_series(bars, params).astype(np.float64)
    best: Any = None
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # hmmlearn warns of what is looked at below
        for start in range(hmm.starts):
            fitted = _fit_once(inputs, hmm, seed * 1009 + start)
            if fitted is not None and (best is None or fitted[1] > best[1]):
                best = fitted
    if best is None:
        raise DataError(
            f"no regime model of {hmm.n_states} {hmm.covariance_type} states fits these bars",
            file=file,
            field="hmm.n_states",
            fix="give fewer states, or more varied bars",
        )
    model, likelihood = best
    order = canonical_order(model.means_)
    transmat = model.transmat_[order][:, order]
    covars = model._covars_ if hmm.covariance_type == "tied" else model._covars_[order]
    return FittedRegimes(
        hmm.covariance_type,
        stationary(transmat),
        transmat,
        model.means_[order],
        np.ascontiguousarray(covars),
        float(likelihood),
        int(model.monitor_.iter),
        bool(model.monitor_.converged),
    )


def _fit_once(inputs: Float64, hmm: HmmParameters, seed: int) -> tuple[Any, float] | None:
    """A fit and its log likelihood, None where it came to nothing."""
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(
        n_components=hmm.n_states,
        covariance_type=hmm.covariance_type,
        min_covar=hmm.min_covariance,
        n_iter=hmm.iterations,
        tol=hmm.tolerance,
        random_state=seed,
    )
    try:
        model.fit(inputs)
        _regularise(model, hmm)
        likelihood = float(model.score(inputs))
        gaussian_from_covariances(hmm.covariance_type, model._covars_, hmm.n_states)
    except (ValueError, np.linalg.LinAlgError):
        return None
    finite = all(np.isfinite(part).all() for part in (model.means_, model._covars_, model.transmat_))
    return (model, likelihood) if finite and np.isfinite(likelihood) else None


def _regularise(model: Any, hmm: HmmParameters) -> None:
    """Keep what EM may have let collapse: variances at least ``min_covariance``, rows that add up to 1."""
    floor = hmm.min_covariance
    if hmm.covariance_type in ("full", "tied"):
        values, vectors = np.linalg.eigh(model._covars_)
        floored = np.maximum(values, floor)
        covars = (vectors * floored[..., None, :]) @ np.swapaxes(vectors, -1, -2)
        model._covars_ = (covars + np.swapaxes(covars, -1, -2)) / 2
    else:
        model._covars_ = np.maximum(model._covars_, floor)
    empty = model.transmat_.sum(axis=1) <= 0  # a state that EM never left
    model.transmat_[empty] = np.eye(hmm.n_states)[empty]
    model.transmat_ /= model.transmat_.sum(axis=1, keepdims=True)


def canonical_order(means: Float64) -> NDArray[np.intp]:
    """States from the most bearish to the most bullish: by mean momentum, then range position, then consistency."""
    return np.lexsort((means[:, 1], means[:, 2], means[:, 0]))


def stationary(transmat: Float64) -> Float64:
    """The long-run share of each state: the limit of the averaged chain from the uniform distribution.

    >>> stationary(np.array([[0.9, 0.1], [0.3, 0.7]])).round(6).tolist()
    [0.75, 0.25]
    """
    n_states = len(transmat)
    lazy = (transmat + np.eye(n_states)) / 2
    for _ in range(40):  # 2^40 steps
        lazy = lazy @ lazy
        lazy /= lazy.sum(axis=1, keepdims=True)
    share: Float64 = np.full(n_states, 1.0 / n_states) @ lazy
    share /= share.sum()
    return share


def pickled(fitted: FittedRegimes, hmm: HmmParameters, seed: int) -> bytes:
    """The regime model as a pickled hmmlearn ``GaussianHMM``, which any 2.0 reader takes."""
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(
        n_components=hmm.n_states, covariance_type=hmm.covariance_type, min_covar=hmm.min_covariance, random_state=seed
    )
    model.n_features = fitted.means.shape[1]
    model.startprob_, model.transmat_ = fitted.startprob, fitted.transmat
    model.means_, model._covars_ = fitted.means, fitted.covars
    return pickle.dumps(model, PICKLE_PROTOCOL)
