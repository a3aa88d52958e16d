"""Models that hmmlearn fits and SB3 saves, over other instruments: the brain lives as the libraries do."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.types import WINDOW
from tests.brain.markets import market
from tests.brain.reference import Reference, frame, regime_features, run
from tests.bundle.build import parts

pytestmark = pytest.mark.no_cover

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
gymnasium = pytest.importorskip("gymnasium")
hmmlearn = pytest.importorskip("hmmlearn.hmm")
DECIDED = 40


@dataclass(frozen=True)
class Kind:
    """One combination of everything that may differ between models."""

    symbol: str
    covariance_type: str
    n_states: int
    decoding: str
    hidden: tuple[int, ...]
    activation: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.symbol}-{self.covariance_type}-{self.n_states}-{self.decoding}-{self.activation}"


GOLD = {"digits": 2, "pip_value": 1.0, "spread_points": 20}
INDEX = {"digits": 1, "pip_value": 1.0, "spread_points": 12.5, "lot_sizes": [0, 0.1, 0.5, 1.0]}
PERIODS = {
    "hmm_config": {"momentum_period": 24, "consistency_period": 48, "range_period": 10},
    "rl_config": {"roc_period": 5, "atr_period": 50, "ema_period": 34, "range_period": 100, "volume_ma_period": 7},
}
KINDS = [
    Kind("EURUSD", "tied", 4, "single", (128, 32), "ReLU"),
    Kind("EURUSD", "spherical", 2, "filter", (), "Tanh", {"observation_pnl": "current"}),
    Kind("USDJPY", "full", 7, "viterbi", (32, 32, 32), "Tanh", {"costs": {"pip_value": 6.7}}),
    Kind("USDJPY", "diag", 1, "filter", (24,), "ReLU", PERIODS),
    Kind("XAUUSD", "diag", 6, "filter", (64, 64), "Tanh", {"costs": GOLD, **PERIODS}),
    Kind("XAUUSD", "tied", 3, "viterbi", (48,), "ReLU", {"costs": GOLD, "observation_pnl": "current"}),
    Kind("NAS100", "spherical", 5, "single", (16, 16, 16, 16), "Tanh", {"costs": INDEX}),
    Kind("NAS100", "full", 3, "viterbi", (256,), "ReLU", {"costs": INDEX, **PERIODS}),
]


class _Space(gymnasium.Env):  # type: ignore[misc, name-defined]
    """Just the spaces."""

    def __init__(self, inputs: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (inputs,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(7)


def bundle_of(kind: Kind, bars: Bars, folder: Path) -> Path:
    """A bundle whose two members are written by the real libraries."""
    made = parts(symbol=kind.symbol, n_states=kind.n_states, decoding=kind.decoding, seed=kind.n_states, **kind.options)
    hmm = hmmlearn.GaussianHMM(kind.n_states, covariance_type=kind.covariance_type, n_iter=15, random_state=2)
    inputs = regime_features(frame(bars[-1500:]), made.metadata["hmm_config"]).dropna().to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hmm.fit(inputs.astype(np.float32).astype(np.float64))
    if kind.decoding == "single":
        hmm.startprob_ = np.full(kind.n_states, 1 / kind.n_states)
    kwargs = {"net_arch": list(kind.hidden), "activation_fn": getattr(torch.nn, kind.activation)}
    ppo = sb3.PPO("MlpPolicy", _Space(9 + kind.n_states), policy_kwargs=kwargs, seed=4, device="cpu", n_steps=64)
    with torch.no_grad():  # SB3 starts its last layer so small that all logits are nearly alike
        ppo.policy.action_net.weight.mul_(100.0)
    ppo.save(folder / "ppo")
    made.raw[f"{made.model_id}_hmm.pkl"] = pickle.dumps(hmm, protocol=4)
    made.raw[f"{made.model_id}_ppo.zip"] = (folder / "ppo.zip").read_bytes()
    return made.write(folder)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_life_of_any_kind_is_the_references(kind: Kind, tmp_path: Path) -> None:
    bars = market(kind.symbol)
    path = bundle_of(kind, bars, tmp_path)
    tail = bars[-(WINDOW + DECIDED - 1) :]
    ours, theirs = replay(load_model(path, None), tail, FLAT, DECIDED), run(Reference.load(path), tail)
    assert ours.hmm_states == theirs["hmm_state"]
    np.testing.assert_allclose(ours.observations, np.array(theirs["obs"]), rtol=0, atol=1e-6)
    assert ours.actions == theirs["action"]
    for name in ("direction", "intensity"):
        assert [getattr(twin, name) for twin in ours.twins] == theirs[name]
    for name in ("entry_price", "floating_pnl", "realized_pnl"):
        np.testing.assert_allclose([getattr(twin, name) for twin in ours.twins], theirs[name], rtol=0, atol=1e-9)
