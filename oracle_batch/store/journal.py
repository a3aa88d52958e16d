"""The journal of an account: ``YYYY-MM.jsonl``, append-only. What is in it was decided, sent or answered.

One writer at a time (the state lock). Months follow the clock but never go back: while a newer file exists, lines go
there, so file order is always writing order.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.clock import Clock
from oracle_batch.errors import StateError
from oracle_batch.store import appending, lines
from oracle_batch.store.files import refuse_unsafe_folders, state_error, sync_folder
from oracle_batch.store.lines import DamagedLineError, Entry, UnknownLineError
from oracle_batch.store.records import Event, Record

_MONTH_FILE: Final = re.compile(r"\d{4}-\d{2}\.jsonl")
_COMPACTED_FILE: Final = re.compile(r"\d{4}-\d{2}\.parquet")
_UNMARKED_MONTHS: Final = 2
_TORN_TEXT: Final = 200


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place between two lines: month file and bytes before it."""

    file: str
    offset: int


class Tail(msgspec.Struct, frozen=True):
    """What stands after a mark. ``end`` is the mark after it; ``torn`` reports a torn last line."""

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
        self._size: int | None = None
        self._vouched: list[Record] = []
        self._rests: list[bytes] = []

    def vouch(self, records: Sequence[Record]) -> None:
        """Make sure beforehand that records can be journalled, so that appending these very ones is quicker.

        Raises:
            StateError: as ``append``; nothing is written.
        """
        now = self._clock.now()
        for record in records:
            self._line(record, now)
        self._vouched, self._rests = list(records), [lines.rest_of(record) for record in records]
        self._batch(records, now)  # gone once, the way is not new when it counts

    def append(self, records: Sequence[Record]) -> Mark | None:
        """Add records with one write and one fsync; returns the mark after them (None: there is no journal yet).

        Raises:
            StateError: the system refused, a record holds a number that JSON has no word for, or somebody else has
                written to the journal since it was looked at and may be at the same work. Nothing of the batch stays,
                or, where even taking it back was refused, the next append or tail cuts the torn line off.
        """
        if not self._whole:
            self._mend(self._names(), repair=True)
        if records:
            now = self._clock.now()
            return self._write(self._file_at(now), self._batch(records, now))
        return Mark(self._newest, self._size_of(self._newest)) if self._newest else None

    def tail(self, mark: Mark | None, *, repair: bool = True) -> Tail:
        """Everything after a mark, across months; without a mark, the two newest months.

        A torn last line (no newline, or a checksum that does not fit) is cut off, which is journalled as the event
        ``journal_torn``; ``repair=False`` only passes over it and leaves the file alone.

        Raises:
            StateError: damage before the last line, a line of a newer version, or a mark that points to nothing.
        """
        names = self._names()
        if mark is not None:
            mark = self._before_a_tear(mark, names)
            self._check(mark, names)
        torn, good_end = self._mend(names, repair=repair, mark=mark)
        unread = names[-_UNMARKED_MONTHS:] if mark is None else [name for name in names if name >= mark.file]
        entries: list[Entry] = []
        for name in unread:
            start = mark.offset if mark is not None and name == mark.file else 0
            end = good_end if name == names[-1] else self._size_of(name)
            entries += self._entries(name, start, end)
        return Tail(tuple(entries), Mark(names[-1], good_end) if names else None, torn)

    def _names(self) -> list[str]:
        refuse_unsafe_folders([self.folder])
        found = month_names(self.folder)
        self._newest = found[-1] if found else None
        return found

    def _file_at(self, now: float) -> str:
        day = datetime.fromtimestamp(now, UTC)
        month = f"{day.year:04}-{day.month:02}.jsonl"
        return max(month, self._newest or month)

    def _batch(self, records: Sequence[Record], now: float) -> bytes:
        if len(records) == len(self._vouched) and all(map(operator.is_, records, self._vouched)):
            return lines.whole(lines.head_at(now), self._rests)
        return b"".join([self._line(record, now) for record in records])

    def _line(self, record: Record, now: float) -> bytes:
        try:
            return lines.encode(record, now)
        except (ValueError, TypeError) as error:
            why = f"cannot be journalled: {error}"
            raise StateError(why, file=self.folder, field=type(record).__name__) from error

    def _write(self, name: str, batch: bytes) -> Mark:
        fresh, known_size = name != self._newest, self._size
        self._whole, self._size = False, None
        if fresh:
            self._make_folder()
        size = appending.append(self.folder / name, batch, 0 if fresh else known_size)
        if fresh:
            self._sync(self.folder)
        self._newest, self._whole, self._size = name, True, size
        return Mark(name, size)

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise state_error(error, self.folder, "create the folder") from error
            self._sync(self.folder.parent)

    @staticmethod
    def _sync(folder: Path) -> None:
        try:
            sync_folder(folder)
        except OSError as error:
            raise state_error(error, folder, "sync the folder") from error

    def _mend(self, names: Sequence[str], *, repair: bool, mark: Mark | None = None) -> tuple[Event | None, int]:
        """Report a torn last line and where whole lines end; with ``repair``, cut it off and journal that."""
        if not names:
            self._whole = True
            return None, 0
        name, path = names[-1], self.folder / names[-1]
        start, line = appending.last_line(path)
        if not _is_torn(line):
            self._whole, self._size = True, start + len(line)
            return None, start + len(line)
        if mark is not None and mark.file == name and start < mark.offset:
            raise self._damage(name, start, "its checksum does not fit")
        detail = {"file": name, "offset": start, "bytes": len(line), "text": line[:_TORN_TEXT].decode("latin-1")}
        event = Event("journal_torn", None, detail)
        if repair:
            appending.truncate(path, start)
            start = self._write(name, self._line(event, self._clock.now())).offset
        return event, start

    def _before_a_tear(self, mark: Mark, names: Sequence[str]) -> Mark:
        """The mark, moved before a torn last line where the books had taken that in already: they know what is lost."""
        if not names or mark.file != names[-1]:
            return mark
        start, line = appending.last_line(self.folder / mark.file)
        torn = bool(line) and not line.endswith(b"\n")
        return Mark(mark.file, start) if torn and start + len(line) < mark.offset else mark

    def _check(self, mark: Mark, names: Sequence[str]) -> None:
        path = self.folder / mark.file
        if mark.file not in names:
            later = [Mark(name, 0) for name in names if name > mark.file]
            instead = next(iter(later), Mark(names[-1], self._size_of(names[-1])) if names else None)
            raise StateError("is missing, though the books refer to it", file=path, fix=self._instead(instead))
        size = self._size_of(mark.file)
        if mark.offset > size:
            why = f"has {size} bytes, though the books have taken in {mark.offset}"
            raise StateError(why, file=path, fix=self._instead(Mark(mark.file, size)))
        if mark.offset > 0 and appending.read_between(path, mark.offset - 1, mark.offset) != b"\n":
            start = appending.read_between(path, 0, mark.offset).rfind(b"\n") + 1
            why = f"byte {mark.offset} is not the start of a line"
            raise StateError(why, file=path, fix=self._instead(Mark(mark.file, start)))

    def _size_of(self, name: str) -> int:
        return appending.size_of(self.folder / name)

    def _instead(self, mark: Mark | None) -> str:
        """What the operator can do where the mark points to nothing: no line that the books have is taken in again."""
        books = f"state/executor/{self.folder.name}.json"
        return f'put the journal back, or go on without what is lost: set "journal" to {_json(mark)} in {books}'

    def _entries(self, name: str, start: int, end: int) -> Iterator[Entry]:
        data = appending.read_between(self.folder / name, start, end)
        for line in data.removesuffix(b"\n").split(b"\n") if data else ():
            try:
                yield lines.decode(line)
            except (DamagedLineError, UnknownLineError) as error:
                raise self._damage(name, start, str(error)) from error
            start += len(line) + 1

    def _damage(self, name: str, start: int, why: str) -> StateError:
        path = self.folder / name
        number = appending.read_between(path, 0, start).count(b"\n") + 1
        fix = "look at this line; restore the file from a backup, or update oracle-batch if it wrote it"
        return StateError(f"line {number}: {why}", file=path, fix=fix)


def month_names(folder: Path) -> list[str]:
    """The month files of a journal's folder, oldest first.

    Raises:
        StateError: the folder cannot be listed.
    """
    return _names_like(folder, _MONTH_FILE)


def compacted_names(folder: Path) -> list[str]:
    """The files of months that were compacted, oldest first.

    Raises:
        StateError: the folder cannot be listed.
    """
    return _names_like(folder, _COMPACTED_FILE)


def _names_like(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if pattern.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise state_error(error, folder, "list") from error


def _json(mark: Mark | None) -> str:
    return msgspec.json.encode(mark).decode()


def _is_torn(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return bool(line)
    try:
        lines.decode(line[:-1])
    except DamagedLineError:
        return True
    except UnknownLineError:
        return False  # whole, and therefore not ours to cut
    return False
