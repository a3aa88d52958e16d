"""Proximal policy optimisation of a plain SB3 ``PPO``, with a rollout and an update that waste nothing.

The model is SB3's own: its policy, its optimiser, its save file. What differs from ``PPO.learn``: the actor runs in
NumPy while episodes are stepped (it is the brain's own, :mod:`oracle_batch.brain.policy`), values and
log-probabilities are computed once for a whole rollout, and :mod:`oracle_batch.training.gradients` takes the place of
autograd. The update equals ``PPO.train`` on the same rollout (a test).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from threadpoolctl import threadpool_limits
from torch import nn

from oracle_batch.brain import policy
from oracle_batch.bundle.model import PolicyNet
from oracle_batch.training.gradients import ActorCritic, Batch, LossTerms, log_softmax, pieces, shuffled, taken
from oracle_batch.training.parameters import PpoParameters
from oracle_batch.training.vec_env import TradingVecEnv
from oracle_batch.types import ACTIONS

Float32 = NDArray[np.float32]
TINY = np.float32(1e-30)
_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def new_ppo(env: TradingVecEnv, ppo: PpoParameters, seed: int) -> PPO:
    """A fresh SB3 model with these parameters, on the CPU: the nets are too small for anything else.

    Made by one thread: with more, the orthogonal weights that it begins with are others in their last bit.
    """
    with threadpool_limits(1):
        return _fresh(env, ppo, seed)


def _fresh(env: TradingVecEnv, ppo: PpoParameters, seed: int) -> PPO:
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=ppo.learning_rate,
        n_steps=ppo.n_steps // ppo.n_envs,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy,
        vf_coef=ppo.value_weight,
        max_grad_norm=ppo.max_grad_norm,
        policy_kwargs={"net_arch": list(ppo.net), "activation_fn": _ACTIVATIONS[ppo.activation]},
        seed=seed,
        device="cpu",
    )


def saved(model: PPO) -> bytes:
    """The SB3 save file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ppo.zip"
        model.save(path, exclude=["env", "rollout_buffer"])
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class Rollout:
    """T steps of n episodes: ``observations`` (T + 1, n, inputs), the rest (T, n).

    ``cut`` are (step, episode, last observation) of the episodes that ended.
    """

    observations: Float32
    actions: NDArray[np.int64]
    rewards: Float32
    ended: NDArray[np.bool_]
    cut: list[tuple[int, NDArray[np.intp], Float32]]


class Learner:
    """Rollouts and updates of one model. ``generator`` draws actions and the order of minibatches."""

    def __init__(self, model: PPO, env: TradingVecEnv, ppo: PpoParameters, generator: np.random.Generator) -> None:
        self.model, self.env, self.ppo, self.generator = model, env, ppo, generator
        self._steps = ppo.n_steps // ppo.n_envs
        self._nets = ActorCritic(model.policy, ppo.activation)
        self._terms = LossTerms(ppo.clip_range, ppo.value_weight, ppo.entropy)

    @property
    def actor(self) -> PolicyNet:
        """The actor as the brain runs it; copies, so that later training does not change them."""
        actor = self._nets.actor
        return PolicyNet(
            tuple(np.ascontiguousarray(weight.T) for weight in actor.weights),
            tuple(bias.copy() for bias in actor.biases),
            self.ppo.activation,
        )

    def collect(self) -> Rollout:
        """Live ``n_steps`` steps, actions drawn from the policy."""
        env, steps, n_envs = self.env, self._steps, self.env.num_envs
        stack = policy.stack_policies([self.actor])
        observations = np.empty((steps + 1, *env.observations.shape), np.float32)
        actions = np.empty((steps, n_envs), np.int64)
        rewards = np.empty((steps, n_envs), np.float32)
        ended = np.zeros((steps, n_envs), bool)
        cut: list[tuple[int, NDArray[np.intp], Float32]] = []
        # the largest of logits plus Gumbel noise is a draw from their softmax; −log(exponential) is Gumbel
        noise = -np.log(self.generator.standard_exponential((steps, n_envs, len(ACTIONS)), np.float32) + TINY)
        for step in range(steps):
            observations[step] = env.observations
            logits = policy.logits(stack, env.observations[None])[0]
            logits += noise[step]
            actions[step] = chosen = logits.argmax(axis=1)
            made = env.advance(chosen)
            rewards[step] = made.rewards
            if len(made.done):
                ended[step, made.done] = True
                cut.append((step, made.done, made.last_observations))
        observations[steps] = env.observations
        return Rollout(observations, actions, rewards, ended, cut)

    def _values(self, observations: Float32) -> Float32:
        """What the critic expects of observations (…, inputs)."""
        flat = observations.reshape(-1, observations.shape[-1])
        return self._nets.critic.forward(flat)[-1].reshape(observations.shape[:-1])

    def advantages(self, rollout: Rollout) -> tuple[Float32, Float32]:
        """Generalised advantage estimates and values, both (T, n); an ended episode's future is worth its last value.

        Source: Schulman et al. 2016, as SB3's ``RolloutBuffer`` and its handling of time limits.
        """
        steps, n_envs = rollout.actions.shape
        gamma, decay = np.float32(self.ppo.gamma), np.float32(self.ppo.gamma * self.ppo.gae_lambda)
        values = self._values(rollout.observations)
        rewards = rollout.rewards.copy()
        for step, which, last in rollout.cut:
            rewards[step, which] += gamma * self._values(last)
        goes_on = 1 - rollout.ended.astype(np.float32)
        surprise = rewards + gamma * values[1:] * goes_on - values[:-1]
        gains = np.empty((steps, n_envs), np.float32)
        later = np.zeros(n_envs, np.float32)
        for step in range(steps - 1, -1, -1):
            later = surprise[step] + decay * goes_on[step] * later
            gains[step] = later
        return gains, values[:-1]

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Improve the policy on a rollout; gives the means of the losses and of the entropy."""
        gains, values = self.advantages(rollout)
        observations = rollout.observations[:-1].reshape(-1, rollout.observations.shape[2])
        actions = rollout.actions.reshape(-1)
        before = taken(log_softmax(self._nets.actor.forward(observations)[-1]), actions)
        batch = Batch(observations, actions, gains.reshape(-1), (gains + values).reshape(-1), before)
        losses = []
        for _ in range(self.ppo.n_epochs):
            order = self.generator.permutation(len(actions))
            for piece in pieces(shuffled(batch, order), self.ppo.batch_size):
                losses.append(self._nets.loss(piece, self._terms))
                self._nets.step(self.ppo.max_grad_norm)
        self.model._n_updates += self.ppo.n_epochs
        self.model.num_timesteps += len(actions)
        means = np.mean(losses, axis=0).tolist()
        return dict(zip(("policy_loss", "value_loss", "entropy"), means, strict=True))

    def saved(self) -> bytes:
        """The SB3 save file."""
        self._nets.tell_optimizer()
        return saved(self.model)

    def snapshot(self) -> dict[str, Any]:
        """All that the next rollout depends on, for :meth:`restore`."""
        return {
            "nets": self._nets.snapshot(),
            "steps": self.model.num_timesteps,
            "updates": self.model._n_updates,
            "generator": self.generator.bit_generator.state,
            "env": self.env.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._nets.restore(state["nets"])
        self.model.num_timesteps, self.model._n_updates = int(state["steps"]), int(state["updates"])
        self.generator.bit_generator.state = state["generator"]
        self.env.restore(state["env"])
