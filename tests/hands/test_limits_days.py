"""The reset of the day in every zone that firms use, on the days on which the clock changes."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.hands.limit_rules import DayRule
from oracle_batch.hands.reset_days import last_reset, next_reset, reset_of, resets_between
from tests.hands.limit_cases import at

PRAGUE = DayRule("00:00", "Europe/Prague")
NEW_YORK = DayRule("17:00", "America/New_York")
HALF_PAST = DayRule("00:30", "UTC")
SKIPPED = DayRule("02:30", "Europe/Prague")
CAIRO = DayRule("00:00", "Africa/Cairo")


@pytest.mark.parametrize(
    ("rule", "day", "utc", "hours"),
    [
        (PRAGUE, "2026-03-28", "2026-03-27 23:00", 24),
        (PRAGUE, "2026-03-29", "2026-03-28 23:00", 23),
        (PRAGUE, "2026-03-30", "2026-03-29 22:00", 24),
        (PRAGUE, "2026-10-24", "2026-10-23 22:00", 24),
        (PRAGUE, "2026-10-25", "2026-10-24 22:00", 25),
        (PRAGUE, "2026-10-26", "2026-10-25 23:00", 24),
        (NEW_YORK, "2026-03-07", "2026-03-07 22:00", 23),
        (NEW_YORK, "2026-03-08", "2026-03-08 21:00", 24),
        (NEW_YORK, "2026-10-31", "2026-10-31 21:00", 25),
        (NEW_YORK, "2026-11-01", "2026-11-01 22:00", 24),
        (HALF_PAST, "2026-03-29", "2026-03-29 00:30", 24),
        (HALF_PAST, "2026-10-25", "2026-10-25 00:30", 24),
        # 02:30 does not exist on 29 March (the clock jumps from 2 to 3) and comes twice on 25 October.
        (SKIPPED, "2026-03-28", "2026-03-28 01:30", 23.5),
        (SKIPPED, "2026-03-29", "2026-03-29 01:00", 23.5),
        (SKIPPED, "2026-10-25", "2026-10-25 00:30", 25),
        # Cairo's clock jumps over midnight itself on 24 April.
        (CAIRO, "2026-04-24", "2026-04-23 22:00", 23),
    ],
)
def test_a_day_starts_at_its_local_reset(rule: DayRule, day: str, utc: str, hours: float) -> None:
    start = reset_of(rule, datetime.date.fromisoformat(day))
    assert start == at(utc)
    assert next_reset(rule, start) - start == hours * 3600
    assert last_reset(rule, start) == (day, start)
    assert last_reset(rule, start - 0.001)[1] < start


def test_a_weekend_holds_its_three_midnights() -> None:
    friday, monday = at("2026-03-27 20:55"), at("2026-03-30 00:05", "Europe/Prague")
    assert resets_between(PRAGUE, friday, monday) == [
        at("2026-03-27 23:00"),
        at("2026-03-28 23:00"),
        at("2026-03-29 22:00"),
    ]


def test_a_reset_belongs_to_the_day_it_starts() -> None:
    reset = at("2026-11-20 00:30")
    assert resets_between(HALF_PAST, reset - 1, reset) == [reset]
    assert resets_between(HALF_PAST, reset, reset + 3600) == []


@given(
    st.sampled_from([PRAGUE, NEW_YORK, HALF_PAST, SKIPPED, CAIRO, DayRule("00:00", "Etc/GMT-3")]),
    st.integers(1_750_000_000, 1_900_000_000),
)
def test_every_instant_lies_in_exactly_one_day(rule: DayRule, instant: int) -> None:
    _, start = last_reset(rule, instant)
    end = next_reset(rule, instant)
    assert start <= instant < end
    assert 23 * 3600 <= end - start <= 25 * 3600
    assert next_reset(rule, start) == end
