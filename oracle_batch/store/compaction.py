"""Old months of a journal as Parquet: the very same lines, in a tenth of the space.

A month is one row a line: ``t`` (Unix seconds), ``kind``, ``model``, ``id`` (an order leg's) and ``line``, its bytes
without the newline, so that nothing is lost and every checksum still holds. While a month has both files, its
``.jsonl`` counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from oracle_batch.errors import StateError
from oracle_batch.store.files import read_bytes, remove, replace_atomically
from oracle_batch.store.journal import Mark, month_names
from oracle_batch.store.lines import DamagedLineError, UnknownLineError, decode
from oracle_batch.store.records import KINDS

if TYPE_CHECKING:
    import pyarrow

KEPT_MONTHS: Final = 2
"""The newest months, which a run may still have to fold into the books, always stay as they are."""
SUFFIX: Final = ".parquet"

_DIGEST: Final = b"sha256"
_NAME_OF: Final = {kind: name for (name, _), kind in KINDS.items()}
_FIX: Final = "restore the file from a backup"


class Compacted(msgspec.Struct, frozen=True):
    """A month that is Parquet now. Sizes in bytes."""

    file: str
    lines: int
    before: int
    after: int


def months_to_compact(folder: Path, mark: Mark | None) -> list[str]:
    """The month files that no run will read again: older than the books' mark and than the newest two.

    Raises:
        StateError: the folder cannot be listed.
    """
    old = month_names(folder)[:-KEPT_MONTHS]
    return [] if mark is None else [name for name in old if name < mark.file]


def compact(folder: Path, names: Sequence[str]) -> Iterator[Compacted]:
    """Turn month files into Parquet, one after another; call it under the lock.

    The Parquet file is on disk, and has been read back and compared byte by byte, before its month is removed. A
    kill in between leaves both, and the next call finishes.

    Raises:
        StateError: a line of a month is damaged, or the system refused; that month stays as it is.
    """
    for name in names:
        path = folder / name
        data = read_bytes(path) or b""
        target = path.with_suffix(SUFFIX)
        packed = _encode(data, path)
        replace_atomically(target, packed)
        if b"".join(line + b"\n" for line in read_lines(target)) != data:
            raise StateError("does not read back as what was written; its month stays", file=target, fix="remove it")
        remove(path)
        yield Compacted(name, data.count(b"\n"), len(data), len(packed))


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a compacted month, without their newlines.

    Raises:
        StateError: no readable Parquet file of this form, or not the bytes that were written.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        source = pyarrow.BufferReader(read_bytes(path) or b"")
        with pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
            found = (file.schema_arrow.metadata or {}).get(_DIGEST, b"")
            lines: list[bytes] = file.read(columns=["line"], use_threads=False).column("line").to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(f"is no readable Parquet file: {reason}", file=path, fix=_FIX) from error
    if any(line is None for line in lines) or _digest(lines).encode() != found:
        raise StateError("its lines are not those that were written", file=path, field="sha256", fix=_FIX)
    yield from lines


def _encode(data: bytes, path: Path) -> bytes:
    import pyarrow
    import pyarrow.parquet

    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    columns: dict[str, list[object]] = {"t": [], "kind": [], "model": [], "id": []}
    for number, line in enumerate(lines, start=1):
        try:
            entry = decode(line)
        except (DamagedLineError, UnknownLineError) as error:
            raise StateError(f"line {number}: {error}", file=path, fix="oracle-batch journal verify") from error
        columns["t"].append(entry.t)
        columns["kind"].append(_NAME_OF[type(entry.record)])
        columns["model"].append(getattr(entry.record, "model", None))
        columns["id"].append(getattr(entry.record, "intent_id", None))
    table = pyarrow.table({**columns, "line": lines}, schema=_schema(_digest(lines)))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _schema(digest: str) -> pyarrow.Schema:
    import pyarrow

    text = pyarrow.string()
    fields = [("t", pyarrow.float64()), ("kind", text), ("model", text), ("id", text), ("line", pyarrow.binary())]
    return pyarrow.schema(fields, metadata={_DIGEST: digest})


def _digest(lines: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for line in lines:
        whole.update(line + b"\n")
    return whole.hexdigest()
