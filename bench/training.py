"""Training against SB3 as it comes: ``DummyVecEnv`` over one plain environment, and ``PPO.learn``; and the fan-out."""

from __future__ import annotations

import time
from dataclasses import replace as with_
from typing import Any

import numpy as np

from bench.fleet import SOURCES, bundle_of, retimed, shipped_bars
from oracle_batch.bars import Bars
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.types import WINDOW

STEPS = 4096
"""Transitions of a rollout on both sides."""
EPISODE = 1000
ACTIONS = 7


def _ground(bars: int) -> tuple[Model, Any, Any]:
    """A model, a tape of real bars, and the reward."""
    from oracle_batch.training.reward import Reward, reward_unit
    from oracle_batch.training.tape import tape_of

    model = with_(load_model(bundle_of(SOURCES[0]), None), decoding="single")
    tape = tape_of(model, shipped_bars(SOURCES[0])[:bars])
    return model, tape, Reward(reward_unit(tape.bars.close, model.costs), 0.02)


def best(work: Any, rounds: int) -> float:
    """The shortest of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def steps_per_s(env: Any, n_envs: int, rounds: int) -> float:
    """Steps a second of a vectorised environment under random actions."""
    chosen = np.random.default_rng(0).integers(0, ACTIONS, (STEPS // n_envs, n_envs))

    def rollout() -> None:
        for actions in chosen:
            env.step(actions)

    env.reset()
    rollout()
    return STEPS / best(rollout, rounds)


def measure_training(bars: int, rounds: int) -> dict[str, float]:
    """Steps a second of environment and training, ours and the reference's; both with rollouts of 4096 steps."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv
    from threadpoolctl import threadpool_limits

    from oracle_batch.training.env import TradingEnv
    from oracle_batch.training.learner import Learner, new_ppo
    from oracle_batch.training.parameters import PpoParameters
    from oracle_batch.training.vec_env import TradingVecEnv

    model, tape, reward = _ground(bars)
    ppo, episode = PpoParameters(), min(EPISODE, len(tape) - 1)
    ours = TradingVecEnv(model, tape, reward, episode, ppo.n_envs)
    theirs = DummyVecEnv([lambda: TradingEnv(model, tape, reward, episode)])
    found = {
        "env_steps_per_s": steps_per_s(ours, ppo.n_envs, 10 * rounds),
        "reference_env_steps_per_s": steps_per_s(theirs, 1, rounds),
    }
    with threadpool_limits(1):
        learner = Learner(new_ppo(ours, ppo, 1), ours, ppo, np.random.default_rng(1))
        ours.reset()
        learner.update(learner.collect())
        found["train_steps_per_s"] = STEPS / best(lambda: learner.update(learner.collect()), 3 * rounds)
    reference = PPO(
        "MlpPolicy",
        theirs,
        n_steps=STEPS,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        policy_kwargs={"net_arch": list(ppo.net)},
        device="cpu",
        seed=1,
    )
    reference.set_logger(Logger(None, []))  # the one of its own writes a folder
    found["reference_train_steps_per_s"] = STEPS / best(lambda: reference.learn(STEPS), rounds)
    found["env_over_reference"] = found["env_steps_per_s"] / found["reference_env_steps_per_s"]
    found["train_over_reference"] = found["train_steps_per_s"] / found["reference_train_steps_per_s"]
    return found


def replay_task(task: tuple[Model, Bars]) -> float:
    """One model's life over a history: its profit."""
    model, bars = task
    return replay(model, bars, FLAT, len(bars) - WINDOW + 1).twins[-1].realized_pnl


def measure_fleet(bars: int, tasks: int, rounds: int) -> dict[str, float]:
    """The same replays in this process and on two workers that are up already, in turns.

    Both sides use one thread a process and have done all of the work once before it counts. The workers' side includes
    what the product's fan-out costs: bars and models travel with the tasks, the scheduler lives in this process. The
    speed-up is of each side's best round; the median of the rounds' own shows how quiet the machine was.
    """
    from oracle_batch.training.fleet import Fleet, fleet
    from oracle_batch.training.silent import silent

    model = with_(load_model(bundle_of(SOURCES[0]), None), decoding="filter")
    whole = shipped_bars(SOURCES[0])
    work = {f"part {number}": (model, retimed(whole[number * 97 :][:bars])) for number in range(tasks)}
    answers = []
    with fleet(None, 2) as two:
        sides = {"alone": Fleet(), "together": two}
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(1 + rounds):
            for name, crew in sides.items():
                began = time.perf_counter()
                answers.append(crew.fan_out(replay_task, work, silent, "replays"))
                spent[name].append(time.perf_counter() - began)
    assert all(answer == answers[0] for answer in answers)
    alone, together = (np.array(spent[name][1:]) for name in ("alone", "together"))
    return {
        "fleet_speedup_2_workers": float(alone.min() / together.min()),
        "fleet_speedup_2_workers_median": float(np.median(alone / together)),
    }
