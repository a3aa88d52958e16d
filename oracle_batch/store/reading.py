"""Reading journals back, months as they are needed. Looks only: takes no lock, repairs nothing, stops at no damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from oracle_batch.errors import StateError
from oracle_batch.store.files import refuse_unsafe, refuse_unsafe_folders, state_error
from oracle_batch.store.journal import compacted_names, month_names
from oracle_batch.store.lines import DamagedLineError, Entry, UnknownLineError, decode


class Line(msgspec.Struct, frozen=True):
    """A line with its file and its number from 1 on; ``content`` is what it holds, or what is wrong with it.

    ``start`` and ``end`` (its newline included) count bytes in the month as it was written, also where it is compacted.
    """

    file: Path
    number: int
    start: int
    end: int
    content: Entry | StateError


def read_journal(folder: Path, since: float = 0.0) -> Iterator[Entry | StateError]:
    """The entries written at or after ``since`` (Unix seconds), in writing order; for a line that cannot be read, why.

    Raises:
        StateError: the folder or a file cannot be read, or is not ours alone.
    """
    for line in read_places(folder, since):
        if isinstance(line.content, StateError) or line.content.t >= since:
            yield line.content


def read_places(folder: Path, since: float = 0.0) -> Iterator[Line]:
    """Every line of the months from that of ``since`` on, with its place, in writing order.

    Raises:
        StateError: as ``read_journal``.
    """
    refuse_unsafe_folders([folder])
    first = f"{datetime.fromtimestamp(since, UTC):%Y-%m}"
    plain = month_names(folder)
    packed = [name for name in compacted_names(folder) if f"{Path(name).stem}.jsonl" not in plain]
    for name in sorted([*plain, *packed]):
        if Path(name).stem >= first:  # lines never go to an older month than the clock's
            path = folder / name
            yield from _read(path, _packed_lines(path) if name in packed else _plain_lines(path))


def _plain_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            refuse_unsafe(path, os.fstat(file.fileno()))
            yield from file
    except OSError as error:
        raise state_error(error, path, "read") from error


def _packed_lines(path: Path) -> Iterator[bytes]:
    from oracle_batch.store.compaction import read_lines

    for line in read_lines(path):
        yield line + b"\n"


def _read(path: Path, lines: Iterator[bytes]) -> Iterator[Line]:
    start = 0
    for number, line in enumerate(lines, start=1):
        content: Entry | StateError
        try:
            content = decode(line.removesuffix(b"\n"))
        except (DamagedLineError, UnknownLineError) as error:
            torn = "" if line.endswith(b"\n") else ": torn, or being written"
            content = StateError(f"line {number}: {error}{torn}", file=path)
        end = start + len(line)
        yield Line(path, number, start, end, content)
        start = end
