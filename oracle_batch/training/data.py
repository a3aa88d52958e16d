"""Bars that a model can be trained on: read, validated, and refused where nothing can be learnt from them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from oracle_batch.bars import FIELDS, Bars, validate
from oracle_batch.errors import BarError
from oracle_batch.replay import read_bars
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW, model_id, split_model_id, utc

MIN_DISTINCT: Final = 10
"""Different closes that a history must have at least."""
MAX_STILL: Final = 0.5
"""Share of bars that may repeat the close before them."""
USUAL_LEAST: Final = 2674
"""Bars that the default split needs, so that each of its parts can be scored."""
_log = logging.getLogger(__name__)


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
    return usable(History(symbol, timeframe, read_market(path, symbol, timeframe), str(path)))


def read_market(path: Path, symbol: str, timeframe: str) -> Bars:
    """The bars of a file, which must be those of a market in this timeframe; a name that says otherwise is told.

    Raises:
        BarError: as :func:`oracle_batch.replay.read_bars`; or see :func:`refuse_lifeless`.
    """
    named = split_model_id(path.stem)
    if named is not None and named != (symbol, timeframe):
        _log.warning("%s: is named for other bars, and taken for those of %s", path, model_id(symbol, timeframe))
    try:
        bars = read_bars(path, symbol, timeframe)
    except BarError as error:
        if "grid" in error.message:
            _refuse_timeframe(_on_minutes(path, symbol, error), timeframe, path)
        raise
    refuse_lifeless(bars, timeframe, path)
    return bars


def _on_minutes(path: Path, symbol: str, otherwise: BarError) -> Bars:
    """The bars of a file whatever their timeframe; ``otherwise`` where they are on no grid at all."""
    try:
        return read_bars(path, symbol, "M1")
    except BarError:
        raise otherwise from None


def refuse_lifeless(bars: Bars, timeframe: str, file: object) -> None:
    """Refuse bars that say nothing of a market in this timeframe.

    Raises:
        BarError: they are usually another timeframe's length apart, or the close is one of a handful of prices.
    """
    if len(bars) > 1:
        _refuse_timeframe(bars, timeframe, file)
    distinct = len(np.unique(bars.close))
    if distinct < min(MIN_DISTINCT, len(bars)):
        price = f"always {bars.close[0]:g}" if distinct == 1 else f"one of {distinct} prices"
        raise BarError(f"is {price}: nothing can be learnt", file=file, field="close", fix="give real bars")


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
            fix=f"give a longer history; the usual split needs {USUAL_LEAST}",
        )
    refuse_lifeless(bars, history.timeframe, file)
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
