"""The real thing: policies that SB3 saves answer in NumPy what SB3 answers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.brain.policy import logits, stack_policies
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import PolicyNet
from oracle_batch.errors import BundleError
from tests.bundle.build import parts

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
gym = pytest.importorskip("gymnasium")

OBSERVATIONS = 4000
ARCHITECTURES: dict[str, Any] = {
    "default": None,
    "none": [],
    "one": [32],
    "wide": [256, 256],
    "deep": [16, 8, 32, 16, 24],
    "apart": {"pi": [128, 64], "vf": [64]},
    "no actor layers": {"pi": [], "vf": [32]},
}


def new_env(n_states: int) -> Any:
    class Env(gym.Env):  # type: ignore[misc, name-defined]
        observation_space = gym.spaces.Box(-np.inf, np.inf, (6 + n_states + 3,), np.float32)
        action_space = gym.spaces.Discrete(7)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action: int) -> Any:
            return self.observation_space.sample(), float(action == 3), False, False, {}

    return Env()


def save_ppo(folder: Path, n_states: int, seed: int, *, learn: bool = False, **policy_kwargs: Any) -> tuple[Any, Path]:
    """A PPO as SB3 saves it, put into a bundle."""
    model = sb3.PPO(
        "MlpPolicy", new_env(n_states), policy_kwargs=policy_kwargs or None, seed=seed, device="cpu", n_steps=64
    )
    if learn:
        model.set_logger(sb3.common.logger.Logger(None, []))  # the one of its own would leave a folder behind
        model.learn(128)
    with torch.no_grad():  # SB3 starts its last layer so small that all logits are nearly alike
        model.policy.action_net.weight.mul_(100.0)
        model.policy.action_net.bias.normal_()
    model.save(folder / "ppo")
    bundle = parts(n_states=n_states)
    bundle.raw["EURUSD_M15_ppo.zip"] = (folder / "ppo.zip").read_bytes()
    return model, bundle.write(folder)


def compare(model: Any, policy: PolicyNet, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.1, 1.0, 3.0], (OBSERVATIONS, 1))
    observations = (rng.normal(size=(OBSERVATIONS, policy.shape[0])) * scale).astype(np.float32)
    with torch.no_grad():
        theirs = model.policy.get_distribution(torch.as_tensor(observations)).distribution
        actor = model.policy.mlp_extractor.forward_actor(torch.as_tensor(observations))
        raw = model.policy.action_net(actor).numpy()
    stack = stack_policies([policy])
    ours = logits(stack, observations[None])[0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, raw, rtol=1e-5, atol=1e-5)
    assert np.allclose(theirs.logits.numpy().argmax(1), raw.argmax(1))
    actions = model.predict(observations, deterministic=True)[0]
    top = np.sort(raw, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(ours.argmax(1)[clear], actions[clear])
    assert len(set(actions.tolist())) > 2
    for row in range(25):
        one = logits(stack, observations[None, row : row + 1])[0, 0]
        if clear[row]:
            assert one.argmax() == model.predict(observations[row], deterministic=True)[0]


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
@pytest.mark.parametrize("activation", ["Tanh", "ReLU", None])
def test_logits_and_actions_are_sb3s(tmp_path: Path, architecture: str, activation: str | None) -> None:
    kwargs: dict[str, Any] = {}
    if ARCHITECTURES[architecture] is not None:
        kwargs["net_arch"] = ARCHITECTURES[architecture]
    if activation:
        kwargs["activation_fn"] = getattr(torch.nn, activation)
    model, path = save_ppo(tmp_path, 5, 3, **kwargs)
    policy = load_model(path, None).policy
    assert policy.activation == (activation or "Tanh").lower()
    compare(model, policy, 11)


@pytest.mark.parametrize("n_states", [1, 3, 8])
def test_trained_policies_of_other_state_counts(tmp_path: Path, n_states: int) -> None:
    model, path = save_ppo(tmp_path, n_states, 5, learn=True, net_arch=[48, 24])
    compare(model, load_model(path, None).policy, 12)


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"activation_fn": torch.nn.ELU}, "activation.ELU"),
        ({"activation_fn": torch.nn.LeakyReLU}, "activation.LeakyReLU"),
        ({"activation_fn": torch.nn.GELU}, "activation.GELU"),
    ],
)
def test_other_activations_are_refused(tmp_path: Path, kwargs: dict[str, Any], named: str) -> None:
    _, path = save_ppo(tmp_path, 5, 1, **kwargs)
    with pytest.raises(BundleError, match=named):
        load_model(path, None)


def test_separate_and_explicit_flatten_extractors_are_fine(tmp_path: Path) -> None:
    flatten = sb3.common.torch_layers.FlattenExtractor
    model, path = save_ppo(
        tmp_path, 5, 1, net_arch=[16], share_features_extractor=False, features_extractor_class=flatten
    )
    compare(model, load_model(path, None).policy, 13)


def test_an_extractor_with_weights_is_refused(tmp_path: Path) -> None:
    class Extractor(sb3.common.torch_layers.BaseFeaturesExtractor):  # type: ignore[misc, name-defined]
        def __init__(self, space: Any) -> None:
            super().__init__(space, 14)
            self.linear = torch.nn.Linear(14, 14)

        def forward(self, observations: Any) -> Any:
            return self.linear(observations)

    _, path = save_ppo(tmp_path, 5, 1, features_extractor_class=Extractor)
    with pytest.raises(BundleError, match="features_extractor"):
        load_model(path, None)


def test_a_policy_subclass_is_refused(tmp_path: Path) -> None:
    class Mine(sb3.common.policies.ActorCriticPolicy):  # type: ignore[misc, name-defined]
        pass

    model = sb3.PPO(Mine, new_env(5), device="cpu", n_steps=64)
    model.save(tmp_path / "ppo")
    bundle = parts()
    bundle.raw["EURUSD_M15_ppo.zip"] = (tmp_path / "ppo.zip").read_bytes()
    with pytest.raises(BundleError, match="policy_class"):
        load_model(bundle.write(tmp_path), None)


def test_a2c_and_dqn(tmp_path: Path) -> None:
    """A2C saves the same policy class, so it is the same net; DQN is another type."""
    for algorithm, accepted in ((sb3.A2C, True), (sb3.DQN, False)):
        model = algorithm("MlpPolicy", new_env(5), device="cpu")
        model.save(tmp_path / "other")
        bundle = parts()
        bundle.raw["EURUSD_M15_ppo.zip"] = (tmp_path / "other.zip").read_bytes()
        path = bundle.write(tmp_path)
        if accepted:
            load_model(path, None)
        else:
            with pytest.raises(BundleError, match="policy_class"):
                load_model(path, None)


def test_the_real_bundles_answer_as_sb3_does(shared_models: Path, tmp_path: Path) -> None:
    import zipfile

    for name in ("EURUSD_M15", "USDCAD_H1", "EURJPY_H1"):
        with zipfile.ZipFile(shared_models / f"{name}.zip") as archive:
            archive.extract(f"{name}_ppo.zip", tmp_path)
        model = sb3.PPO.load(tmp_path / f"{name}_ppo.zip", device="cpu")
        policy = load_model(shared_models / f"{name}.zip", None).policy
        observations = np.random.default_rng(1).normal(size=(OBSERVATIONS, policy.shape[0])).astype(np.float32)
        ours = logits(stack_policies([policy]), observations[None])[0]
        assert np.mean(ours.argmax(1) == model.predict(observations, deterministic=True)[0]) > 0.999
