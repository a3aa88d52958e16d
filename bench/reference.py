"""What the same decision costs with the libraries that the models were trained with.

Written as one would write it to put a trained model to work: pandas for the features, hmmlearn for the regime,
stable-baselines3 for the action, a few lines for the position. One model after another.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

POSITIONS = {0: (0, 0), 1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (-1, 1), 5: (-1, 2), 6: (-1, 3)}


@dataclass
class ReferenceModel:
    """A bundle as hmmlearn and SB3 load it, and its position."""

    metadata: dict[str, Any]
    hmm: Any
    ppo: Any
    position: dict[str, float] = field(
        default_factory=lambda: {"direction": 0, "intensity": 0, "entry": 0.0, "floating": 0.0, "realized": 0.0}
    )


def load(path: Path) -> ReferenceModel:
    """Read a bundle with the libraries that wrote it."""
    from stable_baselines3 import PPO

    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        hmm = pickle.loads(archive.read(f"{path.stem}_hmm.pkl"))
        ppo = PPO.load(archive.extract(f"{path.stem}_ppo.zip", folder), device="cpu")
        return ReferenceModel(json.loads(archive.comment), hmm["model"] if isinstance(hmm, dict) else hmm, ppo)


def _range_position(bars: pd.DataFrame, period: int) -> pd.Series:
    highest, lowest = bars["high"].rolling(period).max(), bars["low"].rolling(period).min()
    return (bars["close"] - lowest) / (highest - lowest).replace(0, np.nan) * 2 - 1


def regime_features(bars: pd.DataFrame, config: dict[str, int]) -> np.ndarray:
    """The regime model's observation of the last bar."""
    returns, period = bars["close"].pct_change(), config["consistency_period"]
    up, down = (returns > 0).rolling(period).sum(), (returns < 0).rolling(period).sum()
    features = pd.DataFrame(
        {
            "momentum": (returns.rolling(config["momentum_period"]).sum() * 100).clip(-5, 5),
            "consistency": (np.maximum(up, down) / period * 2 - 1) * np.sign(up - down),
            "range_position": _range_position(bars, config["range_period"]),
        }
    )
    return features.iloc[-1].fillna(0).to_numpy(np.float32)


def market_features(bars: pd.DataFrame, config: dict[str, int]) -> np.ndarray:
    """The market part of the policy's observation of the last bar."""
    close, before = bars["close"], bars["close"].shift(1)
    ranges = pd.concat(
        [bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()], axis=1
    ).max(axis=1)
    ema = close.ewm(span=config["ema_period"], adjust=False).mean()
    volume_mean = bars["volume"].rolling(config["volume_ma_period"]).mean().replace(0, 1)
    hour = pd.to_datetime(bars["time"], unit="s", utc=True).dt.hour
    features = pd.DataFrame(
        {
            "roc": np.tanh(20 * close.pct_change(config["roc_period"])),
            "atr": np.tanh(50 * ranges.rolling(config["atr_period"]).mean() / close),
            "ema": np.tanh(20 * (close - ema) / ema),
            "range_position": _range_position(bars, config["range_period"]),
            "volume": np.tanh(2 * (bars["volume"] / volume_mean - 1)),
            "hour": np.sin(2 * np.pi * hour / 24),
        }
    )
    return features.iloc[-1].fillna(0).to_numpy(np.float32)


def decide(model: ReferenceModel, bars: pd.DataFrame) -> tuple[int, int]:
    """Action and regime on the newest bar of a 350-bar window; moves the model's position."""
    hmm_config, costs, position = model.metadata["hmm_config"], model.metadata["training_config"], model.position
    state = int(model.hmm.predict(regime_features(bars, hmm_config).reshape(1, -1))[0])
    one_hot = np.eye(hmm_config["n_states"], dtype=np.float32)[state]
    lots = costs["lot_sizes"][int(position["intensity"])]
    account = [position["direction"], lots * 10, np.tanh(position["floating"] / 100)]
    observation = np.concatenate([market_features(bars, model.metadata["rl_config"]), one_hot, account])
    action = int(model.ppo.predict(observation.astype(np.float32), deterministic=True)[0])
    _execute(position, action, float(bars["close"].iloc[-1]), costs)
    return action, state


def _execute(position: dict[str, float], action: int, close: float, costs: dict[str, Any]) -> None:
    """Move a position to the action's target at the bar's close, with the training environment's costs."""
    point, commission, sizes = costs["point"], costs["commission_per_lot"] / 2, costs["lot_sizes"]
    per_price = costs["pip_value"] / (point * (10 if costs["digits"] in (3, 5) else 1))
    direction, intensity = POSITIONS[action]
    if (direction, intensity) != (position["direction"], position["intensity"]):
        if position["direction"]:
            lots = sizes[int(position["intensity"])]
            leaving = close - position["direction"] * costs["slippage_points"] * point
            profit = (leaving - position["entry"]) * position["direction"] * per_price * lots
            position["realized"] += profit - commission * lots
        entry = close + direction * (costs["spread_points"] + costs["slippage_points"]) * point
        position.update(direction=direction, intensity=intensity, entry=entry if direction else 0.0)
        position["realized"] -= commission * sizes[intensity]
    moved = (close - position["entry"]) * position["direction"]
    position["floating"] = moved * per_price * sizes[intensity]
