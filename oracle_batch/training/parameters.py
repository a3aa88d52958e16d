"""Everything that decides what training makes of the same bars, with the seeds' defaults where they give one."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from oracle_batch.bundle.model import Activation, Decoding, FeatureParams, ObservationPnl
from oracle_batch.errors import UsageError
from oracle_batch.types import WINDOW

V1: Final = FeatureParams(
    momentum_period=12,
    consistency_period=12,
    hmm_range_period=20,
    roc_period=10,
    atr_period=14,
    ema_period=200,
    rl_range_period=20,
    volume_ma_period=20,
)
"""The periods of the features ``v1`` in every known model."""
LONGEST_EMA: Final = 1_000_000

_Share = Annotated[float, Meta(gt=0, lt=1)]
_Count = Annotated[int, Meta(ge=1)]
_Factor = Annotated[float, Meta(ge=0, le=1)]


class SplitParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of the history, in time: train, then validation, then test."""

    train: _Share = 0.70
    validation: _Share = 0.15
    test: _Share = 0.15
    warmup_bars: Annotated[int, Meta(ge=WINDOW)] = WINDOW


class HmmParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The regime model. ``starts`` fits begin at different points, the likeliest is kept."""

    n_states: Annotated[int, Meta(ge=1, le=20)] = 5
    covariance_type: Literal["full", "diag", "spherical", "tied"] = "full"
    decoding: Decoding = "filter"
    iterations: _Count = 100
    tolerance: Annotated[float, Meta(gt=0)] = 1e-2
    starts: _Count = 3
    min_covariance: Annotated[float, Meta(gt=0)] = 1e-3


class EnvParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The trading environment. ``risk_aversion`` is explained at :mod:`oracle_batch.training.reward`."""

    initial_balance: Annotated[float, Meta(gt=0)] = 10_000.0
    lot_sizes: tuple[float, float, float, float] = (0.0, 0.01, 0.03, 0.05)
    episode_bars: Annotated[int, Meta(ge=2)] = 1_000
    observation_pnl: ObservationPnl = "previous"
    risk_aversion: Annotated[float, Meta(ge=0, le=10)] = 0.02


class PpoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proximal policy optimisation. ``n_steps`` are the steps of one rollout over all ``n_envs`` episodes together."""

    total_steps: _Count = 2_000_000
    n_steps: _Count = 4_096
    n_envs: _Count = 128
    batch_size: Annotated[int, Meta(ge=2)] = 512
    n_epochs: _Count = 10
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 3e-4
    gamma: _Factor = 0.99
    gae_lambda: _Factor = 0.95
    clip_range: Annotated[float, Meta(gt=0, le=1)] = 0.2
    entropy: Annotated[float, Meta(ge=0)] = 0.05
    value_weight: Annotated[float, Meta(ge=0)] = 0.5
    max_grad_norm: Annotated[float, Meta(gt=0)] = 0.5
    net: tuple[_Count, ...] = (64, 64)
    activation: Activation = "tanh"


class SelectionParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the policy is scored on the validation part, and after how many scores without a better one it ends."""

    every_rollouts: _Count = 10
    patience: _Count = 15


class TrainingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them. The same parameters, seed and bars give the same arrays."""

    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    split: SplitParameters = SplitParameters()
    features: FeatureParams = V1
    hmm: HmmParameters = HmmParameters()
    env: EnvParameters = EnvParameters()
    ppo: PpoParameters = PpoParameters()
    selection: SelectionParameters = SelectionParameters()


def checked(parameters: TrainingParameters) -> TrainingParameters:
    """The same parameters, or the first that cannot be.

    Raises:
        UsageError: naming the parameter.
    """
    try:
        msgspec.convert(msgspec.to_builtins(parameters), TrainingParameters)
    except msgspec.ValidationError as error:
        raise UsageError(str(error), field="training parameters") from None
    split, ppo, lots = parameters.split, parameters.ppo, parameters.env.lot_sizes
    total = split.train + split.validation + split.test
    if total > 1 + 1e-9:
        raise UsageError(f"the shares add up to {total:g}: the parts overlap", field="split", fix="make them at most 1")
    for name, period in msgspec.to_builtins(parameters.features).items():
        most = LONGEST_EMA if name == "ema_period" else WINDOW - 1
        if not 1 <= period <= most:
            raise UsageError(f"is {period}", field=f"features.{name}", fix=f"give 1 to {most} bars")
    if ppo.n_steps % ppo.n_envs:
        raise UsageError(f"{ppo.n_steps} is no multiple of n_envs, {ppo.n_envs}", field="n_steps", fix="make it one")
    if ppo.n_steps % ppo.batch_size:
        raise UsageError(f"{ppo.batch_size} does not divide n_steps, {ppo.n_steps}", field="batch_size")
    if not lots[0] == 0.0 < lots[1] <= lots[2] <= lots[3]:
        raise UsageError(
            f"is {list(lots)}",
            field="lot_sizes",
            fix="it starts at 0, then grows from weak to strong: 0,0.01,0.03,0.05",
        )
    return parameters
