"""Windows of wall-clock time: trading hours, weekdays and blackouts, in a time zone that the operator names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES: Final = 1440
_WEEKLY: Final = re.compile(r"(?P<days>[A-Za-z]{3}(?:[,-][A-Za-z]{3})*)?\s*(?P<hours>\d\d:\d\d-\d\d:\d\d)?")


@dataclass(frozen=True, slots=True)
class Weekly:
    """Every week on ``days`` (0 is Monday) from ``start`` to ``end`` minutes after midnight; past 1440: next day."""

    days: frozenset[int]
    start: int
    end: int

    def holds(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        return (today in self.days and self.start <= minute < self.end) or (
            yesterday in self.days and minute + _DAY_MINUTES < self.end
        )


@dataclass(frozen=True, slots=True)
class Once:
    """From one wall-clock instant to another, both without a zone of their own."""

    start: datetime
    end: datetime

    def holds(self, local: datetime) -> bool:
        return self.start <= local.replace(tzinfo=None) < self.end


Window = Weekly | Once


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(f"{name!r} is no time zone; names are like Europe/Prague") from error


@lru_cache(maxsize=16)
def parse_windows(texts: tuple[str, ...]) -> tuple[Window, ...]:
    """Windows from ``Mon-Fri 07:00-20:00``, ``22:00-02:00`` (each day), ``Sat,Sun`` (whole days), or one stretch of
    dates ``2026-12-24T18:00/2026-12-27T00:00``. A window past midnight belongs to the day on which it starts.

    Raises:
        ValueError: a text is none of these.
    """
    return tuple(_parse(text) for text in texts)


def inside(windows: Iterable[Window], now: float, zone: str) -> bool:
    """Whether an instant (Unix seconds) lies in any window, by the wall clock of the zone.

    >>> inside(parse_windows(("Mon-Fri 09:00-17:00",)), 1_770_000_000, "UTC")  # Monday 2026-02-02 02:40
    False
    """
    local = datetime.fromtimestamp(now, zone_of(zone))
    return any(window.holds(local) for window in windows)


def _parse(text: str) -> Window:
    if "/" in text:
        return _once(text)
    match = _WEEKLY.fullmatch(text.strip())
    if match is None or not text.strip():
        raise ValueError(f"{text!r} is no window; write e.g. 'Mon-Fri 07:00-20:00'")
    days = _days(match["days"], text) if match["days"] else frozenset(range(7))
    if match["hours"] is None:
        return Weekly(days, 0, _DAY_MINUTES)
    start, end = (_minutes(part, text) for part in match["hours"].split("-"))
    if start in (end, _DAY_MINUTES):
        raise ValueError(f"{text!r} holds no minute")
    return Weekly(days, start, end if end > start else end + _DAY_MINUTES)


def _once(text: str) -> Once:
    first, _, last = text.partition("/")
    try:
        start, end = datetime.fromisoformat(first.strip()), datetime.fromisoformat(last.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is no stretch; write e.g. '2026-12-24T18:00/2026-12-27T00:00'") from error
    if start.tzinfo is not None or end.tzinfo is not None:
        raise ValueError(f"{text!r} has a UTC offset; the zone is hours_zone")
    if start >= end:
        raise ValueError(f"{text!r} ends before it starts")
    return Once(start, end)


def _days(text: str, whole: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        names = [name.capitalize() for name in part.split("-")]
        if len(names) > 2 or not set(names) <= set(_DAYS):
            raise ValueError(f"{whole!r}: {part!r} is no weekday; the names are {', '.join(_DAYS)}")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        found |= {day % 7 for day in range(first, last + 1 if last >= first else last + 8)}
    return frozenset(found)


def _minutes(text: str, whole: str) -> int:
    hour, minute = int(text[:2]), int(text[3:])
    total = hour * 60 + minute
    if minute > 59 or total > _DAY_MINUTES:
        raise ValueError(f"{whole!r}: {text} is no time of day")
    return total
