"""Our rollout and update are SB3's PPO, only quicker: the same losses, gradients, steps and save file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from threadpoolctl import threadpool_limits

from oracle_batch.brain import policy
from oracle_batch.training.learner import Learner, Rollout, new_ppo
from oracle_batch.training.parameters import PpoParameters
from oracle_batch.training.reward import Reward
from oracle_batch.training.vec_env import TradingVecEnv
from tests.training.build import model, tape

SMALL = PpoParameters(n_steps=256, n_envs=8, batch_size=256, n_epochs=1, net=(16, 8), learning_rate=1e-2)


def learner(parameters: PpoParameters = SMALL, seed: int = 3) -> Learner:
    env = TradingVecEnv(model(), tape(), Reward(2.0, 0.02), 21, parameters.n_envs, seed=seed)
    env.reset()
    return Learner(new_ppo(env, parameters, seed), env, parameters, np.random.default_rng(seed))


def as_sb3_stores_it(ours: Learner, rollout: Rollout) -> RolloutBuffer:
    """The rollout in SB3's own buffer, filled as ``OnPolicyAlgorithm.collect_rollouts`` does."""
    own = ours.model
    steps, n_envs = rollout.actions.shape
    buffer = RolloutBuffer(
        steps, own.observation_space, own.action_space, "cpu", own.gae_lambda, own.gamma, n_envs=n_envs
    )
    starts = np.zeros(n_envs, np.float32)
    cut = {step: (which, last) for step, which, last in rollout.cut}
    for step in range(steps):
        with torch.no_grad():
            values, log_prob, _ = own.policy.evaluate_actions(
                torch.from_numpy(rollout.observations[step]), torch.from_numpy(rollout.actions[step])
            )
            rewards = rollout.rewards[step].copy()
            if step in cut:
                which, last = cut[step]
                rewards[which] += own.gamma * own.policy.predict_values(torch.from_numpy(last)).numpy()[:, 0]
        buffer.add(rollout.observations[step], rollout.actions[step], rewards, starts, values, log_prob)
        starts = rollout.ended[step].astype(np.float32)
    with torch.no_grad():
        last_values = own.policy.predict_values(torch.from_numpy(rollout.observations[-1]))
    buffer.compute_returns_and_advantage(last_values, starts)
    return buffer


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_an_update_equals_stable_baselines_own_on_the_same_rollout(activation: Any) -> None:
    parameters = PpoParameters(
        n_steps=256, n_envs=8, batch_size=256, n_epochs=3, net=(16, 8), learning_rate=1e-2, activation=activation
    )
    ours = learner(parameters)
    rollout = ours.collect()
    assert rollout.cut, "some episodes end within the rollout"
    theirs = new_ppo(ours.env, parameters, 3)
    theirs.policy.load_state_dict({name: value.clone() for name, value in ours.model.policy.state_dict().items()})
    theirs.rollout_buffer = as_sb3_stores_it(ours, rollout)
    gains, values = ours.advantages(rollout)
    assert np.allclose(theirs.rollout_buffer.advantages, gains, atol=1e-5)
    assert np.allclose(theirs.rollout_buffer.values, values, atol=1e-5)
    theirs.set_logger(Logger(None, []))
    theirs._current_progress_remaining = 1.0
    before = {name: value.clone() for name, value in ours.model.policy.state_dict().items()}
    theirs.train()
    losses = ours.update(rollout)
    for name, value in ours.model.policy.state_dict().items():
        assert torch.allclose(value, theirs.policy.state_dict()[name], atol=2e-5), name
        assert not torch.equal(value, before[name]), name
    assert losses["entropy"] > 1.0


def test_the_gradient_is_the_one_autograd_finds() -> None:
    from oracle_batch.training.gradients import ActorCritic, Batch, LossTerms, log_softmax, taken

    rng = np.random.default_rng(0)
    own = new_ppo(learner().env, SMALL, 11).policy
    nets = ActorCritic(own, "tanh")
    seen = rng.normal(0, 1, (64, 12)).astype(np.float32)
    actions = rng.integers(0, 7, 64)
    before = taken(log_softmax(nets.actor.forward(seen)[-1]), actions) + rng.normal(0, 0.3, 64).astype(np.float32)
    batch = Batch(seen, actions, *(rng.normal(0, 1, 64).astype(np.float32) for _ in range(2)), before)
    nets.loss(batch, LossTerms(0.2, 0.5, 0.01))
    values, logs, entropy = own.evaluate_actions(torch.from_numpy(seen), torch.from_numpy(actions))
    gains = torch.from_numpy(batch.advantages)
    gains = (gains - gains.mean()) / (gains.std() + 1e-8)
    ratio = torch.exp(logs - torch.from_numpy(before))
    assert (abs(ratio - 1) > 0.2).any(), "some are clipped"
    surrogate = torch.min(gains * ratio, gains * torch.clamp(ratio, 0.8, 1.2)).mean()
    error = torch.nn.functional.mse_loss(torch.from_numpy(batch.returns), values[:, 0])
    (-surrogate + 0.5 * error - 0.01 * entropy.mean()).backward()
    expected = np.concatenate([part.grad.numpy().ravel() for part in nets._torch_parameters])
    assert np.allclose(nets.slopes, expected, atol=1e-6)


def test_a_model_begins_alike_whatever_the_number_of_threads() -> None:
    """Nets of the default size, which are large enough for a second thread to change what a sum comes to."""
    parameters = PpoParameters(n_steps=256, n_envs=8, batch_size=256)
    begun = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            begun.append([weight.tobytes() for weight in learner(parameters).actor.weights])
    assert begun[0] == begun[1] == begun[2]


def test_the_save_file_is_a_plain_sb3_model_with_the_trained_weights() -> None:
    ours = learner()
    for _ in range(3):
        ours.update(ours.collect())
    loaded = PPO.load(io.BytesIO(ours.saved()), device="cpu")
    assert type(loaded) is PPO
    assert loaded.num_timesteps == 3 * 256
    seen = ours.env.observations
    logits = policy.logits(policy.stack_policies([ours.actor]), seen[None])[0]
    assert loaded.predict(seen, deterministic=True)[0].tolist() == logits.argmax(axis=1).tolist()
    momentum = loaded.policy.optimizer.state_dict()["state"][0]
    assert momentum["step"].item() == 3
    assert momentum["exp_avg"].abs().sum() > 0


def test_stable_baselines_trains_on_from_the_save_file() -> None:
    ours = learner()
    ours.update(ours.collect())
    loaded = PPO.load(io.BytesIO(ours.saved()), env=ours.env, device="cpu")
    loaded.set_logger(Logger(None, []))  # the one of its own would leave a folder behind
    loaded.learn(256, reset_num_timesteps=False)
    assert loaded.num_timesteps == 512


def test_a_restored_snapshot_goes_on_exactly_as_the_original() -> None:
    ours = learner()
    ours.update(ours.collect())
    saved = ours.snapshot()
    ahead = [ours.update(ours.collect()) for _ in range(2)]
    other = learner(seed=9)
    other.restore(saved)
    assert [other.update(other.collect()) for _ in range(2)] == ahead
    for mine, theirs in zip(ours.actor.weights, other.actor.weights, strict=True):
        assert np.array_equal(mine, theirs)


def test_learning_finds_an_obvious_edge() -> None:
    """On a market that only rises, the policy goes long and stays."""
    from dataclasses import replace as with_

    rising = with_(tape(), bars=with_(tape().bars, close=1.1 + 0.0002 * np.arange(len(tape()))))
    parameters = PpoParameters(n_steps=1024, n_envs=16, batch_size=256, n_epochs=10, learning_rate=3e-3, net=(32,))
    env = TradingVecEnv(model(), rising, Reward(1.0, 0.0), 60, 16, seed=1)
    env.reset()
    ours = Learner(new_ppo(env, parameters, 1), env, parameters, np.random.default_rng(1))
    for _ in range(12):
        ours.update(ours.collect())
    logits = policy.logits(policy.stack_policies([ours.actor]), env.observations[None])[0]
    assert set(logits.argmax(axis=1).tolist()) == {3}
