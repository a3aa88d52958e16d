"""Reading journals back, months as they are needed. Looks only: takes no lock, repairs nothing, stops at no damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from oracle_batch.errors import StateError
from oracle_batch.store.files import refuse_unsafe, refuse_unsafe_folders, state_error
from oracle_batch.store.journal import month_names
from oracle_batch.store.lines import DamagedLineError, Entry, UnknownLineError, decode


def read_journal(folder: Path, since: float = 0.0) -> Iterator[Entry | StateError]:
    """The entries written at or after ``since`` (Unix seconds), in writing order; for a line that cannot be read, why.

    Raises:
        StateError: the folder or a file cannot be read, or is not ours alone.
    """
    refuse_unsafe_folders([folder])
    first = f"{datetime.fromtimestamp(since, UTC):%Y-%m}.jsonl"
    for name in month_names(folder):
        if name >= first:  # lines never go to an older month than the clock's
            yield from _read(folder / name, since)


def _read(path: Path, since: float) -> Iterator[Entry | StateError]:
    try:
        with path.open("rb") as file:
            refuse_unsafe(path, os.fstat(file.fileno()))
            for number, line in enumerate(file, start=1):
                try:
                    entry = decode(line.removesuffix(b"\n"))
                except (DamagedLineError, UnknownLineError) as error:
                    torn = "" if line.endswith(b"\n") else ": torn, or being written"
                    yield StateError(f"line {number}: {error}{torn}", file=path)
                else:
                    if entry.t >= since:
                        yield entry
    except OSError as error:
        raise state_error(error, path, "read") from error
