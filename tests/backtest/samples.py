"""Bundles and the shipped bars, cut to what a test needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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
