"""When the day of a loss limit starts, in Unix seconds, through every change of the local clock."""

from __future__ import annotations

import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from oracle_batch.hands.limit_rules import DayRule


@lru_cache(maxsize=64)
def reset_of(rule: DayRule, day: datetime.date) -> int:
    """The first instant of ``day`` at which the local clock shows the reset time or later.

    A time that the clock shows twice counts at its first showing; one that it jumps over, at the jump.

    >>> import datetime
    >>> march, october = datetime.date(2026, 3, 30), datetime.date(2026, 10, 26)
    >>> midnight = DayRule("00:00", "Europe/Prague")
    >>> for day in (march, october):  # the day before had 23 and 25 hours
    ...     (reset_of(midnight, day) - reset_of(midnight, day - datetime.timedelta(1))) // 3600
    23
    25
    """
    zone = ZoneInfo(rule.zone)
    shown = datetime.datetime.combine(day, datetime.time.fromisoformat(rule.reset))
    late = int(shown.replace(tzinfo=zone, fold=0).timestamp())
    if _shown(late, zone) == shown:
        return late
    early = int(shown.replace(tzinfo=zone, fold=1).timestamp())
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if _shown(middle, zone) >= shown else (middle, late)
    return late


@lru_cache(maxsize=64)
def last_reset(rule: DayRule, instant: float) -> tuple[str, int]:
    """The day that ``instant`` belongs to (the local date of its reset, ISO) and when it started."""
    today = _shown(int(instant // 1), ZoneInfo(rule.zone)).date()
    days = (today + datetime.timedelta(days=ahead) for ahead in (1, 0, -1, -2))
    day, start = next((day, start) for day in days if (start := reset_of(rule, day)) <= instant)
    return day.isoformat(), start


@lru_cache(maxsize=64)
def next_reset(rule: DayRule, instant: float) -> int:
    """The first reset after ``instant``."""
    day = datetime.date.fromisoformat(last_reset(rule, instant)[0])
    return reset_of(rule, day + datetime.timedelta(days=1))


def resets_between(rule: DayRule, after: float, until: float) -> list[int]:
    """Every reset with ``after < reset <= until``, oldest first."""
    found = []
    instant = next_reset(rule, after)
    while instant <= until:
        found.append(instant)
        instant = next_reset(rule, instant)
    return found


def _shown(instant: int, zone: ZoneInfo) -> datetime.datetime:
    """What the local clock shows, without its zone."""
    return datetime.datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
