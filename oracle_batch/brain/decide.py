"""From windows and twins to signals: all models of a tick in one pass, or one model over its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.brain import features, policy, regime, twin
from oracle_batch.brain.twin import TwinState
from oracle_batch.bundle.model import Model
from oracle_batch.types import WINDOW

REPLAY_CHUNK = 512

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
SERIES = ("high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Windows:
    """The last 350 closed bars of M models: ``time`` (M,) open time of the newest, the rest (M, 350) float64."""

    time: NDArray[np.int64]
    high: Float64
    low: Float64
    close: Float64
    volume: Float64


def stack_windows(histories: Sequence[Bars]) -> Windows:
    """The windows of the given histories, each at least 350 bars long."""
    return Windows(
        np.array([bars.time[-1] for bars in histories], np.int64),
        *(np.stack([getattr(bars, name)[-WINDOW:] for bars in histories]) for name in SERIES),
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What the brain wants on one bar, and the twin after it. ``action`` indexes ``types.ACTIONS``."""

    action: int
    hmm_state: int
    twin: TwinState


@dataclass(frozen=True, slots=True)
class _Family:
    """Models that share periods, decoding, state count and net shape, and so are computed as one stack."""

    rows: slice | NDArray[np.intp]
    models: tuple[Model, ...]
    regimes: regime.RegimeStack
    policies: policy.PolicyStack
    column: NDArray[np.intp]
    one_hot: Float32

    @property
    def like(self) -> Model:
        return self.models[0]


def _family_key(model: Model) -> tuple[object, ...]:
    return (
        model.features,
        model.decoding,
        model.regime.n_states,
        model.policy.shape,
        model.policy.activation,
        model.observation_pnl,
    )


class Brain:
    """A set of models prepared to decide together; alike ones are stacked once, here."""

    def __init__(self, models: Sequence[Model]) -> None:
        members: dict[tuple[object, ...], list[int]] = {}
        for index, model in enumerate(models):
            members.setdefault(_family_key(model), []).append(index)
        self.models = tuple(models)
        self._families = [
            self._family(slice(None) if len(members) == 1 else np.array(rows, np.intp), [models[row] for row in rows])
            for rows in members.values()
        ]

    @staticmethod
    def _family(rows: slice | NDArray[np.intp], models: Sequence[Model]) -> _Family:
        return _Family(
            rows,
            tuple(models),
            regime.stack_regimes([model.regime for model in models]),
            policy.stack_policies([model.policy for model in models]),
            np.arange(len(models)),
            np.eye(models[0].regime.n_states, dtype=np.float32),
        )

    def decide(self, windows: Windows, twins: Sequence[TwinState]) -> list[Decision]:
        """One decision a model, in the models' order. Pure: the twins given are not changed."""
        everyone = np.arange(len(self.models))
        decisions: list[Decision | None] = [None] * len(self.models)
        for family in self._families:
            indices = everyone[family.rows].tolist()
            states = [twins[index] for index in indices]
            for index, decision in zip(indices, _decide_family(family, windows, states), strict=True):
                decisions[index] = decision
        return [decision for decision in decisions if decision is not None]


def _decide_family(family: _Family, windows: Windows, twins: Sequence[TwinState]) -> list[Decision]:
    model, rows = family.like, family.rows
    close = windows.close[rows]
    newest = windows.time[rows]
    counted = _bars_decoded(model)
    reach = min(features.lookback(model.features, counted), WINDOW)
    columns = features.Columns(*(np.ascontiguousarray(getattr(windows, name)[rows, -reach:].T) for name in SERIES))
    position, rl_position = features.both_positions(columns, model.features, counted, 1)
    inputs = features.regime_inputs(columns, position, model.features, counted)
    if model.decoding == "single":
        states = regime.decode_single(family.regimes, inputs)[0]
    else:
        states = _decode(model, family.regimes, inputs, lambda models: _whole_density(family, windows, models))
    ema = features.window_ema(close, model.features.ema_period, 1)
    n_states = model.regime.n_states
    observation = np.empty((len(twins), 1, features.MARKET_INPUTS + n_states + features.TWIN_INPUTS), np.float32)
    observation[:, 0, : features.MARKET_INPUTS] = features.market_inputs(
        columns, rl_position, ema, newest[None, :], model.features, 1
    )[0]
    observation[:, 0, features.MARKET_INPUTS : -features.TWIN_INPUTS] = family.one_hot[states]
    closes = close[:, -1].tolist()
    observation[:, 0, -features.TWIN_INPUTS :] = observed_twins(family.models, twins, closes)
    actions = np.argmax(policy.logits(family.policies, observation)[:, 0], axis=-1)
    return [
        Decision(action, state, twin.step(before, action, state, bar_time, last, one.costs))
        for one, before, action, state, bar_time, last in zip(
            family.models, twins, actions.tolist(), states.tolist(), newest.tolist(), closes, strict=True
        )
    ]


def observed_twins(models: Sequence[Model], twins: Sequence[TwinState], closes: Sequence[float]) -> Float32:
    """Observation values of the twins as the previous bar left them, or marked first (``observation_pnl``)."""
    floating = (
        [state.floating_pnl for state in twins]
        if models[0].observation_pnl == "previous"
        else [twin.mark(*marked) for marked in zip(twins, closes, (one.costs for one in models), strict=True)]
    )
    lots = [one.costs.lot_sizes[state.intensity] for one, state in zip(models, twins, strict=True)]
    return features.twin_inputs(np.array([state.direction for state in twins]), np.array(lots), np.array(floating))


def _bars_decoded(model: Model) -> int:
    """How many of the newest bars the decoding looks at first."""
    if model.decoding == "single":
        return 1
    whole = _whole_length(model)
    return min(whole, regime.RECENT) if model.decoding == "filter" else whole


def _whole_length(model: Model) -> int:
    """Bars of a window that have all three regime inputs."""
    return WINDOW - features.first_full_row(model.features)


def _decode(
    model: Model, stack: regime.RegimeStack, inputs: Float32, whole_density: Callable[[regime.States], Float64]
) -> regime.States:
    """States by ``filter`` or ``viterbi``: ``inputs`` (T, M, 3) → (M,).

    Where the filter's last bars alone do not settle the state, the whole window's densities are asked for.
    """
    density = regime.log_density(stack, inputs)
    if model.decoding == "viterbi":
        return regime.decode_viterbi(stack, density)
    if len(inputs) == _whole_length(model):
        return regime.decode_filter(stack, density)
    states, sure = regime.foretell_filter(stack, density)
    open_ones = np.flatnonzero(~sure)
    if len(open_ones):
        states[open_ones] = regime.decode_filter(regime.take(stack, open_ones), whole_density(open_ones))
    return states


def _whole_density(family: _Family, windows: Windows, models: regime.States) -> Float64:
    """Densities of the whole windows of some models of a family: (N, models, T)."""
    rows = family.column[models] if isinstance(family.rows, slice) else family.rows[models]
    columns = features.Columns(*(np.ascontiguousarray(getattr(windows, name)[rows].T) for name in SERIES))
    params, length = family.like.features, _whole_length(family.like)
    position = features.range_position(columns, params.hmm_range_period, length)
    inputs = features.regime_inputs(columns, position, params, length)
    return regime.log_density(regime.take(family.regimes, models), inputs)


def market_view(model: Model, bars: Bars, count: int) -> tuple[NDArray[np.intp], Float32]:
    """What does not depend on the twin, for the last ``count`` bars: states (count,), market inputs (count, 6).

    ``bars`` must hold ``WINDOW - 1`` bars before the first of them.
    """
    reach = count + WINDOW - 1
    columns = features.Columns(*(np.ascontiguousarray(getattr(bars, name)[-reach:, None]) for name in SERIES))
    close = np.ascontiguousarray(bars.close[None, -reach:])
    ema = features.window_ema(close, model.features.ema_period, count)
    length = 1 if model.decoding == "single" else _whole_length(model)
    counted = count + length - 1
    position, rl_position = features.both_positions(columns, model.features, counted, count)
    market = features.market_inputs(columns, rl_position, ema, bars.time[-count:, None], model.features, count)[:, 0]
    inputs = features.regime_inputs(columns, position, model.features, counted)
    stack = regime.stack_regimes([model.regime])
    if model.decoding == "single":
        return regime.decode_single(stack, inputs)[:, 0], market
    return _decode_each(model, stack, inputs[:, 0], length), market


def _decode_each(model: Model, stack: regime.RegimeStack, inputs: Float32, length: int) -> regime.States:
    """The state of every window of ``length`` bars over one model's ``inputs``, (T, 3) → (T - length + 1,)."""
    recent = _bars_decoded(model)
    whole = sliding_window_view(inputs, length, axis=0).transpose(2, 0, 1)  # (length, windows, 3)
    states = []
    for start in range(0, whole.shape[1], REPLAY_CHUNK):
        chunk = whole[:, start : start + REPLAY_CHUNK]
        states.append(
            _decode(model, stack, chunk[-recent:], lambda some, of=chunk: regime.log_density(stack, of[:, some]))  # type: ignore[misc]
        )
    return np.concatenate(states)


@dataclass(frozen=True, slots=True)
class Replay:
    """A model's life over the decided bars: one entry a bar, ``twins`` after it."""

    time: NDArray[np.int64]
    actions: list[int]
    hmm_states: list[int]
    twins: list[TwinState]
    observations: Float32


def replay(model: Model, bars: Bars, start: TwinState, count: int) -> Replay:
    """Decide the last ``count`` bars one after another, from the twin ``start``.

    Equal to ``count`` single decisions to the last bit. ``bars`` must hold at least ``count + 349`` bars.
    """
    return live_through(model, market_view(model, bars, count), bars[-count:], start)


def live_through(model: Model, view: tuple[NDArray[np.intp], Float32], bars: Bars, start: TwinState) -> Replay:
    """Decide ``bars`` one after another, where :func:`market_view` of them is at hand."""
    states, market = view
    count, n_states = len(states), model.regime.n_states
    rows = np.empty((count, features.MARKET_INPUTS + n_states + features.TWIN_INPUTS), np.float32)
    rows[:, : features.MARKET_INPUTS] = market
    rows[:, features.MARKET_INPUTS : -features.TWIN_INPUTS] = np.eye(n_states, dtype=np.float32)[states]
    stack = policy.stack_policies([model.policy])
    costs, alone = model.costs, (model,)
    state, actions, twins = start, [], []
    hmm_states = states.tolist()
    observation = rows.reshape(count, 1, 1, -1)
    closes = bars.close.tolist()
    for row, (bar_time, close, hmm_state) in enumerate(zip(bars.time.tolist(), closes, hmm_states, strict=True)):
        rows[row, -features.TWIN_INPUTS :] = observed_twins(alone, (state,), (close,))[0]
        action = int(policy.logits(stack, observation[row]).argmax())
        state = twin.step(state, action, hmm_state, bar_time, close, costs)
        actions.append(action)
        twins.append(state)
    return Replay(bars.time, actions, hmm_states, twins, rows)
