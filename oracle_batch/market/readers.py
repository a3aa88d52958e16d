"""One file of bars, Parquet or CSV, read in the row ranges that are asked for.

Columns are found by name, in any order and case: ``time, open, high, low, close`` and, where known, ``volume``.
A missing volume column counts as 0 (unknown); other columns are ignored. Nothing here judges prices: that is
``bars.validate``, applied by the caller to the window that it uses. What is judged here is what finding a row
depends on: times are Unix seconds, strictly increasing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oracle_batch.bars import Bars, FloatArray, IntArray, empty
from oracle_batch.clock import parse_instant
from oracle_batch.errors import BarError, UsageError
from oracle_batch.market.columns import check_times, find_columns, whole_seconds


@dataclass(frozen=True, slots=True)
class Group:
    """A run of consecutive rows that is read as one: ``first`` and ``last`` are open times."""

    index: int
    first: int
    last: int
    rows: int


class Reader(Protocol):
    """One file. Groups are in time order; row numbers count from the start of their group."""

    def groups(self) -> list[Group]: ...

    def times(self, group: Group) -> IntArray: ...

    def rows(self, group: Group, low: int, high: int) -> Bars:
        """Rows ``low <= row < high`` as own copies, so that the rest of the file can be freed."""
        ...


class ParquetReader:
    """A Parquet file. Row groups outside the wanted range are not read, where their statistics tell the times."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: dict[str, str] = {}
        self._metadata: Any = None
        self._groups: list[Group] | None = None
        self._times: dict[int, IntArray] = {}

    def groups(self) -> list[Group]:
        if self._groups is None:
            file = self._open()
            self._columns = find_columns(file.schema_arrow.names, self._path)
            found = [self._group(file, index) for index in range(file.metadata.num_row_groups)]
            self._groups = [group for group in found if group is not None]
            edges = np.array([edge for group in self._groups for edge in _edges(group)], np.int64)
            check_times(edges, self._path)
        return self._groups

    def times(self, group: Group) -> IntArray:
        if group.index not in self._times:
            self._times[group.index] = self._read_times(self._open(), group.index)
        return self._times[group.index]

    def rows(self, group: Group, low: int, high: int) -> Bars:
        wanted = [name for field, name in self._columns.items() if field != "time"]
        table = self._read(self._open(), group.index, wanted)
        numbers = {
            field: self._numbers(table.column(name).slice(low, high - low), field)
            for field, name in self._columns.items()
            if field != "time"
        }
        return _bars(self.times(group)[low:high].copy(), numbers)

    def _group(self, file: Any, index: int) -> Group | None:
        meta = file.metadata.row_group(index)
        if meta.num_rows == 0:
            return None
        place = file.schema_arrow.names.index(self._columns["time"])
        if meta.num_columns == len(file.schema_arrow.names):
            statistics = meta.column(place).statistics
            if statistics is not None and statistics.has_min_max and type(statistics.min) is int:
                return Group(index, statistics.min, statistics.max, meta.num_rows)
        times = self._times[index] = self._read_times(file, index)
        return Group(index, int(times[0]), int(times[-1]), meta.num_rows)

    def _read_times(self, file: Any, index: int) -> IntArray:
        import pyarrow as pa

        column = self._read(file, index, [self._columns["time"]]).column(0)
        kind = column.type
        if column.null_count:
            raise BarError("a time is missing", file=self._path, field="time", fix="drop the row")
        if pa.types.is_timestamp(kind):
            if kind.tz is None:
                fix = "store Unix seconds, or UTC timestamps"
                raise BarError("times have no time zone", file=self._path, field="time", fix=fix)
            seconds = column.cast(pa.timestamp("s", tz=kind.tz), safe=False).cast(pa.int64())
            return check_times(_buffer(seconds, np.int64), self._path)
        if pa.types.is_floating(kind):
            return check_times(whole_seconds(_buffer(column.cast(pa.float64()), np.float64), self._path), self._path)
        if not pa.types.is_integer(kind):
            raise BarError(f"times are {kind}", file=self._path, field="time", fix="store int64 Unix seconds")
        return check_times(_buffer(column if kind == pa.int64() else column.cast(pa.int64()), np.int64), self._path)

    def _numbers(self, column: Any, field: str) -> FloatArray:
        import pyarrow as pa

        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            raise BarError("holds text", file=self._path, field=field, fix="store numbers")
        try:
            plain = column if column.type == pa.float64() else column.cast(pa.float64())
        except pa.ArrowException as error:
            raise BarError(f"holds {column.type}", file=self._path, field=field, fix="store numbers") from error
        values: FloatArray = _buffer(plain.fill_null(float("nan")) if plain.null_count else plain, np.float64)
        return values

    def _open(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            file = parquet.ParquetFile(self._path, metadata=self._metadata)
        except (pa.ArrowException, OSError) as error:
            raise BarError(f"cannot be read: {error}", file=self._path, fix="replace the file") from error
        self._metadata = file.metadata
        return file

    def _read(self, file: Any, index: int, columns: list[str]) -> Any:
        import pyarrow as pa

        try:
            return file.read_row_group(index, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise BarError(f"cannot be read: {error}", file=self._path, fix="replace the file") from error


class CsvReader:
    """A CSV file with a header, read whole: a text file cannot be entered in the middle. Parquet is the lean form."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bars: Bars | None = None

    def groups(self) -> list[Group]:
        bars = self._all()
        return [Group(0, int(bars.time[0]), int(bars.time[-1]), len(bars))] if len(bars) else []

    def times(self, group: Group) -> IntArray:
        return self._all().time

    def rows(self, group: Group, low: int, high: int) -> Bars:
        return self._all()[low:high]

    def _all(self) -> Bars:
        if self._bars is None:
            try:
                with self._path.open(newline="", encoding="utf-8-sig") as file:
                    self._bars = self._parse(csv.reader(file))
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                raise BarError(f"cannot be read: {error}", file=self._path, fix="replace the file") from error
        return self._bars

    def _parse(self, rows: Any) -> Bars:
        header: list[str] = next(rows, [])
        place = {field: header.index(name) for field, name in find_columns(header, self._path).items()}
        texts: dict[str, list[str]] = {field: [] for field in place}
        lines: list[int] = []
        for row in rows:
            if not row:
                continue
            if len(row) < len(header):
                cells = f"line {rows.line_num} has {len(row)} of {len(header)} cells"
                raise BarError(cells, file=self._path, fix="complete or drop the line")
            lines.append(rows.line_num)
            for field, column in place.items():
                texts[field].append(row[column])
        if not lines:
            return empty()
        times = check_times(self._csv_times(texts["time"], lines), self._path)
        numbers = {field: self._csv_numbers(texts[field], lines, field) for field in place if field != "time"}
        return _bars(times, numbers)

    def _csv_times(self, texts: list[str], lines: list[int]) -> IntArray:
        try:
            return np.array(texts, np.int64)
        except ValueError:
            values = [self._instant(text.strip(), line) for text, line in zip(texts, lines, strict=True)]
            return whole_seconds(np.array(values, np.float64), self._path)

    def _instant(self, text: str, line: int) -> float:
        try:
            return parse_instant(text)
        except UsageError as error:
            why = f"line {line}: time {error.message}"
            raise BarError(why, file=self._path, field="time", fix=error.fix) from error

    def _csv_numbers(self, texts: list[str], lines: list[int], field: str) -> FloatArray:
        try:
            return np.array(texts, np.float64)
        except ValueError:
            values = np.empty(len(texts))
            for row, text in enumerate(texts):
                try:
                    values[row] = float(text) if text.strip() else np.nan
                except ValueError as error:
                    what = f"line {lines[row]}: {text!r} is no number"
                    raise BarError(what, file=self._path, field=field, fix="write a number") from error
            return values


def _buffer(column: Any, kind: type[Any]) -> Any:
    """An Arrow column without nulls as an array of its own. ``to_numpy`` would import pandas where it is installed."""
    parts = [
        np.frombuffer(chunk.buffers()[1], kind)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _bars(times: IntArray, numbers: dict[str, FloatArray]) -> Bars:
    volume = numbers.get("volume")
    return Bars(
        time=times,
        open=numbers["open"],
        high=numbers["high"],
        low=numbers["low"],
        close=numbers["close"],
        volume=np.zeros(len(times)) if volume is None else volume,
    )


def _edges(group: Group) -> tuple[int, ...]:
    return (group.first,) if group.rows == 1 else (group.first, group.last)
