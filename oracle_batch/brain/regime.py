"""Which regime the market is in: a Gaussian HMM over three inputs, decoded three ways (DESIGN §3.3).

M models with N states each are decoded together over T bars. Every operation is element-wise or one
matrix-vector product a model, so that a model's state does not depend on its neighbours.
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
"""Steps of the filter between two normalisations."""
VANISHED = 1e-60
"""A sum of probabilities below this may have lost some to underflow."""
LOST_A_ROUND = 1e-247
"""More than products can lose to underflow between two normalisations, as a share of a sum above ``VANISHED``."""
LOST_MATTERS = 1e-12
RECENT = 96
"""Bars after which most filters have forgotten what they believed before."""
CLEAR = 1e-9
"""A lead of the most probable state that no rounding can turn round."""


@dataclass(frozen=True, slots=True)
class RegimeStack:
    """HMMs of M models with N states each.

    ``start`` and ``log_start`` are (M, N); ``arrivals`` and ``log_arrivals``, the transition matrices transposed,
    (M, N to, N from); ``means`` (3, N, M, 1), ``whitening`` (3, 3, N, M, 1) and ``log_norm`` (N, M, 1) as in
    :class:`RegimeModel`, states first.
    """

    start: Float64
    log_start: Float64
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
        start,
        log_start,
        arrivals,
        log_arrivals,
        np.stack([regime.means.T for regime in regimes], axis=-1)[..., None],
        np.stack([regime.whitening.transpose(1, 2, 0) for regime in regimes], axis=-1)[..., None],
        np.stack([regime.log_norm for regime in regimes], axis=-1)[..., None],
    )


def log_density(stack: RegimeStack, inputs: Float32) -> Float64:
    """log N(x; μ, Σ) of each input under each state: ``inputs`` (T, M, 3) → (N, M, T)."""
    w = stack.whitening
    x, y, z = np.ascontiguousarray(inputs.transpose(2, 1, 0), np.float64)[:, None] - stack.means
    squares: Float64 = np.square(w[0, 0] * x)
    squares += np.square(w[1, 0] * x + w[1, 1] * y)
    squares += np.square(w[2, 0] * x + w[2, 1] * y + w[2, 2] * z)
    squares *= -0.5
    squares += stack.log_norm
    return squares


def decode_single(stack: RegimeStack, inputs: Float32) -> States:
    """The state of each input alone, under the start probabilities: (T, M, 3) → (T, M)."""
    states: States = np.argmax(stack.log_start.T[..., None] + log_density(stack, inputs), axis=0).T
    return states


def take(stack: RegimeStack, models: States) -> RegimeStack:
    """The stack of some of its models; a stack of one model serves any number of columns and stays as it is."""
    if len(stack.start) == 1:
        return stack
    return RegimeStack(
        stack.start[models],
        stack.log_start[models],
        stack.arrivals[models],
        stack.log_arrivals[models],
        stack.means[:, :, models],
        stack.whitening[:, :, :, models],
        stack.log_norm[:, models],
    )


def foretell_filter(stack: RegimeStack, density: Float64) -> tuple[States, NDArray[np.bool_]]:
    """What the filter says after the last S bars, whatever it believed before them: (N, M, S) → (M,), (M,).

    The belief is a mixture of what each single state of S bars ago would have led to. Where all of those agree on the
    most probable state, so does the mixture, and the second array is True; elsewhere the whole window must be run.
    """
    likelihood = np.ascontiguousarray(np.exp(density - density.max(axis=0)).transpose(2, 1, 0))[..., None]
    arrivals = stack.arrivals
    beliefs = arrivals * likelihood[0]  # (M, N now, N then)
    moved = np.empty_like(beliefs)
    shape = (len(beliefs), beliefs.shape[2])
    weakest, lost = np.full(shape, np.inf), np.full(shape, LOST_A_ROUND)
    for step, row in enumerate(likelihood[1:], 1):
        np.matmul(arrivals, beliefs, out=moved)
        np.multiply(moved, row, out=beliefs)
        if step % RESCALE_EVERY == 0 or step == len(likelihood) - 1:
            total = np.add.reduce(beliefs, axis=1)
            np.minimum(weakest, total, out=weakest)
            np.maximum(total, VANISHED, out=total)
            beliefs /= total[:, None]
            lost /= total
            lost += LOST_A_ROUND
            np.minimum(lost, 1.0, out=lost)
    states: States = np.argmax(beliefs[:, :, 0], axis=1)
    chosen = np.take_along_axis(beliefs, states[:, None, None], axis=1)[:, 0]
    np.put_along_axis(beliefs, states[:, None, None], -1.0, axis=1)
    lead = chosen - beliefs.max(axis=1)
    sound = (lead > CLEAR) & (weakest >= VANISHED) & (lost <= LOST_MATTERS)
    return states, sound.all(axis=1)


def decode_filter(stack: RegimeStack, density: Float64) -> States:
    """The most probable state after the causal forward filter over T bars: (N, M, T) log densities → (M,).

    Runs on probabilities that are normalised every few steps. A model of which underflow may have taken anything
    that matters is decoded again with logarithms. A stack of one model serves any number of columns.
    """
    likelihood = np.ascontiguousarray(np.exp(density - density.max(axis=0)).transpose(2, 1, 0))
    belief = stack.start * likelihood[0]
    moved = np.empty_like(belief)
    weakest, lost = np.full(len(belief), np.inf), np.full(len(belief), LOST_A_ROUND)
    arrivals, advance, weigh = stack.arrivals, np.matvec, np.multiply
    for step, row in enumerate(likelihood[1:], 1):
        advance(arrivals, belief, out=moved)
        weigh(moved, row, out=belief)
        if step % RESCALE_EVERY == 0:
            total = np.add.reduce(belief, axis=-1)
            np.minimum(weakest, total, out=weakest)
            np.maximum(total, VANISHED, out=total)
            belief /= total[:, None]
            lost /= total
            lost += LOST_A_ROUND
            np.minimum(lost, 1.0, out=lost)
    total = np.add.reduce(belief, axis=-1)
    np.minimum(weakest, total, out=weakest)
    lost /= np.maximum(total, VANISHED)
    states: States = np.argmax(belief, axis=-1)
    for column in np.flatnonzero((weakest < VANISHED) | (lost > LOST_MATTERS)).tolist():
        model = 0 if len(arrivals) == 1 else column
        states[column] = _filter_in_logs(stack.log_start[model], stack.log_arrivals[model], density[:, column])
    return states


def _filter_in_logs(log_start: Float64, log_arrivals: Float64, density: Float64) -> int:
    """The same filter for one model, (N, T) log densities, where nothing can vanish beside something larger."""
    log_belief = log_start + density[:, 0]
    with np.errstate(divide="ignore"):
        for row in density.T[1:]:
            paths = log_belief + log_arrivals
            peaks = paths.max(axis=-1)
            peaks[np.isneginf(peaks)] = 0.0  # a state that nothing leads to
            log_belief = peaks + np.log(np.add.reduce(np.exp(paths - peaks[:, None]), axis=-1)) + row
    return int(np.argmax(log_belief))


def decode_viterbi(stack: RegimeStack, density: Float64) -> States:
    """The last state of the most probable path over T bars: (N, M, T) log densities → (M,)."""
    by_bar = np.ascontiguousarray(density.transpose(2, 1, 0))
    best = stack.log_start + by_bar[0]
    for row in by_bar[1:]:
        best = np.maximum.reduce(best[:, None, :] + stack.log_arrivals, axis=-1)
        best += row
    states: States = np.argmax(best, axis=-1)
    return states
