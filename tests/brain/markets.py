"""Bundles and bars for the brain's tests: real ones, other instruments by rescaling, and rough invented ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.types import TIMEFRAME_SECONDS

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "data"
SHARED = ROOT.parent / "shared"


def read(path: Path) -> Bars:
    """All bars of a Parquet file."""
    table = pq.read_table(path, columns=list(FIELDS))
    time, *numbers = (table.column(name).combine_chunks() for name in FIELDS)
    return Bars(
        np.frombuffer(time.buffers()[1], np.int64)[time.offset : time.offset + len(time)].copy(),
        *(np.frombuffer(one.buffers()[1], np.float64)[one.offset : one.offset + len(one)].copy() for one in numbers),
    )


def bundle(name: str) -> Path:
    """A bundle of format 2.0. EURUSD_M15's is the tests' own, which trades all day."""
    return (ROOT / "tests" / "data" / "models" if name == "EURUSD_M15" else ROOT / "models") / f"{name}.zip"


def rescaled(bars: Bars, price: float, digits: int) -> Bars:
    """The same market at another price level and precision: what gold, an index or a yen pair look like."""
    factor = price / float(bars.close[0])
    prices = [np.round(getattr(bars, name) * factor, digits) for name in ("open", "high", "low", "close")]
    return Bars(bars.time, *prices, bars.volume)


def market(symbol: str) -> Bars:
    """Real bars of a symbol where they are at hand, else shipped bars at that symbol's price level."""
    for name in (f"{symbol}_M15", f"{symbol}_H1"):
        if (SHARED / "data" / f"{name}.parquet").is_file():
            return read(SHARED / "data" / f"{name}.parquet")
    price, digits = {"XAUUSD": (2300.0, 2), "NAS100": (18000.0, 2), "USDJPY": (150.0, 3)}.get(symbol, (1.1, 5))
    return rescaled(read(SHIPPED / "EURUSD_M15.parquet"), price, digits)


def invented(rng: np.random.Generator, count: int, *, price: float = 1.1, digits: int = 5, flat: float = 0.0) -> Bars:
    """A random walk of M15 bars; a share ``flat`` of them repeats the last close with high = low and no volume."""
    step = 10.0**-digits
    time = 1_700_000_100 // 900 * 900 + 900 * np.cumsum(rng.integers(1, 3, count))
    still = rng.random(count) < flat
    moves = np.where(still, 0.0, rng.normal(0, 4e-4, count))
    close = np.round(price * np.exp(np.cumsum(moves)) / step) * step
    open_ = np.concatenate([close[:1], close[:-1]])
    wick = np.where(still[:, None], 0.0, rng.uniform(0, 3e-4, (count, 2)) * price)
    high, low = np.maximum(open_, close) + wick[:, 0], np.minimum(open_, close) - wick[:, 1]
    volume = np.where(still | (rng.random(count) < flat), 0.0, rng.integers(1, 5000, count))
    return Bars(time.astype(np.int64), open_, high, low, close, volume.astype(np.float64))


def seconds(timeframe: str) -> int:
    """Length of a timeframe."""
    return TIMEFRAME_SECONDS[timeframe]
