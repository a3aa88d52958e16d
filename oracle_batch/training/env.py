"""The training environment: one twin on one history, as gymnasium wants it.

It is the live brain with the policy taken out. The observation, the regime and the twin are computed by
:mod:`oracle_batch.brain`; in a step the action is executed at the close of its bar, as DESIGN §3.5 orders events, and
time moves on to the next bar. The reward is :mod:`oracle_batch.training.reward`'s.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from oracle_batch.brain import twin
from oracle_batch.brain.decide import observed_twins
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.bundle.model import Model
from oracle_batch.errors import DataError, UsageError
from oracle_batch.training.reward import Reward
from oracle_batch.training.tape import Tape, inputs_of
from oracle_batch.types import ACTIONS

Observation = NDArray[np.float32]

LARGEST = 1e6
"""No observation comes near: market values lie within ±1, the twin's lots times ten within the lot sizes'."""


def observation_space(n_states: int) -> spaces.Space[Observation]:
    """6 market values, ``n_states`` one-hot, 3 of the twin; float32."""
    return spaces.Box(-LARGEST, LARGEST, (inputs_of(n_states),), np.float32)


def action_space() -> spaces.Space[np.int64]:
    """The seven actions of :data:`oracle_batch.types.ACTIONS`."""
    return spaces.Discrete(len(ACTIONS))


def refuse_short(tape: Tape, episode_bars: int) -> None:
    """An episode needs one bar more than it has actions.

    Raises:
        DataError: the tape is shorter.
    """
    if len(tape) <= episode_bars:
        raise DataError(
            f"{len(tape)} decided bars are too few for an episode of {episode_bars}",
            field="episode_bars",
            fix=f"give at most {len(tape) - 1}, or a longer history",
        )


class TradingEnv(gymnasium.Env[Observation, np.int64]):
    """Episodes of ``episode_bars`` actions from a flat twin, at a random place of the tape or at a given one.

    ``model`` gives features, costs and what the observation shows of the twin; its policy is not asked. An episode is
    truncated at its end, never terminated: the twin has no margin to lose. ``reset(options={"start": row})`` begins at
    a row of the tape, ``{"bars": n}`` makes that episode ``n`` actions long.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so

    def __init__(self, model: Model, tape: Tape, reward: Reward, episode_bars: int) -> None:
        refuse_short(tape, episode_bars)
        self.observation_space = observation_space(model.regime.n_states)
        self.action_space = action_space()
        self._model, self._tape, self._reward, self._episode_bars = model, tape, reward, episode_bars
        self._times, self._closes = tape.bars.time.tolist(), tape.bars.close.tolist()
        self._states = tape.states.tolist()
        self._twin, self._row, self._end, self._equity = FLAT, 0, episode_bars, 0.0

    @property
    def twin(self) -> TwinState:
        """The position as the last step left it."""
        return self._twin

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        bars, start = self._asked(options or {})
        self._row = int(self.np_random.integers(len(self._tape) - bars)) if start is None else start
        self._end = min(self._row + bars, len(self._tape) - 1)
        self._twin, self._equity = FLAT, 0.0
        return self._observation(), {}

    def _asked(self, options: dict[str, Any]) -> tuple[int, int | None]:
        """Length and first row of an episode.

        Raises:
            UsageError: naming the option that the tape has no room for.
        """
        for name, least, most in (("bars", 1, len(self._tape) - 1), ("start", 0, len(self._tape) - 2)):
            if (given := options.get(name)) is not None and not least <= int(given) <= most:
                raise UsageError(f"is {given}", field=f'options["{name}"]', fix=f"give {least} to {most}")
        bars, start = options.get("bars"), options.get("start")
        return self._episode_bars if bars is None else int(bars), None if start is None else int(start)

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        row, costs = self._row, self._model.costs
        self._twin = twin.step(self._twin, int(action), self._states[row], self._times[row], self._closes[row], costs)
        self._row = row + 1
        equity = self._twin.realized_pnl + twin.mark(self._twin, self._closes[row + 1], costs)
        reward = self._reward.of(equity - self._equity)
        self._equity = equity
        return self._observation(), reward, False, self._row >= self._end, {"equity": equity}

    def _observation(self) -> Observation:
        row = self._row
        seen = observed_twins((self._model,), (self._twin,), (self._closes[row],))[0]
        return np.concatenate([self._tape.fixed[row], seen])
