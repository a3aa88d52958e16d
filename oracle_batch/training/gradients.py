"""The loss of PPO and its gradient for a small actor and critic, in NumPy: a third of what autograd takes for them.

All numbers of both nets lie in one float32 vector, their gradients in another, so that clipping and the optimiser are
a few operations on vectors. The torch modules see the same memory: nothing is copied between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oracle_batch.bundle.model import Activation

Float32 = NDArray[np.float32]
_ONE = np.float32(1.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Transitions: ``observations`` (B, inputs), the rest (B,). ``before`` are the log-probabilities of the actions."""

    observations: Float32
    actions: NDArray[np.int64]
    advantages: Float32
    returns: Float32
    before: Float32


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The weights of PPO's loss."""

    clip_range: float
    value_weight: float
    entropy: float


class Net:
    """Linear layers with an activation between them. ``weights`` (outputs, inputs) and ``biases`` are views."""

    def __init__(
        self, weights: list[Float32], biases: list[Float32], gradients: list[Float32], activation: Activation
    ) -> None:
        self.weights, self.biases, self._activation = weights, biases, activation
        self._weight_gradients, self._bias_gradients = gradients[::2], gradients[1::2]

    def forward(self, inputs: Float32) -> list[Float32]:
        """The input and the output of each layer: (B, width)."""
        layers = [inputs]
        last = len(self.weights) - 1
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            out = layers[-1] @ weight.T
            out += bias
            if depth < last:
                if self._activation == "tanh":
                    np.tanh(out, out=out)
                else:
                    np.maximum(out, 0, out=out)
            layers.append(out)
        return layers

    def backward(self, layers: list[Float32], slope: Float32) -> None:
        """Write the gradients, given the loss's slope by the last layer's outputs."""
        for depth in range(len(self.weights) - 1, -1, -1):
            np.matmul(slope.T, layers[depth], out=self._weight_gradients[depth])
            np.add.reduce(slope, axis=0, out=self._bias_gradients[depth])
            if depth:
                slope = slope @ self.weights[depth]
                slope *= _ONE - np.square(layers[depth]) if self._activation == "tanh" else layers[depth] > 0


class ActorCritic:
    """The two nets of an SB3 ``MlpPolicy`` and their Adam, sharing memory with its modules.

    Source of the optimiser: Kingma and Ba 2015, as ``torch.optim.Adam`` computes it.
    """

    def __init__(self, module: Any, activation: Activation) -> None:
        self._optimizer = module.optimizer
        nets = [
            [one for one in (*module.mlp_extractor.policy_net, module.action_net) if isinstance(one, nn.Linear)],
            [one for one in (*module.mlp_extractor.value_net, module.value_net) if isinstance(one, nn.Linear)],
        ]
        parameters = [part for net in nets for layer in net for part in (layer.weight, layer.bias)]
        if sum(part.numel() for part in parameters) != sum(part.numel() for part in module.parameters()):
            raise ValueError("the policy holds more than two plain nets")
        self._torch_parameters = parameters
        sizes = [part.numel() for part in parameters]
        self.values, self.slopes, self._mean, self._square = (np.zeros(sum(sizes), np.float32) for _ in range(4))
        self._updates = 0
        bounds = np.cumsum([0, *sizes])
        self._places = [slice(start, stop) for start, stop in pairwise(bounds.tolist())]
        views = []
        for part, place in zip(parameters, self._places, strict=True):
            view = self.values[place].reshape(part.shape)
            view[...] = part.detach().numpy()
            part.data = torch.from_numpy(view)
            views.append(view)
        gradients = [
            self.slopes[place].reshape(part.shape) for part, place in zip(parameters, self._places, strict=True)
        ]
        border = 2 * len(nets[0])
        self.actor = Net(views[:border:2], views[1:border:2], gradients[:border], activation)
        self.critic = Net(views[border::2], views[border + 1 :: 2], gradients[border:], activation)

    def loss(self, batch: Batch, terms: LossTerms) -> tuple[float, float, float]:
        """Policy loss, value loss and entropy of a minibatch; its gradient is written to ``slopes``."""
        count = np.float32(len(batch.actions))
        rows = np.arange(len(batch.actions))
        advantages = batch.advantages - batch.advantages.mean()
        advantages /= batch.advantages.std(ddof=1) + np.float32(1e-8)
        acted = self.actor.forward(batch.observations)
        logs = log_softmax(acted[-1])
        shares = np.exp(logs)
        ratio = np.exp(logs[rows, batch.actions] - batch.before)
        plain = advantages * ratio
        clipped = advantages * np.clip(ratio, 1 - terms.clip_range, 1 + terms.clip_range)
        pull = np.where(plain <= clipped, plain, np.float32(0)) / -count
        disorder = -np.add.reduce(shares * logs, axis=1)
        slope = shares * (np.float32(terms.entropy) / count * (logs + disorder[:, None]) - pull[:, None])
        slope[rows, batch.actions] += pull
        self.actor.backward(acted, slope)
        judged = self.critic.forward(batch.observations)
        miss = judged[-1][:, 0] - batch.returns
        self.critic.backward(judged, (miss * (np.float32(2 * terms.value_weight) / count))[:, None])
        return -float(np.minimum(plain, clipped).mean()), float(np.square(miss).mean()), float(disorder.mean())

    def step(self, max_norm: float) -> None:
        """Clip the gradient to a norm, and let Adam take one step along it."""
        group = self._optimizer.param_groups[0]
        (first, second), rate, epsilon = group["betas"], group["lr"], group["eps"]
        slopes = self.slopes
        norm = float(np.sqrt(np.dot(slopes, slopes)))
        slopes *= np.float32(min(1.0, max_norm / (norm + 1e-6)))
        self._updates += 1
        self._mean += (slopes - self._mean) * np.float32(1 - first)
        self._square *= np.float32(second)
        self._square += np.square(slopes) * np.float32(1 - second)
        scale = np.sqrt(self._square)
        scale *= np.float32(1 / np.sqrt(1 - second**self._updates))
        scale += np.float32(epsilon)
        self.values -= self._mean / scale * np.float32(rate / (1 - first**self._updates))

    def snapshot(self) -> dict[str, Any]:
        """The nets and the optimiser, for :meth:`restore`."""
        return {
            "values": self.values.copy(),
            "mean": self._mean.copy(),
            "square": self._square.copy(),
            "updates": self._updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.values[:], self._mean[:], self._square[:] = state["values"], state["mean"], state["square"]
        self._updates = int(state["updates"])

    def tell_optimizer(self) -> None:
        """Write the optimiser's state where torch keeps it, so that a saved model can be trained on by SB3 itself."""
        for part, place in zip(self._torch_parameters, self._places, strict=True):
            self._optimizer.state[part] = {
                "step": torch.tensor(float(self._updates)),
                "exp_avg": torch.from_numpy(self._mean[place].reshape(part.shape).copy()),
                "exp_avg_sq": torch.from_numpy(self._square[place].reshape(part.shape).copy()),
            }


def log_softmax(logits: Float32) -> Float32:
    """Logarithms of the softmax along the last axis."""
    shifted: Float32 = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis=-1, keepdims=True))
    return shifted


def taken(logs: Float32, actions: NDArray[np.int64]) -> Float32:
    """The log-probability of each action: (B, 7) and (B,) → (B,)."""
    chosen: Float32 = logs[np.arange(len(actions)), actions]
    return chosen


def shuffled(batch: Batch, order: NDArray[np.intp]) -> Batch:
    """The same transitions in another order."""
    return Batch(*(getattr(batch, name)[order] for name in Batch.__slots__))


def pieces(batch: Batch, size: int) -> Sequence[Batch]:
    """Consecutive minibatches."""
    count = len(batch.actions)
    return [
        Batch(*(getattr(batch, name)[start : start + size] for name in Batch.__slots__))
        for start in range(0, count, size)
    ]
