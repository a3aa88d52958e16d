"""Sessions, breaks and holidays on the wall clock; the news calendar; which currencies a symbol stands for."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.errors import DataError
from oracle_batch.hands.calendar import WEEK_S, Break, Holiday, Schedule
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.hours import inside, parse_windows, zone_of
from oracle_batch.hands.news import parse_news

H = 3600
D = 86400
NEW_YORK = "America/New_York"
FOREX = Schedule(NEW_YORK, ((17 * H + 300, 5 * D + 17 * H),))
"""Sunday 17:05 to Friday 17:00 New York, one session."""
INDEX = Schedule(NEW_YORK, tuple((day * D + 18 * H, (day + 1) * D + 17 * H) for day in range(5)))
"""Sunday 18:00 to Friday 17:00 with an hour's break each day."""


def utc(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def test_the_weekend_is_the_next_break_of_a_midweek_hour() -> None:
    # Wednesday; New York is at UTC−5: Friday 17:00 is 22:00 UTC, Sunday 17:05 is 22:05 UTC.
    assert FOREX.next_break(utc("2026-02-04T12:00")) == (utc("2026-02-06T22:00"), utc("2026-02-08T22:05"))
    assert FOREX.is_open(utc("2026-02-06T21:59:59"))
    assert not FOREX.is_open(utc("2026-02-06T22:00"))
    assert not FOREX.is_open(utc("2026-02-08T22:04:59"))
    assert FOREX.is_open(utc("2026-02-08T22:05"))


def test_inside_a_break_the_next_break_is_this_one() -> None:
    saturday = utc("2026-02-07T12:00")
    assert FOREX.next_break(saturday) == (utc("2026-02-06T22:00"), utc("2026-02-08T22:05"))


@pytest.mark.parametrize(
    ("now", "close", "opening"),
    [
        # US clocks go forward on Sunday 2026-03-08: closing at UTC−5, opening at UTC−4, an hour less of weekend.
        ("2026-03-05T12:00", "2026-03-06T22:00", "2026-03-08T21:05"),
        ("2026-03-12T12:00", "2026-03-13T21:00", "2026-03-15T21:05"),
        # They go back on Sunday 2026-11-01: an hour more.
        ("2026-10-29T12:00", "2026-10-30T21:00", "2026-11-01T22:05"),
        ("2026-11-05T12:00", "2026-11-06T22:00", "2026-11-08T22:05"),
    ],
)
def test_sessions_keep_their_wall_clock_through_a_change_of_the_clocks(now: str, close: str, opening: str) -> None:
    assert FOREX.next_break(utc(now)) == (utc(close), utc(opening))


def test_europes_change_moves_a_european_schedule_three_weeks_after_the_american() -> None:
    prague = Schedule("Europe/Prague", ((23 * H + 300, 5 * D + 23 * H),))
    assert prague.next_break(utc("2026-03-26T12:00")) == (utc("2026-03-27T22:00"), utc("2026-03-29T21:05"))
    assert prague.next_break(utc("2026-10-22T12:00")) == (utc("2026-10-23T21:00"), utc("2026-10-25T22:05"))


def test_a_daily_hour_is_no_long_break() -> None:
    tuesday = utc("2026-02-03T12:00")
    assert INDEX.next_break(tuesday) == (utc("2026-02-03T22:00"), utc("2026-02-03T23:00"))
    assert INDEX.next_break(tuesday, 2 * H) == (utc("2026-02-06T22:00"), utc("2026-02-08T23:00"))


def test_a_market_that_never_closes_has_no_break() -> None:
    always = Schedule("UTC", tuple((day * D, (day + 1) * D) for day in range(7)))
    assert always.next_break(utc("2026-03-08T06:59")) is None
    assert always.is_open(utc("2026-03-08T00:00"))


def test_days_that_touch_are_one_session_also_where_midnight_comes_twice() -> None:
    # In the Azores clocks go back from 01:00 to 00:00 on Sunday 2026-10-25.
    daily = Schedule("Atlantic/Azores", tuple((day * D, (day + 1) * D) for day in range(7)))
    assert daily.next_break(utc("2026-10-22T12:00")) is None


def test_a_session_may_run_past_saturday_midnight() -> None:
    crypto = Schedule("UTC", ((6 * D + 22 * H, 6 * D + 26 * H),))
    assert crypto.is_open(utc("2026-02-08T01:59"))
    assert not crypto.is_open(utc("2026-02-08T02:00"))


def test_a_holiday_makes_a_break_and_a_half_day_a_shorter_session() -> None:
    christmas = Holiday(date(2026, 12, 25), NEW_YORK)
    eve = Holiday(date(2026, 12, 24), NEW_YORK, 13 * H, D)
    schedule = Schedule(FOREX.zone, FOREX.sessions, (christmas, eve))
    # Thursday 13:00 (18:00 UTC) to Sunday 17:05 (22:05 UTC): Friday is the holiday, then comes the weekend.
    assert schedule.next_break(utc("2026-12-23T12:00")) == (utc("2026-12-24T18:00"), utc("2026-12-27T22:05"))


def test_a_yearly_holiday_comes_back_and_29_february_only_in_leap_years() -> None:
    new_year = Holiday(date(2020, 1, 1), "UTC", yearly=True)
    leap_day = Holiday(date(2024, 2, 29), "UTC", yearly=True)
    schedule = Schedule("UTC", ((0, WEEK_S),), (new_year, leap_day))
    assert schedule.next_break(utc("2026-12-28T12:00")) == (utc("2027-01-01T00:00"), utc("2027-01-02T00:00"))
    assert schedule.next_break(utc("2026-02-27T12:00")) is None
    assert schedule.next_break(utc("2028-02-27T12:00")) == (utc("2028-02-29T00:00"), utc("2028-03-01T00:00"))


@pytest.mark.parametrize(
    ("zone", "sessions"),
    [
        ("UTC", ()),
        ("UTC", ((10, 10),)),
        ("UTC", ((-1, 10),)),
        ("UTC", ((WEEK_S, WEEK_S + 10),)),
        ("UTC", ((1, WEEK_S + 2),)),
        ("Mars/Olympus", ((0, 10),)),
        ("../etc/passwd", ((0, 10),)),
    ],
)
def test_an_impossible_schedule_is_refused(zone: str, sessions: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"session|week|zone"):
        Schedule(zone, sessions)


def test_an_impossible_holiday_is_refused() -> None:
    with pytest.raises(ValueError, match="no part of a day"):
        Holiday(date(2026, 1, 1), "UTC", 10, 10)


starts = st.integers(0, WEEK_S // 900 - 1).map(lambda quarter: quarter * 900)
sessions_ = st.lists(st.tuples(starts, st.integers(1, 96)), min_size=1, max_size=7).map(
    lambda pairs: tuple((start, start + quarters * 900) for start, quarters in pairs)
)
zones = st.sampled_from([NEW_YORK, "Europe/Prague", "UTC", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"])
instants = st.integers(int(utc("2026-01-01T00:00")), int(utc("2027-12-31T00:00"))).map(float)


@given(zones, sessions_, instants)
def test_open_means_that_the_wall_clock_is_in_a_session(
    zone: str, sessions: tuple[tuple[int, int], ...], now: float
) -> None:
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    around = [datetime.fromtimestamp(now + off, ZoneInfo(zone)).utcoffset() for off in (-8 * D, -D, 0, D, 8 * D)]
    if len(set(around)) > 1:
        return  # near a change some wall-clock seconds come twice or never
    second = (local.weekday() + 1) % 7 * D + local.hour * H + local.minute * 60 + local.second
    expected = any(start <= second < end or start <= second + WEEK_S < end for start, end in sessions)
    assert Schedule(zone, sessions).is_open(now) == expected


@given(zones, sessions_, instants, st.integers(0, 48))
def test_a_break_is_closed_throughout_and_bordered_by_open_market(
    zone: str, sessions: tuple[tuple[int, int], ...], now: float, least_hours: int
) -> None:
    schedule = Schedule(zone, sessions)
    found = schedule.next_break(now, least_hours * H)
    if found is None:
        return
    assert found.end > now
    assert found.length_s >= least_hours * H
    assert not schedule.is_open(found.start)
    assert not schedule.is_open(found.end - 1)
    assert not schedule.is_open((found.start + found.end) / 2)
    if found.length_s < 6 * D:
        assert schedule.is_open(found.start - 1)
        assert schedule.is_open(found.end)


@given(zones, sessions_, instants)
def test_breaks_follow_each_other(zone: str, sessions: tuple[tuple[int, int], ...], now: float) -> None:
    schedule = Schedule(zone, sessions)
    found: list[Break] = []
    for _ in range(4):
        one = schedule.next_break(found[-1].end if found else now)
        if one is None:
            break
        found.append(one)
    assert all(earlier.end <= later.start for earlier, later in pairwise(found))


# Wall-clock windows


@pytest.mark.parametrize(
    ("window", "now", "zone", "expected"),
    [
        ("Mon-Fri 07:00-20:00", "2026-02-06T06:00", "Europe/Prague", True),  # Friday 07:00 there
        ("Mon-Fri 07:00-20:00", "2026-02-06T05:59", "Europe/Prague", False),
        ("Mon-Fri 07:00-20:00", "2026-02-06T19:00", "Europe/Prague", False),  # 20:00 is outside
        ("Mon-Fri 07:00-20:00", "2026-02-07T12:00", "UTC", False),
        ("Mon,Wed 00:00-24:00", "2026-02-04T23:59", "UTC", True),
        ("22:00-02:00", "2026-02-04T01:59", "UTC", True),
        ("22:00-02:00", "2026-02-04T02:00", "UTC", False),
        ("Fri 22:00-02:00", "2026-02-07T01:00", "UTC", True),  # Saturday, begun on Friday
        ("Fri 22:00-02:00", "2026-02-06T01:00", "UTC", False),  # Friday, begun on Thursday
        ("Sat-Sun", "2026-02-08T23:59", "UTC", True),
        ("Sat-Mon", "2026-02-09T12:00", "UTC", True),
        ("Sat-Mon", "2026-02-10T12:00", "UTC", False),
        # 17:00 New York is 22:00 UTC in winter and 21:00 in summer.
        ("16:55-17:10", "2026-02-04T22:00", NEW_YORK, True),
        ("16:55-17:10", "2026-07-01T22:00", NEW_YORK, False),
        ("16:55-17:10", "2026-07-01T21:00", NEW_YORK, True),
        ("2026-12-24T18:00/2026-12-27", "2026-12-26T23:59", "UTC", True),
        ("2026-12-24T18:00/2026-12-27", "2026-12-27T00:00", "UTC", False),
        ("2026-12-24T18:00/2026-12-27", "2026-12-24T17:00", "Europe/Prague", True),
    ],
)
def test_a_window_holds_an_instant(window: str, now: str, zone: str, expected: bool) -> None:
    assert inside(parse_windows((window,)), utc(now), zone) is expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "Monday 07:00-20:00", "Mon-Fri 7-20", "Mon-Fri 07:00-25:00", "07:60-08:00", "08:00-08:00"),
        *("24:00-01:00", "Mon-Tue-Wed", "Xyz", "2026-12-24/2026-12-23", "2026-12-24/then", "07:00-20:00 UTC"),
        "2026-12-24T00:00Z/2026-12-25T00:00Z",
    ],
)
def test_a_window_that_cannot_be_read_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="'") as caught:
        parse_windows((text,))
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "/etc/localtime", "Europe"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        zone_of(name)


# News

NEWS = """\
time,currency,impact,title
2026-11-06T13:30:00Z,USD,high,"Payrolls, revised"
2026-11-05 12:00,GBP,High,Rate decision

2026-11-06T15:00:00+00:00,eur,low,Speech
2026-11-07T08:00Z,ALL,medium,Summit
"""


def test_events_are_read_in_the_order_of_their_times() -> None:
    calendar = parse_news(NEWS)
    assert [(event.time, event.currency, event.impact) for event in calendar.events] == [
        (utc("2026-11-05T12:00"), "GBP", "high"),
        (utc("2026-11-06T13:30"), "USD", "high"),
        (utc("2026-11-06T15:00"), "EUR", "low"),
        (utc("2026-11-07T08:00"), "ALL", "medium"),
    ]
    assert calendar.ends == utc("2026-11-07T08:00")


def test_events_are_found_by_time_currency_and_impact() -> None:
    calendar = parse_news(NEWS)
    start, end = utc("2026-11-06T13:30"), utc("2026-11-07T08:00")
    found = calendar.between(start, end, ("EUR", "USD"), "low")
    assert [event.currency for event in found] == ["USD", "EUR", "ALL"]
    assert [event.currency for event in calendar.between(start, end, ("JPY",), "low")] == ["ALL"]
    assert [event.currency for event in calendar.between(start, end, ("EUR", "USD"), "high")] == ["USD"]
    assert calendar.between(start + 1, end - 1, ("USD",), "low") == []


HEAD = "time,currency,impact\n"
GOOD = "2026-11-06T13:30Z,USD,high\n"


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "line 1, column 'time'", "is missing"),
        ("time,impact\n", "line 1, column 'currency'", "is missing"),
        ("time,currency,impact,time\n", "line 1, column 'time'", "given twice"),
        (HEAD + GOOD + "soon,USD,high\n", "line 3, column 1 (time)", "'soon' is no time"),
        (HEAD + "\n" + "2026-11-06,USD,high\n", "line 3, column 1 (time)", "no time of day"),
        (HEAD + "2026-11-06T13:30+01:00,USD,high\n", "line 2, column 1 (time)", "not in UTC"),
        (HEAD + "2026-11-06T13:30Z,DOLLAR,high\n", "line 2, column 2 (currency)", "'DOLLAR' is no currency"),
        (HEAD + "2026-11-06T13:30Z,USD,huge\n", "line 2, column 3 (impact)", "'huge' is no impact"),
        (HEAD + "2026-11-06T13:30Z,USD,\n", "line 2, column 3 (impact)", "'' is no impact"),
        (HEAD + "2026-11-06T13:30Z,USD\n", "line 2, column 3", "2 columns, not 3"),
        (HEAD + "2026-11-06T13:30Z,USD,high,x\n", "line 2, column 4", "4 columns, not 3"),
        (HEAD + GOOD + '"2026-11-06T13:30Z,USD,high\n', "line 3", "is no CSV"),
    ],
)
def test_a_mistake_in_the_calendar_is_named_by_line_and_column(text: str, place: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_news(text, file="news.csv")
    assert str(caught.value).startswith(f"news.csv: {place}")
    assert what in caught.value.message


def test_a_calendar_without_events_is_refused() -> None:
    with pytest.raises(DataError, match="holds no event"):
        parse_news(HEAD)


@pytest.mark.parametrize(
    ("symbol", "base", "quote", "expected"),
    [
        ("EURUSD", "EUR", "USD", ("EUR", "USD")),
        ("EURUSD.r", "EUR", "USD", ("EUR", "USD")),
        ("XAUUSD", "XAU", "USD", ("XAU", "USD")),
        ("US30", "US30", "USD", ("USD",)),
        ("GER40", "GER40", "EUR", ("EUR",)),
        ("AAPL", "AAPL", "USD", ("USD",)),
        ("VIX", "VIX", "USD", ("USD",)),
        ("BTCUSD", "BTC", "USD", ("USD",)),
        ("ODD", "ODD", "US Dollar", None),
    ],
)
def test_a_symbol_stands_for_its_currencies(symbol: str, base: str, quote: str, expected: object) -> None:
    spec = SymbolSpec(symbol, 5, 10_000_000, 100_000, 100_000, 10_000_000_000, base, quote)
    assert currencies_of(spec) == expected
    assert currencies_of(spec, {symbol: ("CHF",)}) == ("CHF",)
