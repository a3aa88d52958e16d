"""A model's bar window, ``state/bars/MODEL.parquet``: the last 1000 closed bars and where they came from.

Columns cross between NumPy and Arrow as plain buffers: ``pyarrow.array`` and ``to_numpy`` import pandas where it is
installed, for half a second and 50 MB. Uncompressed is quickest both ways and costs 49 kB a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import FIELDS, Bars, validate
from oracle_batch.errors import BarError, StateError
from oracle_batch.store.files import read_bytes
from oracle_batch.store.twins import repair
from oracle_batch.types import STORED_BARS, model_id

if TYPE_CHECKING:
    import pyarrow

_SYMBOL: Final = b"symbol"
_TIMEFRAME: Final = b"timeframe"
_SOURCE: Final = b"source"


@dataclass(frozen=True, slots=True)
class Window:
    """Closed bars, oldest first, and their provenance, e.g. ``paper:data`` or ``ctrader:demo:1234``."""

    bars: Bars
    source: str


def encode(window: Window, symbol: str, timeframe: str) -> bytes:
    """The file's bytes: the newest 1000 bars of a window.

    Raises:
        BarError: a bar breaks the rules; nothing impossible is ever written.
    """
    import pyarrow
    import pyarrow.parquet

    bars = validate(window.bars[-STORED_BARS:], symbol, timeframe)
    metadata = {_SOURCE: window.source.encode(), _SYMBOL: symbol.encode(), _TIMEFRAME: timeframe.encode()}
    schema = _schema().with_metadata(metadata)
    columns = [_arrow(getattr(bars, field.name), field.type) for field in schema]
    table = pyarrow.Table.from_arrays(columns, schema=schema)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(
        table, sink, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
    )
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def load(path: Path, symbol: str, timeframe: str) -> Window | None:
    """The stored window of a model, or None when there is none yet.

    Raises:
        StateError: damaged, of another symbol or timeframe, or holding a bar that breaks the rules.
    """
    data = read_bytes(path)
    if data is None:
        return None
    fix = repair(model_id(symbol, timeframe))
    table = _read(data, path, fix)
    metadata = table.schema.metadata or {}
    for key, expected in ((_SYMBOL, symbol), (_TIMEFRAME, timeframe)):
        found = metadata.get(key, b"").decode(errors="replace")
        if found != expected:
            raise StateError(f"is {found!r}, not {expected!r}", file=path, field=key.decode(), fix=fix)
    if _SOURCE not in metadata:
        raise StateError("is missing", file=path, field="source", fix=fix)
    bars = _bars(table, path, fix)
    try:
        validate(bars, symbol, timeframe)
    except BarError as error:
        raise StateError(error.message, file=path, field=error.field, fix=fix) from error
    return Window(bars, metadata[_SOURCE].decode(errors="replace"))


def _schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema([(name, pyarrow.int64() if name == "time" else pyarrow.float64(), False) for name in FIELDS])


def _read(data: bytes, path: Path, fix: str) -> pyarrow.Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data), page_checksum_verification=True) as file:
            found = {field.name: str(field.type) for field in file.schema_arrow}
            for field in _schema():
                if found.get(field.name) != str(field.type):
                    why = f"is {found.get(field.name, 'missing')}, not {field.type}"
                    raise StateError(why, file=path, field=field.name, fix=fix)
            table = file.read(columns=list(FIELDS), use_threads=False)
            if {table.num_rows, file.metadata.num_rows, *_value_counts(file.metadata)} != {file.metadata.num_rows}:
                raise StateError("its columns and its footer count different rows", file=path, fix=fix)
            return table
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(f"is no readable Parquet file: {reason}", file=path, fix=fix) from error


def _value_counts(metadata: pyarrow.parquet.FileMetaData) -> list[int]:
    """Values by column, over all row groups: the footer has no checksum, so its counts are compared."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return [sum(group.column(index).num_values for group in groups) for index in range(metadata.num_columns)]


def _bars(table: pyarrow.Table, path: Path, fix: str) -> Bars:
    columns: list[Any] = []
    for name in FIELDS:
        column = table.column(name).combine_chunks()
        if column.null_count:
            raise StateError("holds nulls", file=path, field=name, fix=fix)
        kind = np.int64 if name == "time" else np.float64
        values = np.frombuffer(column.buffers()[1] or b"", kind)
        columns.append(values[column.offset : column.offset + len(column)].copy())
    return Bars(*columns)


def _arrow(values: NDArray[np.int64] | NDArray[np.float64], kind: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(np.ascontiguousarray(values))])
