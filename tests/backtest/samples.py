"""Bundles and the shipped bars, cut to what a test needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.replay import read_bars
from tests.brain.markets import bundle

ROOT = Path(__file__).parents[2]
NAMES = ("EURUSD_M15", "GBPUSD_H1", "USDJPY_H1")


def bars_file(name: str) -> Path:
    return ROOT / "data" / f"{name}.parquet"


@cache
def model(name: str) -> Model:
    return load_model(bundle(name), None)


@cache
def all_bars(name: str) -> Bars:
    one = model(name)
    return read_bars(bars_file(name), one.symbol, one.timeframe)


def bars(name: str, count: int) -> Bars:
    """The newest bars."""
    return all_bars(name)[-count:]


def thirds(whole: Bars) -> Bars:
    """Three bars of five minutes for each of fifteen: to one end of its range, to the other, to its close."""
    down = whole.close >= whole.open
    first, second = np.where(down, whole.low, whole.high), np.where(down, whole.high, whole.low)
    opens = np.stack([whole.open, first, second], axis=1).ravel()
    closes = np.stack([first, second, whole.close], axis=1).ravel()
    times = (whole.time[:, None] + np.array([0, 300, 600])).ravel()
    volume = np.repeat(whole.volume / 3, 3)
    return Bars(times, opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, volume)
