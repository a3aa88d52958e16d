"""A model as the brain uses it: plain numbers and NumPy arrays, nothing that can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Float32 = NDArray[np.float32]

Decoding = Literal["single", "filter", "viterbi"]
Activation = Literal["tanh", "relu"]
ObservationPnl = Literal["previous", "current"]


@dataclass(frozen=True, slots=True)
class FeatureParams:
    """Periods of the features ``v1``, in bars (DESIGN §3.2)."""

    momentum_period: int
    consistency_period: int
    hmm_range_period: int
    roc_period: int
    atr_period: int
    ema_period: int
    rl_range_period: int
    volume_ma_period: int


@dataclass(frozen=True, slots=True)
class TrainingCosts:
    """What trading cost in the training environment (DESIGN §3.5).

    ``point`` is the smallest price step, ``pip_value`` money per pip and lot in the account currency,
    ``lot_sizes`` lots by intensity (index 0 is 0).
    """

    point: float
    digits: int
    pip_value: float
    spread_points: float
    slippage_points: float
    commission_per_lot: float
    lot_sizes: tuple[float, float, float, float]

    @property
    def points_per_pip(self) -> float:
        """10 when prices carry a fractional pip (3 or 5 digits), else 1."""
        return 10.0 if self.digits in (3, 5) else 1.0


@dataclass(frozen=True, slots=True)
class RegimeModel:
    """A Gaussian hidden Markov model over three inputs, any covariance type brought to one form.

    Shapes, N states: ``startprob`` (N,), ``transmat`` (N, N) rows from-state, ``means`` (N, 3),
    ``whitening`` (N, 3, 3) lower-triangular inverse Cholesky factors of the covariances,
    ``log_norm`` (N,) the log density at each mean.
    """

    startprob: Float64
    transmat: Float64
    means: Float64
    whitening: Float64
    log_norm: Float64

    @property
    def n_states(self) -> int:
        return len(self.startprob)


@dataclass(frozen=True, slots=True)
class PolicyNet:
    """The actor of an SB3 ``MlpPolicy``: per layer weights (inputs, outputs) and bias (outputs,), float32.

    The activation stands between layers; the last layer gives the seven logits.
    """

    weights: tuple[Float32, ...]
    biases: tuple[Float32, ...]
    activation: Activation

    @property
    def shape(self) -> tuple[int, ...]:
        """Layer widths, inputs first, e.g. ``(14, 64, 64, 7)``."""
        return (self.weights[0].shape[0], *(bias.shape[0] for bias in self.biases))


@dataclass(frozen=True, slots=True)
class Model:
    """One compiled bundle. ``symbol`` names its files, ``broker_symbol`` is what the broker calls it."""

    model_id: str
    symbol: str
    broker_symbol: str
    timeframe: str
    sha256: str
    format_version: str
    decoding: Decoding
    covariance_type: str
    observation_pnl: ObservationPnl
    features: FeatureParams
    costs: TrainingCosts
    regime: RegimeModel
    policy: PolicyNet
