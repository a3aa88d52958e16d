"""Training one policy: rollouts and updates, scores on the validation part, the best one kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import replace as with_
from typing import Any, Protocol

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from oracle_batch.bundle.model import Model, PolicyNet
from oracle_batch.training.interrupts import interruptible
from oracle_batch.training.learner import Learner, new_ppo
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.reward import Reward
from oracle_batch.training.score import Result, Score, result_of
from oracle_batch.training.tape import Tape
from oracle_batch.training.vec_env import TradingVecEnv

State = dict[str, Any]
_log = logging.getLogger(__name__)


class ProgressBar(Protocol):
    """Something that shows how far a loop has come."""

    def advance(self) -> None: ...


ShowProgress = Callable[[str, int], AbstractContextManager[ProgressBar]]
"""Title and total number of steps to a progress bar."""


class Evaluation(msgspec.Struct, frozen=True):
    """What the policy was worth after so many steps."""

    steps: int
    validation: Score
    entropy: float


@dataclass(frozen=True, slots=True)
class FittedPolicy:
    """The best policy of one run: the brain's copy and SB3's save file.

    ``daily`` are its daily changes of equity on the validation part; ``state`` is the run's last one.
    """

    seed: int
    actor: PolicyNet
    ppo: bytes
    best: Evaluation
    daily: list[float]
    evaluations: list[Evaluation]
    stopped_early: bool
    state: State


@dataclass(frozen=True, slots=True)
class Ground:
    """What all runs of a model share: the model with a blank policy, its tapes and its reward."""

    model: Model
    train: Tape
    validation: Tape
    reward: Reward


class PolicyFit:
    """One run. ``state`` is always that after the last whole rollout, so it can be saved at any moment."""

    def __init__(self, ground: Ground, parameters: TrainingParameters, seed: int) -> None:
        self._ground, self._parameters, self._seed = ground, parameters, seed
        ppo, bars = parameters.ppo, parameters.env.episode_bars
        episode = min(bars, len(ground.train) - 1)
        env = TradingVecEnv(ground.model, ground.train, ground.reward, episode, ppo.n_envs, seed=seed)
        env.reset()
        self._learner = Learner(new_ppo(env, ppo, seed), env, ppo, np.random.default_rng([seed, 1]))
        self._evaluations: list[Evaluation] = []
        self._best: tuple[Evaluation, State] | None = None
        self._waited = self._rollouts = 0
        self.state = self._snapshot()

    def run(self, progress: ShowProgress, save: Callable[[State], None]) -> FittedPolicy:
        """Train to the end, or until patience is at its end; ``save`` gets the state after each evaluation.

        An interruption saves the state, too, and goes on its way.
        """
        ppo, selection = self._parameters.ppo, self._parameters.selection
        wanted = -(-ppo.total_steps // ppo.n_steps)
        title = f"{self._ground.model.model_id} seed {self._seed}"
        try:
            with interruptible() as check, progress(title, wanted) as bar, threadpool_limits(1):
                for _ in range(self._rollouts):
                    bar.advance()
                while self._rollouts < wanted and self._waited < selection.patience:
                    check()
                    losses = self._learner.update(self._learner.collect())
                    self._rollouts += 1
                    due = self._rollouts % selection.every_rollouts == 0 or self._rollouts == wanted
                    if due:
                        self._evaluate(losses["entropy"])
                    self.state = self._snapshot()
                    if due:
                        save(self.state)
                    bar.advance()
        except KeyboardInterrupt:
            save(self.state)
            done = self.state["rollouts"] * ppo.n_steps
            _log.warning("%s: interrupted; %d steps are saved, --resume goes on from there", title, done)
            raise
        assert self._best is not None
        best, nets = self._best
        self._learner.restore(nets)
        return FittedPolicy(
            self._seed,
            self._learner.actor,
            self._learner.saved(),
            best,
            self._validated().daily.tolist(),
            self._evaluations,
            self._rollouts < wanted,
            self.state,
        )

    def _evaluate(self, entropy: float) -> None:
        """Score the policy as it would act, without chance, on the validation part."""
        found = Evaluation(self._rollouts * self._parameters.ppo.n_steps, self._validated().score, round(entropy, 6))
        self._evaluations.append(found)
        if self._best is None or found.validation.score > self._best[0].validation.score:
            self._best, self._waited = (found, self._learner.snapshot()), 0
        else:
            self._waited += 1

    def _validated(self) -> Result:
        ground = self._ground
        model = with_(ground.model, policy=self._learner.actor)
        return result_of(model, ground.validation, ground.reward, self._parameters.env.initial_balance)

    def _snapshot(self) -> State:
        return {
            "learner": self._learner.snapshot(),
            "best": self._best[1] if self._best else None,
            "best_evaluation": msgspec.to_builtins(self._best[0]) if self._best else None,
            "evaluations": [msgspec.to_builtins(one) for one in self._evaluations],
            "rollouts": self._rollouts,
            "waited": self._waited,
        }

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        self._learner.restore(state["learner"])
        self._evaluations = msgspec.convert(state["evaluations"], list[Evaluation])
        self._rollouts, self._waited = int(state["rollouts"]), int(state["waited"])
        if state["best"] is not None:
            self._best = msgspec.convert(state["best_evaluation"], Evaluation), state["best"]
        self.state = self._snapshot()
