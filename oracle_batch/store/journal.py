"""The journal of an account: ``YYYY-MM.jsonl``, append-only. What is in it was decided, sent or answered.

One writer at a time (the state lock). Months follow the clock but never go back: while a newer file exists, lines go
there, so file order is always writing order.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.clock import Clock
from oracle_batch.errors import StateError
from oracle_batch.store import lines
from oracle_batch.store.files import FILE_MODE, read_bytes, refuse_unsafe, state_error, sync_folder
from oracle_batch.store.lines import DamagedLineError, Entry, UnknownLineError
from oracle_batch.store.records import Event, Record

_MONTH_FILE: Final = re.compile(r"\d{4}-\d{2}\.jsonl")
_UNMARKED_MONTHS: Final = 2
_BLOCK: Final = 65536


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place between two lines: month file and bytes before it."""

    file: str
    offset: int


class Tail(msgspec.Struct, frozen=True):
    """What stands after a mark. ``end`` is the mark after it; ``torn`` reports an unfinished last line that was cut."""

    entries: tuple[Entry, ...]
    end: Mark | None
    torn: Event | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(entry.record for entry in self.entries)


class Journal:
    """Appends and reads one account's journal. Nothing is created before the first append."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._newest: str | None = None
        self._whole = False

    def append(self, records: Sequence[Record]) -> Mark | None:
        """Add records with one write and one fsync; returns the mark after them (None: there is no journal yet).

        Raises:
            StateError: the system refused. What was written of the batch has been taken back where possible; a rest
                that could not be is cut off by the next run, as a torn line is.
        """
        if not self._whole:
            self._cut_torn_line(repair=True)
        if not records:
            return self._end()
        now = self._clock.now()
        batch = b"".join(self._encode(record, now) for record in records)
        return self._write(self._file_at(now), batch)

    def tail(self, mark: Mark | None, *, repair: bool = True) -> Tail:
        """Everything after a mark, across months; without a mark, the two newest months.

        A torn last line (no newline, or a checksum that does not fit) is cut off, which is journalled as the event
        ``journal_torn``; ``repair=False`` only passes over it and leaves the file alone.

        Raises:
            StateError: damage before the last line, a line of a newer version, or a mark that points to nothing.
        """
        torn, good_end = self._cut_torn_line(repair=repair)
        names = self._names()
        if mark is not None:
            self._check(mark, names)
            names = [name for name in names if name >= mark.file]
        else:
            names = names[-_UNMARKED_MONTHS:]
        entries: list[Entry] = []
        for name in names:
            start = mark.offset if mark is not None and name == mark.file else 0
            entries += self._entries(name, start, good_end if name == names[-1] else None)
        end = Mark(names[-1], good_end) if names else None
        return Tail(tuple(entries), end, torn)

    def _encode(self, record: Record, now: float) -> bytes:
        try:
            return lines.encode(record, now)
        except (ValueError, TypeError) as error:
            why = f"cannot be journalled: {error}"
            raise StateError(why, file=self.folder, field=type(record).__name__) from error

    # the newest file and its end

    def _names(self) -> list[str]:
        try:
            found = sorted(path.name for path in self.folder.iterdir() if _MONTH_FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise state_error(error, self.folder, "list") from error
        self._newest = found[-1] if found else None
        return found

    def _file_at(self, now: float) -> str:
        month = f"{datetime.fromtimestamp(now, UTC):%Y-%m}.jsonl"
        return max(month, self._newest or month)

    def _end(self) -> Mark | None:
        if self._newest is None:
            return None
        path = self.folder / self._newest
        try:
            return Mark(self._newest, path.stat().st_size)
        except OSError as error:
            raise state_error(error, path, "look at") from error

    def _write(self, name: str, batch: bytes) -> Mark:
        path = self.folder / name
        try:
            fresh = name != self._newest
            if fresh:
                self._make_folder()
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                status = os.fstat(descriptor)
                refuse_unsafe(path, status)
                self._append(descriptor, status.st_size, batch)
            finally:
                os.close(descriptor)
            if fresh:
                sync_folder(self.folder)
        except OSError as error:
            raise state_error(error, path, "append") from error
        self._newest = name
        return Mark(name, status.st_size + len(batch))

    def _append(self, descriptor: int, size: int, batch: bytes) -> None:
        try:
            view = memoryview(batch)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            self._whole = False
            self._take_back(descriptor, size)
            raise

    @staticmethod
    def _take_back(descriptor: int, size: int) -> None:
        with contextlib.suppress(OSError):  # the first error is the one to tell; the next run cuts the torn line off
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.folder.parent)

    # the torn line

    def _cut_torn_line(self, *, repair: bool) -> tuple[Event | None, int]:
        """Find where the newest file's last whole line ends; cut off what stands after it, and journal that."""
        names = self._names()
        if not names:
            self._whole = True
            return None, 0
        path = self.folder / names[-1]
        size, torn = _torn_line(path)
        good_end = size - len(torn)
        if not torn:
            self._whole = True
            return None, good_end
        event = Event(
            "journal_torn",
            None,
            {"file": names[-1], "offset": good_end, "bytes": len(torn), "text": torn[:200].decode("latin-1")},
        )
        if repair:
            try:
                _truncate(path, good_end)
            except OSError as error:
                raise state_error(error, path, "cut off its torn last line") from error
            self._whole = True
            good_end = self._write(names[-1], self._encode(event, self._clock.now())).offset
        return event, good_end

    # reading

    def _check(self, mark: Mark, names: Sequence[str]) -> None:
        path = self.folder / mark.file
        fix = 'put the journal back, or set "journal" to null in the account\'s executor file'
        if mark.file not in names:
            raise StateError("is missing, though the books refer to it", file=path, fix=fix)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(mark.offset - 1, 0))
                before = file.read(1)
        except OSError as error:
            raise state_error(error, path, "read") from error
        if mark.offset > size:
            why = f"has {size} bytes, though the books have taken in {mark.offset}"
            raise StateError(why, file=path, fix=fix)
        if mark.offset > 0 and before != b"\n":
            raise StateError(f"byte {mark.offset} is not the start of a line", file=path, fix=fix)

    def _entries(self, name: str, start: int, end: int | None) -> Iterator[Entry]:
        path = self.folder / name
        data = (read_bytes(path) or b"")[start:end]
        for number, line in enumerate(data.split(b"\n")[:-1]):
            try:
                yield lines.decode(line)
            except (DamagedLineError, UnknownLineError) as error:
                before = (read_bytes(path) or b"")[:start].count(b"\n")
                raise StateError(
                    f"line {before + number + 1}: {error}",
                    file=path,
                    fix="look at this line; restore the file from a backup, or update oracle-batch"
                    if isinstance(error, UnknownLineError)
                    else "look at this line; restore the file from a backup",
                ) from error


def _torn_line(path: Path) -> tuple[int, bytes]:
    """The size of a file and its last line if that is torn, else no bytes. Reads only the end of the file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            refuse_unsafe(path, status)
            end = b""
            start = status.st_size
            while start > 0 and b"\n" not in end[:-1]:
                step = min(_BLOCK, start)
                start -= step
                file.seek(start)
                end = file.read(step) + end
    except OSError as error:
        raise state_error(error, path, "read") from error
    last = end[end[:-1].rfind(b"\n") + 1 :]
    if not last:
        return status.st_size, b""
    if last.endswith(b"\n"):
        try:
            lines.decode(last[:-1])
        except DamagedLineError:
            return status.st_size, last
        except UnknownLineError:
            pass  # whole, and therefore not ours to cut
        return status.st_size, b""
    return status.st_size, last


def _truncate(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
