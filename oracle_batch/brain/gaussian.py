"""Gaussian densities of an HMM's states, whatever shape hmmlearn stored their covariances in."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

INPUTS: Final = 3
COVARIANCE_TYPES: Final = ("full", "diag", "spherical", "tied")
_SYMMETRY: Final = 1e-8


def gaussian_from_covariances(covariance_type: str, covars: Float64, n_states: int) -> tuple[Float64, Float64]:
    """Whitening factors and log densities at the mean, so that a density is one small product.

    log N(x; μ_i, Σ_i) = log_norm_i − ½ ‖whitening_i (x − μ_i)‖², with whitening_i = inverse of the lower Cholesky
    factor L_i of Σ_i and log_norm_i = −½ (3 log 2π + log det Σ_i).

    ``covars`` is hmmlearn 0.3's ``_covars_``, N states: full (N, 3, 3), tied (3, 3), diag (N, 3), spherical (N, 3),
    (N, 1) or (N,). Gives ``whitening`` (N, 3, 3) lower triangular and ``log_norm`` (N,), float64.

    Source: ``hmmlearn.stats.log_multivariate_normal_density``; like it, only the lower triangle is used.

    >>> whitening, log_norm = gaussian_from_covariances("spherical", np.array([4.0]), 1)
    >>> whitening[0].diagonal().tolist(), round(float(log_norm[0]), 4)
    ([0.5, 0.5, 0.5], -4.8363)

    Raises:
        ValueError: unknown type, wrong shape, or a covariance that is not finite, symmetric, positive definite.
    """
    factors = np.array(_cholesky(covariance_type, np.asarray(covars, dtype=np.float64), n_states))
    diagonal = factors[:, range(INPUTS), range(INPUTS)]
    whitening = np.zeros_like(factors)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        a, b, c = (1.0 / diagonal).T
        whitening[:, 0, 0], whitening[:, 1, 1], whitening[:, 2, 2] = a, b, c
        whitening[:, 1, 0] = -factors[:, 1, 0] * a * b
        whitening[:, 2, 1] = -factors[:, 2, 1] * b * c
        whitening[:, 2, 0] = -(factors[:, 2, 0] * a + factors[:, 2, 1] * whitening[:, 1, 0]) * c
        log_norm = -0.5 * INPUTS * np.log(2.0 * np.pi) - np.log(diagonal).sum(axis=1)
    for state in range(n_states):
        if not (np.isfinite(whitening[state]).all() and np.isfinite(log_norm[state])):
            raise ValueError(f"the covariance of state {state} is too close to singular")
    return whitening, log_norm


def _cholesky(covariance_type: str, covars: Float64, n_states: int) -> Float64:
    """Lower Cholesky factors (N, 3, 3)."""
    shapes: dict[str, list[tuple[int, ...]]] = {
        "full": [(n_states, INPUTS, INPUTS)],
        "tied": [(INPUTS, INPUTS)],
        "diag": [(n_states, INPUTS)],
        "spherical": [(n_states, INPUTS), (n_states, 1), (n_states,)],
    }
    if covariance_type not in shapes:
        raise ValueError(f"the covariance type is none of {', '.join(COVARIANCE_TYPES)}")
    if covars.shape not in shapes[covariance_type]:
        raise ValueError(
            f"{covariance_type} covariances of {n_states} states have shape {covars.shape}, "
            f"not {shapes[covariance_type][0]}"
        )
    if not np.isfinite(covars).all():
        raise ValueError("a covariance is not finite")
    if covariance_type in ("diag", "spherical"):
        if not (covars > 0).all():
            raise ValueError("a variance is not positive")
        variances = np.broadcast_to(covars.reshape(n_states, -1), (n_states, INPUTS))
        return np.sqrt(variances)[:, :, None] * np.eye(INPUTS)
    matrices = np.broadcast_to(covars, (n_states, INPUTS, INPUTS))
    for state, matrix in enumerate(matrices):
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=_SYMMETRY * float(np.abs(matrix).max())):
            raise ValueError(f"the covariance of state {state} is not symmetric")
    try:
        return np.asarray(np.linalg.cholesky(matrices), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise ValueError("a covariance is not positive definite") from None
