"""Many episodes of :class:`~oracle_batch.training.env.TradingEnv`, stepped in one NumPy pass.

Every twin is a row of a few arrays. The formulas are the brain's own (they take arrays as well as numbers), in the
same order, so that each episode equals the plain environment's to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from oracle_batch.brain import features
from oracle_batch.brain.twin import TwinState, entry_price, exit_price, half_commission, profit
from oracle_batch.bundle.model import Model
from oracle_batch.training.env import action_space, observation_space, refuse_short
from oracle_batch.training.reward import Reward
from oracle_batch.training.tape import Tape
from oracle_batch.types import ACTIONS

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
_DIRECTION = np.array([action.direction for action in ACTIONS], np.float64)
_INTENSITY = np.array([action.intensity for action in ACTIONS], np.intp)


@dataclass(frozen=True, slots=True)
class Advance:
    """One step of all episodes: ``rewards`` (n,) float64, which episodes are ``done``, and their last observations."""

    rewards: Float64
    done: NDArray[np.intp]
    last_observations: Float32


class TradingVecEnv(VecEnv):
    """``n_envs`` episodes. An ended one begins anew at a random place by itself, from a flat twin.

    The first episodes have different lengths, so that they do not all end in the same step.
    """

    def __init__(
        self, model: Model, tape: Tape, reward: Reward, episode_bars: int, n_envs: int, *, seed: int = 0
    ) -> None:
        refuse_short(tape, episode_bars)
        super().__init__(n_envs, observation_space(model.regime.n_states), action_space())
        self._tape, self._reward, self._episode_bars, self._costs = tape, reward, episode_bars, model.costs
        self._shows_current = model.observation_pnl == "current"
        self._lots = np.array(model.costs.lot_sizes)[_INTENSITY]
        self._close = np.ascontiguousarray(tape.bars.close)
        self._generator = np.random.default_rng(seed)
        self._actions = np.zeros(n_envs, np.intp)
        self.observations = np.empty((n_envs, tape.fixed.shape[1] + features.TWIN_INPUTS), np.float32)
        self.row = np.zeros(n_envs, np.intp)
        self.end = np.zeros(n_envs, np.intp)
        self.held = np.zeros(n_envs, np.intp)
        self.entry, self.realized, self.equity = (np.zeros(n_envs) for _ in range(3))

    def advance(self, actions: NDArray[np.integer[Any]]) -> Advance:
        """Step all episodes; ``observations`` then hold what each sees next."""
        costs, held = self._costs, self.held
        close = self._close[self.row]
        direction, lots = _DIRECTION[held], self._lots[held]
        changed = (actions != held).astype(np.float64)
        leaving = exit_price(close, direction, costs)
        closed = profit(self.entry, leaving, direction, lots, costs) - half_commission(lots, costs)
        self.realized += closed * changed
        self.held = held = actions.astype(np.intp)
        direction, lots = _DIRECTION[held], self._lots[held]
        self.realized -= half_commission(lots, costs) * changed
        self.entry = entry = np.where(changed != 0, entry_price(close, direction, costs), self.entry)
        self.row += 1
        after = self._close[self.row]
        floating = profit(entry, after, direction, lots, costs)
        equity = self.realized + floating
        rewards = self._reward.of(equity - self.equity)
        self.equity = equity
        seen = floating if self._shows_current else profit(entry, close, direction, lots, costs)
        self.observations = self._observe(direction, lots, seen)
        done = np.flatnonzero(self.row >= self.end)
        last = self.observations[done]
        if len(done):
            self._begin(done, self._episode_bars)
        return Advance(rewards, done, last)

    def _observe(self, direction: Float64, lots: Float64, floating: Float64) -> Float32:
        out = np.empty_like(self.observations)
        out[:, : -features.TWIN_INPUTS] = self._tape.fixed[self.row]
        out[:, -features.TWIN_INPUTS :] = features.twin_inputs(direction, lots, floating)
        return out

    def _begin(self, which: NDArray[np.intp], bars: int | NDArray[np.intp]) -> None:
        """New episodes of so many actions, at random places, from flat twins."""
        self.row[which] = self._generator.integers(0, len(self._tape) - self._episode_bars, len(which))
        self.end[which] = self.row[which] + bars
        self.held[which] = 0
        for column in (self.entry, self.realized, self.equity):
            column[which] = 0.0
        nothing = np.zeros(len(which))
        self.observations[which, : -features.TWIN_INPUTS] = self._tape.fixed[self.row[which]]
        self.observations[which, -features.TWIN_INPUTS :] = features.twin_inputs(nothing, nothing, nothing)

    def twin(self, index: int) -> TwinState:
        """An episode's position, as far as arrays keep it: without times and regimes."""
        action = ACTIONS[self.held[index]]
        if not action.direction:
            return TwinState(realized_pnl=float(self.realized[index]))
        lots = self._costs.lot_sizes[action.intensity]
        entry, close = float(self.entry[index]), float(self._close[self.row[index] - 1])
        return TwinState(
            direction=action.direction,
            intensity=action.intensity,
            entry_price=entry,
            floating_pnl=profit(entry, close, action.direction, lots, self._costs),
            realized_pnl=float(self.realized[index]),
        )

    def reset(self) -> VecEnvObs:
        lengths = 1 + (np.arange(1, self.num_envs + 1) * (self._episode_bars - 1)) // self.num_envs
        self._begin(np.arange(self.num_envs), lengths)
        return self.observations

    def place(self, starts: NDArray[np.intp], bars: int) -> Float32:
        """Begin every episode at a given row of the tape, ``bars`` actions long."""
        self._begin(np.arange(self.num_envs), bars)
        self.row[:] = starts
        self.end[:] = starts + bars
        nothing = np.zeros(self.num_envs)
        self.observations = self._observe(nothing, nothing, nothing)
        return self.observations

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        step = self.advance(self._actions)
        done = np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index, last in zip(step.done.tolist(), step.last_observations, strict=True):
            done[index] = True
            infos[index] = {"TimeLimit.truncated": True, "terminal_observation": last}
        return self.observations, step.rewards.astype(np.float32), done, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        self._generator = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def snapshot(self) -> dict[str, Any]:
        """All that changes from step to step, for :meth:`restore`."""
        names = ("row", "end", "held", "entry", "realized", "equity", "observations")
        return {name: getattr(self, name).copy() for name in names} | {"generator": self._generator.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        for name, value in state.items():
            if name == "generator":
                self._generator.bit_generator.state = value
            else:
                setattr(self, name, np.array(value))

    def close(self) -> None:
        """There is nothing to release."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name) if attr_name != "render_mode" else None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"{attr_name}: the episodes share one object and have no attributes of their own")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        raise AttributeError(f"{method_name}: the episodes share one object and have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]
