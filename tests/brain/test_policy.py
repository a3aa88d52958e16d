"""The actor in float32: torch's numbers, and the same bits whatever is stacked beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.brain.policy import logits, stack_policies
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import PolicyNet
from tests.bundle.build import make_bundle

HIDDEN: list[tuple[int, ...]] = [(), (1,), (64, 64), (256, 256), (33, 7, 129), (16, 8, 32, 16)]
shapes = pytest.mark.parametrize("hidden", HIDDEN, ids=lambda hidden: "x".join(map(str, hidden)) or "none")
activations = pytest.mark.parametrize("activation", ["tanh", "relu"])


def net(folder: Path, hidden: tuple[int, ...], activation: str, seed: int = 0, n_states: int = 5) -> PolicyNet:
    """The actor of a generated bundle."""
    path = make_bundle(folder, hidden=hidden, activation=activation, seed=seed, n_states=n_states)
    return load_model(path, None).policy


def observations(count: int, inputs: int, seed: int = 1) -> Any:
    """Observations as a market gives them, some of them far out: (count, 1, inputs) float32."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 1, inputs)) * rng.choice([0.1, 1, 20], (count, 1, 1))).astype(np.float32)


@shapes
@activations
def test_logits_are_torchs(tmp_path: Path, hidden: tuple[int, ...], activation: str) -> None:
    torch = pytest.importorskip("torch")
    policy = net(tmp_path, hidden, activation, n_states=4)
    layer = torch.from_numpy(observations(500, policy.shape[0])[:, 0])
    for depth, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        layer = layer @ torch.from_numpy(weight.copy()) + torch.from_numpy(bias.copy())
        if depth < len(policy.weights) - 1:
            layer = torch.tanh(layer) if activation == "tanh" else torch.relu(layer)
    stack = stack_policies([policy])
    ours = np.concatenate([logits(stack, one[None])[0] for one in observations(500, policy.shape[0])])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, layer.numpy(), rtol=2e-5, atol=2e-5 * float(np.abs(ours).max()))


@shapes
@activations
def test_depth_and_widths_are_read_from_the_bundle(tmp_path: Path, hidden: tuple[int, ...], activation: str) -> None:
    policy = net(tmp_path, hidden, activation, n_states=3)
    assert policy.shape == (12, *hidden, 7)
    assert policy.activation == activation


@shapes
@activations
def test_a_models_bits_do_not_depend_on_the_size_of_the_stack(
    tmp_path: Path, hidden: tuple[int, ...], activation: str
) -> None:
    nets = [net(tmp_path, hidden, activation, seed=seed) for seed in range(4)]
    seen = observations(20, nets[0].shape[0])
    alone = [logits(stack_policies([nets[row % 4]]), seen[row : row + 1])[0] for row in range(20)]
    for size in (2, 3, 20):
        together = logits(stack_policies([nets[row % 4] for row in range(size)]), seen[:size])
        for row in range(size):
            assert together[row].tobytes() == alone[row].tobytes()


def test_two_thousand_models_answer_as_each_alone(tmp_path: Path) -> None:
    nets = [net(tmp_path, (64, 64), "tanh", seed=seed) for seed in range(5)]
    seen = observations(2000, 14)
    together = logits(stack_policies([nets[row % 5] for row in range(2000)]), seen)
    stacks = [stack_policies([one]) for one in nets]
    for row in range(2000):
        assert together[row].tobytes() == logits(stacks[row % 5], seen[row : row + 1])[0].tobytes()
    assert len(set(together[:, 0].argmax(axis=-1).tolist())) > 3


def test_nothing_that_goes_in_is_changed(tmp_path: Path) -> None:
    policy = net(tmp_path, (), "relu")
    seen = observations(1, 14)
    kept = seen.copy()
    logits(stack_policies([policy]), seen)
    assert np.array_equal(seen, kept)
