"""Excerpts of price series: the rows around the present, kept as plain numbers beside the history they come from.

A short process then needs neither the history nor the library that reads it. An excerpt is a cache: bound to the very
file it was taken from, made by whoever reads the history anyway, and passed over when anything about it is odd.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from oracle_batch.bars import FIELDS, Bars

Stamp = tuple[int, int]
"""What tells one state of a file from another, also in a copy of the workspace: size and time of modification (ns)."""

_MAGIC: Final = b"obexcrp1"
_HEADER: Final = struct.Struct("<8s2q2?6xqI4x")
"""Magic, stamp, whether it is the series' first and last rows, number of rows, CRC-32 of the columns."""
_SETTLED_NS: Final = 100_000_000
"""A file that was written to so lately may be written to again without its stamp telling."""


class NotHeldError(LookupError):
    """The excerpt does not know; the history does."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Consecutive rows of a series; ``first`` and ``last`` tell whether there are none before, or after them."""

    bars: Bars
    first: bool
    last: bool

    def between(self, start: int, end: int) -> Bars:
        """Rows with ``start <= time < end``.

        Raises:
            NotHeldError: there may be more of them.
        """
        if not self.knows(start, end - 1):
            raise NotHeldError
        low, high = np.searchsorted(self.bars.time, (start, end), "left")
        return self.bars[int(low) : int(high)]

    def at_or_after(self, instant: float) -> int | None:
        """The first open time at or after an instant.

        Raises:
            NotHeldError: it may lie outside.
        """
        times = self.bars.time
        row = int(np.searchsorted(times, instant, "left"))
        if not self.knows(instant, instant if row < len(times) else np.inf):
            raise NotHeldError
        return int(times[row]) if row < len(times) else None

    def at_or_before(self, instant: float) -> int | None:
        """The last open time at or before an instant.

        Raises:
            NotHeldError: it may lie outside.
        """
        times = self.bars.time
        row = int(np.searchsorted(times, instant, "right")) - 1
        if not self.knows(instant if row >= 0 else -np.inf, instant):
            raise NotHeldError
        return int(times[row]) if row >= 0 else None

    def knows(self, start: float, end: float) -> bool:
        """Whether every row from ``start`` to ``end``, both included, is in it."""
        times = self.bars.time
        if not len(times):
            return self.first and self.last
        return (self.first or start >= times[0]) and (self.last or end <= times[-1])


@dataclass(frozen=True, slots=True)
class Excerpts:
    """The excerpts of one feed in a folder that others may share; ``feed`` is what the operator calls it."""

    folder: Path
    feed: str

    def load(self, history: Path, stamp: Stamp) -> Excerpt | None:
        """The excerpt of a history in this state; None where there is none that can be used."""
        try:
            data = self._path(history).read_bytes()
        except OSError:
            return None
        if len(data) < _HEADER.size:
            return None
        magic, *found, first, last, rows, checksum = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        if magic != _MAGIC or tuple(found) != stamp or len(body) != 8 * len(FIELDS) * rows:
            return None
        if zlib.crc32(body) != checksum:
            return None
        columns = [
            np.frombuffer(body, "<i8" if name == "time" else "<f8", rows, 8 * rows * place)
            for place, name in enumerate(FIELDS)
        ]
        return Excerpt(Bars(*columns), first, last)

    def store(self, history: Path, stamp: Stamp, excerpt: Excerpt) -> None:
        """Keep an excerpt. A history that is being written to is left for later; so is one when the disk says no."""
        if time.time_ns() - stamp[1] < _SETTLED_NS:
            return
        bars = excerpt.bars
        body = b"".join(getattr(bars, name).astype("<i8" if name == "time" else "<f8").tobytes() for name in FIELDS)
        header = _HEADER.pack(_MAGIC, *stamp, excerpt.first, excerpt.last, len(bars), zlib.crc32(body))
        path = self._path(history)
        temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            temp.write_bytes(header + body)
            temp.replace(path)

    def _path(self, history: Path) -> Path:
        feed = hashlib.sha256(os.fsencode(self.feed)).hexdigest()[:8]
        return self.folder / f"feed-{feed}-{history.name}.bars"
