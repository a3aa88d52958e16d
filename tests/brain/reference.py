"""The brain written a second time, from the text of DESIGN §3 and with the libraries the models were trained with.

pandas computes the features, hmmlearn the states, stable-baselines3 the actions, and a plain trading environment on
decimal numbers keeps the position. Nothing here is shared with ``oracle_batch.brain``. Slow on purpose.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from oracle_batch.bars import FIELDS, Bars

WINDOW = 350
EXECUTES = {0: (0, 0), 1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (-1, 1), 5: (-1, 2), 6: (-1, 3)}


def frame(bars: Bars) -> Any:
    """The bars as a pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame({name: getattr(bars, name) for name in FIELDS})


def _range_position(window: Any, period: int) -> Any:
    highest, lowest = window.high.rolling(period).max(), window.low.rolling(period).min()
    position = (window.close - lowest) / (highest - lowest) * 2 - 1
    return position.mask(highest == lowest, 0.0)


def regime_features(window: Any, config: Mapping[str, int]) -> Any:
    """The three HMM inputs of each bar of the window; NaN where a bar does not have one yet. float64 DataFrame."""
    import pandas as pd

    returns = window.close / window.close.shift(1) - 1
    period = config["consistency_period"]
    values = returns.tolist()
    consistency = [float("nan")] * len(values)
    for row in range(period, len(values)):
        last = values[row - period + 1 : row + 1]
        up, down = sum(one > 0 for one in last), sum(one < 0 for one in last)
        consistency[row] = (max(up, down) / period * 2 - 1) * ((up > down) - (up < down))
    return pd.DataFrame(
        {
            "momentum": (100 * returns.rolling(config["momentum_period"]).sum()).clip(-5, 5),
            "consistency": consistency,
            "position": _range_position(window, config["range_period"]),
        }
    )


def market_features(window: Any, config: Mapping[str, int]) -> Any:
    """The six market inputs of the policy on the window's last bar, float32."""
    close, last = window.close, float(window.close.iloc[-1])
    before = float(close.iloc[-1 - config["roc_period"]])
    previous = close.shift(1)
    ranges = np.maximum(
        window.high - window.low, np.maximum((window.high - previous).abs(), (window.low - previous).abs())
    )
    ema = float(close.ewm(span=config["ema_period"], adjust=False).mean().iloc[-1])
    mean_volume = float(window.volume.tail(config["volume_ma_period"]).mean())
    hour = int(window.time.iloc[-1]) // 3600 % 24
    values = [
        np.tanh(20 * (last - before) / before),
        np.tanh(50 * float(ranges.tail(config["atr_period"]).mean()) / last),
        np.tanh(20 * (last - ema) / ema),
        float(_range_position(window, config["range_period"]).iloc[-1]),
        np.tanh(2 * (float(window.volume.iloc[-1]) / (mean_volume or 1.0) - 1)),
        np.sin(2 * np.pi * hour / 24),
    ]
    return np.nan_to_num(np.array(values), nan=0.0).astype(np.float32)


def forward_in_logs(log_start: Any, log_transitions: Any, log_densities: Any) -> Any:
    """Log of the filtered joint after each bar, by the textbook's recursion: (bars, states)."""
    rows = [log_start + log_densities[0]]
    for density in log_densities[1:]:
        paths = rows[-1][:, None] + log_transitions
        peak = paths.max(axis=0)
        safe = np.where(np.isfinite(peak), peak, 0.0)
        with np.errstate(divide="ignore"):
            rows.append(safe + np.log(np.exp(paths - safe).sum(axis=0)) + density)
    return np.array(rows)


def decode(hmm: Any, inputs: Any, decoding: str) -> int:
    """The state on the last of the given inputs (bars, 3), float32, by a fitted hmmlearn model."""
    if decoding == "single":
        return int(hmm.predict(inputs[-1:])[0])
    if decoding == "viterbi":
        return int(hmm.predict(inputs)[-1])
    densities = hmm._compute_log_likelihood(np.asarray(inputs, np.float64))
    with np.errstate(divide="ignore"):
        start, transitions = np.log(hmm.startprob_), np.log(hmm.transmat_)
    return int(np.argmax(forward_in_logs(start, transitions, densities)[-1]))


@dataclass(frozen=True)
class Trade:
    """A closed round turn."""

    direction: int
    lots: Decimal
    entry: Decimal
    exit: Decimal
    profit: Decimal
    commission: Decimal


class TradingEnvironment:
    """The training environment: every action is executed at the bar's close, all of the position at a time."""

    def __init__(self, costs: Mapping[str, Any]) -> None:
        self.point = Decimal(repr(costs["point"]))
        self.pip = self.point * (10 if costs["digits"] in (3, 5) else 1)
        self.pip_value, self.spread, self.slippage, self.commission = (
            Decimal(repr(costs[name]))
            for name in ("pip_value", "spread_points", "slippage_points", "commission_per_lot")
        )
        self.lot_sizes = [Decimal(repr(lots)) for lots in costs["lot_sizes"]]
        self.trades: list[Trade] = []
        self.fees = Decimal(0)
        self.direction = self.intensity = 0
        self.entry = self.close = Decimal(0)

    @property
    def lots(self) -> Decimal:
        return self.lot_sizes[self.intensity]

    def profit(self, entry: Decimal, exit_: Decimal) -> Decimal:
        """Pips times the money they are worth."""
        return (exit_ - entry) * self.direction / self.pip * self.pip_value * self.lots

    @property
    def floating(self) -> Decimal:
        return self.profit(self.entry, self.close) if self.direction else Decimal(0)

    def floating_at(self, close: float) -> Decimal:
        return self.profit(self.entry, Decimal(repr(close))) if self.direction else Decimal(0)

    @property
    def realized(self) -> Decimal:
        return sum((trade.profit for trade in self.trades), Decimal(0)) - self.fees

    def step(self, action: int, close: float) -> None:
        """Execute an action at a close."""
        self.close = Decimal(repr(close))
        direction, intensity = EXECUTES[action]
        if (direction, intensity) == (self.direction, self.intensity):
            return
        if self.direction:
            self._leave()
        if direction:
            self._enter(direction, intensity)

    def _leave(self) -> None:
        out = self.close - self.direction * self.slippage * self.point
        fee = self.commission * self.lots / 2
        self.fees += fee
        self.trades.append(Trade(self.direction, self.lots, self.entry, out, self.profit(self.entry, out), fee + fee))
        self.direction = self.intensity = 0
        self.entry = Decimal(0)

    def _enter(self, direction: int, intensity: int) -> None:
        self.direction, self.intensity = direction, intensity
        self.entry = self.close + direction * (self.spread + self.slippage) * self.point
        self.fees += self.commission * self.lots / 2


@dataclass(frozen=True)
class Reference:
    """A bundle as the libraries that made it read it."""

    metadata: dict[str, Any]
    hmm: Any
    ppo: Any

    @property
    def decoding(self) -> str:
        return str(self.metadata["hmm_config"].get("decoding", "single"))

    @classmethod
    def load(cls, path: Path) -> Reference:
        from stable_baselines3 import PPO

        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            hmm = pickle.loads(archive.read(f"{path.stem}_hmm.pkl"))
            ppo = PPO.load(archive.extract(f"{path.stem}_ppo.zip", folder), device="cpu")
            return cls(json.loads(archive.comment), hmm["model"] if isinstance(hmm, dict) else hmm, ppo)


def run(reference: Reference, bars: Bars) -> dict[str, list[Any]]:
    """The life of a model over the bars from a flat position: one entry for each bar from the 350th."""
    table, env = frame(bars), TradingEnvironment(reference.metadata["training_config"])
    hmm_config, rl_config = reference.metadata["hmm_config"], reference.metadata["rl_config"]
    current = reference.metadata.get("observation_pnl") == "current"
    names = ("time", "hmm_state", "action", "direction", "intensity", "entry_price", "floating_pnl", "realized_pnl")
    out: dict[str, list[Any]] = {name: [] for name in (*names, "obs")}
    for end in range(WINDOW, len(table) + 1):
        window = table.iloc[end - WINDOW : end].reset_index(drop=True)
        last = window.iloc[-1]
        inputs = regime_features(window, hmm_config).dropna().to_numpy().astype(np.float32)
        state = decode(reference.hmm, inputs, reference.decoding)
        one_hot = np.zeros(hmm_config["n_states"], np.float32)
        one_hot[state] = 1
        floating = env.floating_at(float(last.close)) if current else env.floating
        position = [env.direction, float(env.lots) * 10, np.tanh(float(floating) / 100)]
        observation = np.concatenate([market_features(window, rl_config), one_hot, position]).astype(np.float32)
        action = int(reference.ppo.predict(observation, deterministic=True)[0])
        env.step(action, float(last.close))
        row = (
            int(last.time),
            state,
            action,
            env.direction,
            env.intensity,
            float(env.entry),
            float(env.floating),
            float(env.realized),
        )
        for name, value in zip(names, row, strict=True):
            out[name].append(value)
        out["obs"].append(observation)
    return out
