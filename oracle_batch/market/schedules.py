"""Market hours as an operator writes them in ``config/symbols.json``, made a schedule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from oracle_batch.hands.calendar import DAY_S, WEEK_S, Holiday, Schedule

_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_CLOCK: Final = r"(\d\d):(\d\d)"
_SESSION: Final = re.compile(rf"({'|'.join(_DAYS)}) {_CLOCK}-({'|'.join(_DAYS)}) {_CLOCK}")
_HOLIDAY: Final = re.compile(rf"(?:(\d{{4}})-)?(\d\d)-(\d\d)(?: {_CLOCK}-{_CLOCK})?")
_LEAP: Final = 2000
"""The year that a yearly holiday is kept under: it has a 29 February."""


def parse_schedule(zone: str, sessions: Iterable[str], holidays: Iterable[str] = ()) -> Schedule:
    """A schedule from sessions like ``Sun 17:05-Fri 16:59`` and holidays like ``2026-12-24 13:00-24:00``.

    A holiday without hours is the whole day, one without a year (``12-25``) comes every year.

    Raises:
        ValueError: a text is none of these, no session is given, or the zone is unknown.

    >>> parse_schedule("UTC", ["Mon 08:00-Mon 16:30"]).sessions
    ((115200, 145800),)
    """
    return Schedule(zone, tuple(map(_session, sessions)), tuple(_holiday(text, zone) for text in holidays))


def _session(text: str) -> tuple[int, int]:
    match = _SESSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no session; write e.g. 'Sun 17:05-Fri 16:59'")
    first, hour, minute, last, last_hour, last_minute = match.groups()
    start = _DAYS.index(first) * DAY_S + _seconds(hour, minute, text)
    end = _DAYS.index(last) * DAY_S + _seconds(last_hour, last_minute, text)
    start %= WEEK_S
    return start, end if end > start else end + WEEK_S


def _holiday(text: str, zone: str) -> Holiday:
    match = _HOLIDAY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no holiday; write e.g. '2026-12-25', '12-25' or '2026-12-24 13:00-24:00'")
    year, month, day, *clock = match.groups()
    try:
        on = date(int(year or _LEAP), int(month), int(day))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error
    if clock[0] is None:
        return Holiday(on, zone, yearly=year is None)
    start, end = _seconds(clock[0], clock[1], text), _seconds(clock[2], clock[3], text)
    return Holiday(on, zone, start, end, yearly=year is None)


def _seconds(hour: str, minute: str, text: str) -> int:
    seconds = int(hour) * 3600 + int(minute) * 60
    if int(minute) > 59 or seconds > DAY_S:
        raise ValueError(f"{text!r}: {hour}:{minute} is no time of day")
    return seconds
