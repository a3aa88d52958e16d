"""Closed bars as NumPy columns, and the rules they must keep (DESIGN §3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_batch.errors import BarError
from oracle_batch.types import TIMEFRAME_SECONDS, utc

PRICE_FIELDS = ("open", "high", "low", "close")
FIELDS = ("time", *PRICE_FIELDS, "volume")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bars:
    """Columns of equal length, oldest first.

    ``time`` is int64 Unix seconds UTC of each bar's open; prices and ``volume`` (tick volume) are float64.
    """

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Bars:
        return Bars(*(getattr(self, name)[rows] for name in FIELDS))

    def equals(self, other: Bars) -> bool:
        """Whether every value of every column is the same."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in FIELDS)


def empty() -> Bars:
    """No bars."""
    return Bars(np.empty(0, np.int64), *(np.empty(0, np.float64) for _ in range(5)))


def join(older: Bars, newer: Bars) -> Bars:
    """The bars of both; where both have a time, the newer one's bar stands."""
    keep = ~np.isin(older.time, newer.time)
    columns = [np.concatenate([getattr(older, name)[keep], getattr(newer, name)]) for name in FIELDS]
    order = np.argsort(columns[0], kind="stable")
    return Bars(*(np.ascontiguousarray(column[order]) for column in columns))


def _refuse(symbol: str, bars: Bars, bad: NDArray[np.bool_], field: str, why: str, file: object) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        when = int(bars.time[row])
        value = getattr(bars, field)[row]
        raise BarError(
            f"{symbol} bar {when} ({utc(when)}): {field} {value!r} {why}".replace("np.float64", "").replace(
                "np.int64", ""
            ),
            file=file,
            field=field,
            fix="repair or remove this bar in the data source",
        )


def validate(bars: Bars, symbol: str, timeframe: str, *, file: object = None) -> Bars:
    """Return the bars unchanged, or refuse the first bad one.

    Raises:
        BarError: naming the symbol, the bar's time and the field. H4 and D1 grids may start at any full hour
            (brokers anchor them at 21:00 or 22:00 UTC); smaller timeframes sit on multiples of their length.
    """
    seconds = TIMEFRAME_SECONDS[timeframe]
    grid = min(seconds, 3600)
    with np.errstate(invalid="ignore"):
        _refuse(symbol, bars, bars.time <= 0, "time", "is not a Unix time in seconds", file)
        _refuse(symbol, bars, bars.time % grid != 0, "time", f"is not on the {timeframe} grid", file)
        step = np.diff(bars.time, prepend=bars.time[:1] - seconds) if len(bars) else bars.time
        _refuse(symbol, bars, step <= 0, "time", "does not come after the bar before it", file)
        if seconds <= 3600:
            _refuse(symbol, bars, step % seconds != 0, "time", f"is not on the {timeframe} grid", file)
        for name in PRICE_FIELDS:
            column = getattr(bars, name)
            _refuse(symbol, bars, ~np.isfinite(column), name, "is not finite", file)
            _refuse(symbol, bars, column <= 0, name, "is not above 0", file)
        _refuse(symbol, bars, bars.high < np.maximum(bars.open, bars.close), "high", "is below open or close", file)
        _refuse(symbol, bars, bars.low > np.minimum(bars.open, bars.close), "low", "is above open or close", file)
        _refuse(symbol, bars, ~np.isfinite(bars.volume), "volume", "is not finite", file)
        _refuse(symbol, bars, bars.volume < 0, "volume", "is negative", file)
    return bars
