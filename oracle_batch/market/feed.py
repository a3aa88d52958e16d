"""A folder of real bars: ``SYMBOL_TF.parquet`` or ``SYMBOL_TF.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle_batch.bars import Bars, empty, join, validate
from oracle_batch.errors import BarError, ConfigError
from oracle_batch.market.readers import CsvReader, Group, ParquetReader, Reader
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

ROWS_BEFORE = 1024
ROWS_AFTER = 256
"""Rows kept around a range that was read, so that its neighbours (a window, the next open) cost no second read."""
JOIN_ROWS = 4096
"""Ranges of one group that lie closer than this are kept as one."""


@dataclass(frozen=True, slots=True)
class _Slab:
    """Rows ``low <= row < high`` of one group, in memory."""

    low: int
    high: int
    bars: Bars


class _Series:
    """The bars of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Reader = ParquetReader(path) if path.suffix == ".parquet" else CsvReader(path)
        self._slabs: dict[int, _Slab] = {}
        self._stamp = _stamp(path)

    def is_outdated(self) -> bool:
        """Whether the file has been replaced or has grown since it was first read."""
        return _stamp(self.path) != self._stamp

    def between(self, start: int, end: int) -> Bars:
        groups = [group for group in self._reader.groups() if group.last >= start and group.first < end]
        parts = [self._part(group, start, end) for group in groups]
        bars = parts[0] if parts else empty()
        for part in parts[1:]:
            bars = join(bars, part)
        return bars

    def at_or_after(self, instant: float) -> int | None:
        for group in self._reader.groups():
            if group.last >= instant:
                times = self._reader.times(group)
                return int(times[int(np.searchsorted(times, instant, "left"))])
        return None

    def at_or_before(self, instant: float) -> int | None:
        for group in reversed(self._reader.groups()):
            if group.first <= instant:
                times = self._reader.times(group)
                return int(times[int(np.searchsorted(times, instant, "right")) - 1])
        return None

    def _part(self, group: Group, start: int, end: int) -> Bars:
        times = self._reader.times(group)
        low, high = (int(row) for row in np.searchsorted(times, (start, end), "left"))
        slab = self._slabs.get(group.index)
        if slab is None or low < slab.low or high > slab.high:
            slab = self._slabs[group.index] = self._load(group, low, high, slab)
        return slab.bars[low - slab.low : high - slab.low]

    def _load(self, group: Group, low: int, high: int, old: _Slab | None) -> _Slab:
        if old is not None and low < old.high + JOIN_ROWS and high > old.low - JOIN_ROWS:
            low, high = min(low, old.low), max(high, old.high)
        low, high = max(0, low - ROWS_BEFORE), min(group.rows, high + ROWS_AFTER)
        return _Slab(low, high, self._reader.rows(group, low, high))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Feed:
    """Bars by symbol and timeframe. A file that is replaced meanwhile is read anew.

    Raises:
        ConfigError: the folder is missing, or a series has both a Parquet and a CSV file.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError("no such folder of bars", file=folder, fix="[broker.paper] data names it")
        self.folder = folder
        self._series: dict[tuple[str, str], _Series] = {}
        for path in sorted(folder.iterdir()):
            identity = split_model_id(path.stem) if path.suffix in (".parquet", ".csv") else None
            if identity is None:
                continue
            if identity in self._series:
                both = f"{self._series[identity].path.name} and {path.name} hold the same series"
                raise ConfigError(both, file=folder, fix="remove one of them")
            self._series[identity] = _Series(path)

    def symbols(self) -> list[str]:
        """Every symbol with at least one file, sorted."""
        return sorted({symbol for symbol, _ in self._series})

    def timeframes(self, symbol: str) -> list[str]:
        """The symbol's timeframes, finest first; empty when there is no file."""
        return [timeframe for timeframe in TIMEFRAME_SECONDS if (symbol, timeframe) in self._series]

    def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        """Bars with ``start <= time < end``, oldest first, validated.

        Raises:
            BarError: there is no such file, it cannot be read, or a bar of this range breaks the rules; names the
                file, the symbol, the time and the field. A bad bar outside the range does not matter.
        """
        series = self._find(symbol, timeframe)
        return validate(series.between(start, end), symbol, timeframe, file=series.path)

    def at_or_after(self, symbol: str, timeframe: str, instant: float) -> int | None:
        """Open time of the first bar that starts at or after an instant."""
        return self._find(symbol, timeframe).at_or_after(instant)

    def at_or_before(self, symbol: str, timeframe: str, instant: float) -> int | None:
        """Open time of the last bar that starts at or before an instant."""
        return self._find(symbol, timeframe).at_or_before(instant)

    def _find(self, symbol: str, timeframe: str) -> _Series:
        series = self._series.get((symbol, timeframe))
        if series is None:
            fix = f"put {symbol}_{timeframe}.parquet or .csv into the folder"
            raise BarError(f"no bars of {symbol} {timeframe}", file=self.folder, fix=fix)
        if series.is_outdated():
            series = self._series[symbol, timeframe] = _Series(series.path)
        return series
