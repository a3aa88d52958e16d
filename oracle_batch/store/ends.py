"""Whether a Parquet file can be whole, told by its two ends: for those who want to know without loading Arrow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from oracle_batch.errors import StateError
from oracle_batch.store.files import state_error

_MAGIC: Final = b"PAR1"
_TAIL: Final = 4 + len(_MAGIC)
"""The last bytes: the footer's length, and the magic word once more."""


def check(path: Path, fix: str) -> None:
    """Refuse a file that is cut short, empty, or something else. One that is not there is no mistake.

    Raises:
        StateError: it cannot be whole, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head, size = file.read(len(_MAGIC)), os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
    except FileNotFoundError:
        return
    except OSError as error:
        raise state_error(error, path, "read") from error
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or len(_MAGIC) + footer + _TAIL > size:
        raise StateError("is no whole Parquet file", file=path, fix=fix)
