"""When a schedule's holidays begin and end."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from oracle_batch.hands.calendar import DAY_S, Holiday, Schedule
from oracle_batch.hands.hours import zone_of


def on_holiday(schedule: Schedule | None, at: float) -> bool:
    """Whether a holiday, rather than the weekly hours, keeps the market closed."""
    return schedule is not None and any(
        start <= at < end for holiday in schedule.holidays for start, end in _spans(holiday, at, at)
    )


def holiday_edges(schedule: Schedule | None, after: float, until: float) -> list[float]:
    """Instants with ``after < instant <= until`` at which a holiday begins or ends, in order."""
    if schedule is None or not schedule.holidays:
        return []
    spans = (span for holiday in schedule.holidays for span in _spans(holiday, after, until))
    return sorted({edge for span in spans for edge in span if after < edge <= until})


def _spans(holiday: Holiday, after: float, until: float) -> list[tuple[float, float]]:
    first, last = (datetime.fromtimestamp(at, UTC).date() for at in (after - 2 * DAY_S, until + 2 * DAY_S))
    years = range(first.year, last.year + 1) if holiday.yearly else (holiday.day.year,)
    days = [day for year in years if (day := _in_year(holiday.day, year)) is not None and first <= day <= last]
    return [(_instant(holiday, day, holiday.start), _instant(holiday, day, holiday.end)) for day in days]


def _in_year(day: date, year: int) -> date | None:
    try:
        return day.replace(year=year)
    except ValueError:
        return None  # 29 February of a common year


def _instant(holiday: Holiday, day: date, second: int) -> float:
    wall = datetime.combine(day, time()) + timedelta(seconds=second)
    return wall.replace(tzinfo=zone_of(holiday.zone)).timestamp()
