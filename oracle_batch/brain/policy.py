"""The actor of an SB3 ``MlpPolicy`` in float32, all models of equal shape stacked (DESIGN §3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.model import Activation, PolicyNet

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PolicyStack:
    """Actors of M models: per layer weights (M, inputs, outputs) and bias (M, 1, outputs)."""

    weights: tuple[Float32, ...]
    biases: tuple[Float32, ...]
    activation: Activation


def stack_policies(policies: Sequence[PolicyNet]) -> PolicyStack:
    """Stack nets of equal shape and activation."""
    return PolicyStack(
        tuple(np.stack(layer) for layer in zip(*(policy.weights for policy in policies), strict=True)),
        tuple(np.stack(layer)[:, None, :] for layer in zip(*(policy.biases for policy in policies), strict=True)),
        policies[0].activation,
    )


def logits(stack: PolicyStack, observations: Float32) -> Float32:
    """Seven logits a model. ``observations`` (M, 1, inputs) float32 → (M, 1, 7)."""
    layer = observations
    last = len(stack.weights) - 1
    for depth, (weights, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        layer = np.matmul(layer, weights)
        layer += bias
        if depth < last:
            if stack.activation == "tanh":
                np.tanh(layer, out=layer)
            else:
                np.maximum(layer, 0, out=layer)
    return layer
