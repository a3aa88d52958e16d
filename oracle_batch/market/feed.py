"""A folder of real bars: ``SYMBOL_TF.parquet`` or ``SYMBOL_TF.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle_batch.bars import Bars, empty, join, validate
from oracle_batch.errors import BarError, ConfigError
from oracle_batch.market.excerpts import Excerpt, Excerpts, NotHeldError
from oracle_batch.market.readers import CsvReader, Group, ParquetReader, Reader
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

ROWS_BEFORE = 1024
ROWS_AFTER = 256
"""Rows kept around a range that was read, so that its neighbours (a window, the next open) cost no second read."""
JOIN_ROWS = 4096
"""Ranges of one group that lie closer than this are kept as one."""
EXCERPT_ROWS = 64
"""Rows before the latest range read that an excerpt holds; after it, all that are in memory."""


@dataclass(frozen=True, slots=True)
class _Slab:
    """Rows ``low <= row < high`` of one group, in memory."""

    low: int
    high: int
    bars: Bars


class _Series:
    """The bars of one file, or of an excerpt of it for as long as that knows the answers."""

    def __init__(self, path: Path, excerpts: Excerpts | None) -> None:
        self.path = path
        self._reader: Reader = ParquetReader(path) if path.suffix == ".parquet" else CsvReader(path)
        self._slabs: dict[int, _Slab] = {}
        self._stamp = _stamp(path)
        self._excerpt = excerpts.load(path, self._stamp[1:]) if excerpts and self._stamp else None
        self._latest: tuple[int, int, int] | None = None
        self._kept: tuple[Excerpts, tuple[int, int, int]] | None = None

    def is_outdated(self) -> bool:
        """Whether the file has been replaced or has grown since it was first read."""
        return _stamp(self.path) != self._stamp

    def between(self, start: int, end: int) -> Bars:
        if self._excerpt is not None:
            try:
                return self._excerpt.between(start, end)
            except NotHeldError:
                self._excerpt = None
        groups = [group for group in self._reader.groups() if group.last >= start and group.first < end]
        parts = [self._part(group, start, end) for group in groups]
        bars = parts[0] if parts else empty()
        for part in parts[1:]:
            bars = join(bars, part)
        return bars

    def at_or_after(self, instant: float) -> int | None:
        if self._excerpt is not None:
            try:
                return self._excerpt.at_or_after(instant)
            except NotHeldError:
                self._excerpt = None
        for group in self._reader.groups():
            if group.last >= instant:
                times = self._reader.times(group)
                return int(times[int(np.searchsorted(times, instant, "left"))])
        return None

    def at_or_before(self, instant: float) -> int | None:
        if self._excerpt is not None:
            try:
                return self._excerpt.at_or_before(instant)
            except NotHeldError:
                self._excerpt = None
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
        if self._latest is None or (group.index, low) >= self._latest[:2]:
            self._latest = (group.index, low, high)
        return slab.bars[low - slab.low : high - slab.low]

    def _load(self, group: Group, low: int, high: int, old: _Slab | None) -> _Slab:
        if old is not None and low < old.high + JOIN_ROWS and high > old.low - JOIN_ROWS:
            low, high = min(low, old.low), max(high, old.high)
        low, high = max(0, low - ROWS_BEFORE), min(group.rows, high + ROWS_AFTER)
        return _Slab(low, high, self._reader.rows(group, low, high))

    def keep(self, excerpts: Excerpts) -> None:
        """Leave an excerpt around the latest rows that were read from the file, unless there is one already."""
        if self._latest is None or self._kept == (excerpts, self._latest):  # one of several accounts has been here
            return
        if self._stamp is None or self.is_outdated():
            return
        self._kept = (excerpts, self._latest)
        index, low, high = self._latest
        groups = self._reader.groups()
        place = next(place for place, group in enumerate(groups) if group.index == index)
        group, slab = groups[place], self._slabs[index]
        begins, ends = place == 0, place == len(groups) - 1
        low, high = min(low, group.rows - 1), min(high, group.rows - 1)
        from_row = max(slab.low, low - EXCERPT_ROWS)
        times = self._reader.times(group)
        old = excerpts.load(self.path, self._stamp[1:])
        if old is not None and old.knows(times[low], times[high]):
            return
        rows = slab.bars[from_row - slab.low :]
        excerpt = Excerpt(rows, first=begins and from_row == 0, last=ends and slab.high == group.rows)
        excerpts.store(self.path, self._stamp[1:], excerpt)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Feed:
    """Bars by symbol and timeframe. A file that is replaced meanwhile is read anew.

    With ``excerpts`` what they hold is not read from the files.

    Raises:
        ConfigError: the folder is missing, or a series has both a Parquet and a CSV file.
    """

    def __init__(self, folder: Path, excerpts: Excerpts | None = None) -> None:
        if not folder.is_dir():
            raise ConfigError("no such folder of bars", file=folder, fix="[broker.paper] data names it")
        self.folder = folder
        self._excerpts = excerpts
        self._series: dict[tuple[str, str], _Series] = {}
        for path in sorted(folder.iterdir()):
            identity = split_model_id(path.stem) if path.suffix in (".parquet", ".csv") else None
            if identity is None:
                continue
            if identity in self._series:
                both = f"{self._series[identity].path.name} and {path.name} hold the same series"
                raise ConfigError(both, file=folder, fix="remove one of them")
            self._series[identity] = _Series(path, excerpts)

    def keep(self, excerpts: Excerpts) -> None:
        """Leave excerpts of everything that was read, for those who come after."""
        for series in self._series.values():
            series.keep(excerpts)

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
            series = self._series[symbol, timeframe] = _Series(series.path, self._excerpts)
        return series
