"""Bars that a model can be trained on: read, validated, and refused where nothing can be learnt from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from oracle_batch.bars import FIELDS, Bars, validate
from oracle_batch.errors import BarError
from oracle_batch.replay import read_bars
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW, utc

MIN_DISTINCT: Final = 10
"""Different closes that a history must have at least."""
MAX_STILL: Final = 0.5
"""Share of bars that may repeat the close before them."""


@dataclass(frozen=True, slots=True)
class History:
    """Bars to train on. ``origin`` is their file, or the broker; ``sha256`` is of their values."""

    symbol: str
    timeframe: str
    bars: Bars
    origin: str

    @property
    def source(self) -> str:
        """The origin without the folders of somebody's machine."""
        return Path(self.origin).name

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for name in FIELDS:
            digest.update(np.ascontiguousarray(getattr(self.bars, name)).tobytes())
        return digest.hexdigest()


def read_history(path: Path, symbol: str, timeframe: str) -> History:
    """The bars of a Parquet or CSV file.

    Raises:
        BarError: naming the file, the bar and the field where it is one; also for too few bars, prices that hardly
            move, and bars of another timeframe.
    """
    try:
        bars = read_bars(path, symbol, timeframe)
    except BarError as error:
        if "grid" in error.message:
            _refuse_timeframe(read_bars(path, symbol, "M1"), timeframe, path)
        raise
    return usable(History(symbol, timeframe, bars, str(path)))


def usable(history: History) -> History:
    """The same history, or why nothing can be learnt from it.

    Raises:
        BarError: see :func:`read_history`.
    """
    bars, file = history.bars, history.origin
    validate(bars, history.symbol, history.timeframe, file=file)
    if len(bars) < 2 * WINDOW:
        raise BarError(
            f"{len(bars)} bars are too few to train on, at least {2 * WINDOW} are needed",
            file=file,
            field="time",
            fix="give a longer history",
        )
    _refuse_timeframe(bars, history.timeframe, file)
    distinct = len(np.unique(bars.close))
    if distinct < MIN_DISTINCT:
        price = f"always {bars.close[0]:g}" if distinct == 1 else f"one of {distinct} prices"
        raise BarError(f"is {price}: nothing can be learnt", file=file, field="close", fix="give real bars")
    still = float(np.mean(np.diff(bars.close) == 0))
    if still > MAX_STILL:
        raise BarError(
            f"does not move on {still:.0%} of the bars from {utc(bars.time[0])} on",
            file=file,
            field="close",
            fix="give bars of a market that trades",
        )
    return history


def _refuse_timeframe(bars: Bars, timeframe: str, file: object) -> None:
    """Bars that are usually another timeframe's length apart.

    Raises:
        BarError: naming both timeframes.
    """
    usual = int(np.median(np.diff(bars.time)))
    if usual == TIMEFRAME_SECONDS[timeframe]:
        return
    near = min(TIMEFRAME_SECONDS, key=lambda name: abs(TIMEFRAME_SECONDS[name] - usual))
    fix = f"give bars of {timeframe}" + (f", or --timeframe {near}" if near != timeframe else "")
    words = f", which is {near}, not {timeframe}" if near != timeframe else ""
    raise BarError(f"the bars are usually {usual} s apart{words}", file=file, field="time", fix=fix)
