"""Which regime the market is in: a Gaussian HMM over three inputs, decoded three ways (DESIGN §3.3).

Arrays carry the models of one stack along axis 0 (M) and their N states along the last axis. Every sum runs
in a fixed order along the last axis of a row-major array, so that a model's state does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.model import RegimeModel

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
States = NDArray[np.intp]

RESCALE_EVERY = 4
VANISHED = 1e-100


@dataclass(frozen=True, slots=True)
class RegimeStack:
    """HMMs of M models with N states each, stacked: see :class:`RegimeModel` for the columns.

    ``arrivals`` is the transition matrix transposed, (M, N to, N from).
    """

    log_start: Float64
    start: Float64
    arrivals: Float64
    log_arrivals: Float64
    means: Float64
    whitening: Float64
    log_norm: Float64


def stack_regimes(regimes: Sequence[RegimeModel]) -> RegimeStack:
    """Stack models of equal state count."""
    start = np.stack([regime.startprob for regime in regimes])
    arrivals = np.ascontiguousarray(np.stack([regime.transmat.T for regime in regimes]))
    with np.errstate(divide="ignore"):
        log_start, log_arrivals = np.log(start), np.log(arrivals)
    return RegimeStack(
        log_start,
        start,
        arrivals,
        log_arrivals,
        np.stack([regime.means for regime in regimes]),
        np.stack([regime.whitening for regime in regimes]),
        np.stack([regime.log_norm for regime in regimes]),
    )


def log_density(stack: RegimeStack, inputs: Float32) -> Float64:
    """log N(x; μ, Σ) of each input under each state. ``inputs`` (T, M, 3) → (T, M, N)."""
    offset = inputs[:, :, None, :].astype(np.float64) - stack.means
    x, y, z = offset[..., 0], offset[..., 1], offset[..., 2]
    w = stack.whitening
    squares = (w[..., 0, 0] * x) ** 2
    squares += (w[..., 1, 0] * x + w[..., 1, 1] * y) ** 2
    squares += (w[..., 2, 0] * x + w[..., 2, 1] * y + w[..., 2, 2] * z) ** 2
    density: Float64 = stack.log_norm - 0.5 * squares
    return density


def decode_single(stack: RegimeStack, inputs: Float32) -> States:
    """The state of each input alone, under the start probabilities. (T, M, 3) → (T, M)."""
    return np.argmax(stack.log_start + log_density(stack, inputs), axis=-1)


def decode_filter(stack: RegimeStack, density: Float64) -> States:
    """The most probable state after the causal forward filter over T inputs: (T, M, N) log densities → (M,).

    Runs on probabilities rescaled every few steps; a model whose probabilities vanish numerically on the way is
    decoded again with logarithms.
    """
    likelihood = np.exp(density - density.max(axis=-1, keepdims=True))
    belief = stack.start * likelihood[0]
    weakest = np.full(belief.shape[0], np.inf)
    arrivals = stack.arrivals
    for step in range(1, len(likelihood)):
        belief = np.add.reduce(belief[:, None, :] * arrivals, axis=-1)
        belief *= likelihood[step]
        if step % RESCALE_EVERY == 0:
            total = np.add.reduce(belief, axis=-1)
            np.minimum(weakest, total, out=weakest)
            belief /= np.where(total > 0, total, 1.0)[:, None]
    np.minimum(weakest, np.add.reduce(belief, axis=-1), out=weakest)
    states = np.argmax(belief, axis=-1)
    for column in np.flatnonzero(weakest < VANISHED):
        states[column] = _filter_in_logs(stack, density, int(column))
    return states


def _filter_in_logs(stack: RegimeStack, density: Float64, column: int) -> int:
    """The same filter where products would vanish: one model's log beliefs, (N,) a step."""
    shared = len(stack.arrivals) == 1
    arrivals, log_start = stack.arrivals[0 if shared else column], stack.log_start[0 if shared else column]
    log_belief = log_start + density[0, column]
    for row in density[1:, column]:
        peak = log_belief.max()
        with np.errstate(divide="ignore"):
            log_belief = peak + np.log(np.add.reduce(np.exp(log_belief - peak) * arrivals, axis=-1)) + row
    return int(np.argmax(log_belief))


def decode_viterbi(stack: RegimeStack, density: Float64) -> States:
    """The last state of the most probable path over T inputs: (T, M, N) log densities → (M,)."""
    best = stack.log_start + density[0]
    for row in density[1:]:
        best = np.max(best[:, None, :] + stack.log_arrivals, axis=-1) + row
    return np.argmax(best, axis=-1)
