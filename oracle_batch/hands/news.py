"""A calendar of economic news: read from CSV text, asked for the events that concern a symbol."""

from __future__ import annotations

import csv
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final, Literal, get_args

from oracle_batch.errors import DataError

Impact = Literal["low", "medium", "high"]
IMPACTS: Final[tuple[Impact, ...]] = get_args(Impact)
EVERY_CURRENCY: Final = "ALL"
"""An event of this currency concerns every symbol."""
_COLUMNS: Final = ("time", "currency", "impact")
_WHEN: Final = attrgetter("time")


@dataclass(frozen=True, slots=True)
class NewsEvent:
    """One release; ``time`` in Unix seconds."""

    time: float
    currency: str
    impact: Impact


@dataclass(frozen=True, slots=True)
class NewsCalendar:
    """Events in the order of their times, at least one."""

    events: tuple[NewsEvent, ...]

    @property
    def ends(self) -> float:
        """The last event's time: nothing is known of what comes after it."""
        return self.events[-1].time

    def between(self, start: float, end: float, currencies: Collection[str], impact: Impact) -> list[NewsEvent]:
        """Events of at least this impact that concern the currencies, ``start <= time <= end``."""
        least = IMPACTS.index(impact)
        first = bisect_left(self.events, start, key=_WHEN)
        last = bisect_right(self.events, end, key=_WHEN)
        return [
            event
            for event in self.events[first:last]
            if IMPACTS.index(event.impact) >= least
            and (event.currency == EVERY_CURRENCY or event.currency in currencies)
        ]


def parse_news(text: str, *, file: object = None) -> NewsCalendar:
    """The calendar in a CSV with the columns ``time`` (UTC), ``currency`` and ``impact``; further columns are ignored.

    Times are ISO 8601, e.g. ``2026-11-06T13:30:00Z`` or ``2026-11-06 13:30``; a currency is three letters, or ``ALL``.

    Raises:
        DataError: naming file, line and column of the first thing that cannot be right.
    """
    rows = _rows(text.removeprefix("\ufeff"), file)
    line, header = next(rows, (1, []))
    names = [name.strip().lower() for name in header]
    for name in _COLUMNS:
        if names.count(name) != 1:
            what = "is given twice" if name in names else "is missing"
            raise _error(file, line, f"column {name!r}", what, f"the header is {','.join(_COLUMNS)}")
    places = {name: names.index(name) for name in _COLUMNS}
    events = []
    for line, row in rows:
        if len(row) != len(names):
            raise _error(file, line, f"column {min(len(row), len(names)) + 1}", f"{len(row)} columns, not {len(names)}")
        fields = {name: row[place].strip() for name, place in places.items()}
        at = {name: f"column {place + 1} ({name})" for name, place in places.items()}
        events.append(
            NewsEvent(
                _time(fields["time"], file, line, at["time"]),
                _currency(fields["currency"], file, line, at["currency"]),
                _impact(fields["impact"], file, line, at["impact"]),
            )
        )
    if not events:
        raise DataError("holds no event", file=file, fix="put in a calendar that reaches more than 7 days ahead")
    return NewsCalendar(tuple(sorted(events, key=_WHEN)))


def _rows(text: str, file: object) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line on which it ends."""
    reader = csv.reader(text.splitlines(), strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _error(file, reader.line_num, "", f"is no CSV: {error}") from error
        if row:
            yield reader.line_num, row


def _time(text: str, file: object, line: int, column: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _error(file, line, column, f"{text!r} is no time", "write e.g. 2026-11-06T13:30:00Z") from error
    if moment.utcoffset() not in (None, timedelta(0)):
        raise _error(file, line, column, f"{text!r} is not in UTC", "convert it")
    if ":" not in text:
        raise _error(file, line, column, f"{text!r} has no time of day", "write e.g. 2026-11-06T13:30:00Z")
    return moment.replace(tzinfo=UTC).timestamp()


def _currency(text: str, file: object, line: int, column: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha()):
        raise _error(file, line, column, f"{text!r} is no currency", "write three letters, or ALL")
    return text.upper()


def _impact(text: str, file: object, line: int, column: str) -> Impact:
    for impact in IMPACTS:
        if text.lower() == impact:
            return impact
    raise _error(file, line, column, f"{text!r} is no impact", f"one of: {', '.join(IMPACTS)}")


def _error(file: object, line: int, column: str, what: str, fix: str | None = None) -> DataError:
    field = f"line {line}, {column}" if column else f"line {line}"
    return DataError(what, file=file, field=field, fix=fix)
