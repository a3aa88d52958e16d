"""When a symbol's market is open: the broker's weekly sessions and holidays, on the wall clock of their zones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from oracle_batch.hands.hours import zone_of

DAY_S: Final = 86400
WEEK_S: Final = 7 * DAY_S
HORIZON_WEEKS: Final = 3
"""A break is looked for in this week and so many to come; a market without one has none."""


class Break(NamedTuple):
    """A stretch without a market, Unix seconds, ``start`` included."""

    start: float
    end: float

    @property
    def length_s(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Holiday:
    """No market on ``day`` from ``start`` to ``end`` seconds after its midnight in ``zone``; ``yearly`` repeats it."""

    day: date
    zone: str
    start: int = 0
    end: int = DAY_S
    yearly: bool = False

    def __post_init__(self) -> None:
        zone_of(self.zone)
        if not 0 <= self.start < self.end <= DAY_S:
            raise ValueError(f"holiday {self.day}: {self.start} to {self.end} is no part of a day")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Weekly sessions, each (start, end) in seconds of the wall clock from Sunday 00:00 in ``zone``.

    A session may run past Saturday midnight. A broker that tells no sessions has no schedule: that is None, not empty.

    Raises:
        ValueError: no session, one outside the week, or an unknown zone.
    """

    zone: str
    sessions: tuple[tuple[int, int], ...]
    holidays: tuple[Holiday, ...] = ()

    def __post_init__(self) -> None:
        zone_of(self.zone)
        if not self.sessions:
            raise ValueError("a schedule needs sessions")
        for start, end in self.sessions:
            if not (0 <= start < WEEK_S and start < end <= start + WEEK_S):
                raise ValueError(f"session {start} to {end} is no part of a week")

    def is_open(self, now: float) -> bool:
        """Whether the market is open by schedule; that alone does not prove it."""
        return not any(start <= now < end for start, end in self._breaks(now))

    def next_break(self, now: float, min_s: float = 0.0) -> Break | None:
        """The break that ``now`` is in, else the next one, of at least ``min_s`` seconds; None: none within weeks."""
        return next((one for one in self._breaks(now) if one.end > now and one.length_s >= min_s), None)

    def _breaks(self, now: float) -> tuple[Break, ...]:
        return _breaks(self, _sunday(datetime.fromtimestamp(now, UTC).date()))


def _sunday(day: date) -> date:
    return day - timedelta(days=(day.weekday() + 1) % 7)


@lru_cache(maxsize=64)
def _breaks(schedule: Schedule, sunday: date) -> tuple[Break, ...]:
    """Everything between the sessions from the week before ``sunday`` to the horizon, in order."""
    sundays = [sunday + timedelta(weeks=week) for week in range(-2, HORIZON_WEEKS + 2)]
    opened = _merged(
        (_instant(schedule.zone, first, start), _instant(schedule.zone, first, end))
        for first in sundays
        for start, end in _sessions(schedule.sessions)
    )
    years = range(sundays[0].year, sundays[-1].year + 2)
    closed = _merged(span for holiday in schedule.holidays for span in _holiday_spans(holiday, years))
    opened = _without(opened, closed)
    first, last = _instant(schedule.zone, sundays[1], 0), _instant(schedule.zone, sundays[-1], 0)
    edges = [first, *(edge for span in opened for edge in span), last]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple(Break(start, end) for start, end in pairs if end > start)


def _sessions(sessions: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """Sessions that touch on the wall clock are one, so that no change of the clocks can part them."""
    return _merged((float(start), float(end)) for start, end in sessions)


def _instant(zone: str, day: date, second: float) -> float:
    """Unix seconds of a wall-clock second counted from a day's midnight, not of elapsed seconds."""
    wall = datetime.combine(day, time()) + timedelta(seconds=second)
    return wall.replace(tzinfo=zone_of(zone)).timestamp()


def _holiday_spans(holiday: Holiday, years: Iterable[int]) -> Iterator[tuple[float, float]]:
    for year in years if holiday.yearly else (holiday.day.year,):
        try:
            day = holiday.day.replace(year=year)
        except ValueError:
            continue  # 29 February of a common year
        yield _instant(holiday.zone, day, holiday.start), _instant(holiday.zone, day, holiday.end)


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, overlapping or touching ones joined."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _without(spans: list[tuple[float, float]], holes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What of the spans lies in no hole."""
    for hole_start, hole_end in holes:
        cut = []
        for start, end in spans:
            pieces = ((start, min(end, hole_start)), (max(start, hole_end), end))
            cut += [(left, right) for left, right in pieces if right > left]
        spans = cut
    return spans
