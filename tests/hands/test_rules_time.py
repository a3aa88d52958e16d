"""Hours, breaks and news: when entries are refused, closes wait, and positions must be flat."""

from __future__ import annotations

from datetime import datetime

import pytest

from oracle_batch.config.rules import EntryRules
from oracle_batch.hands import rules_time
from oracle_batch.hands.calendar import DAY_S, Schedule
from oracle_batch.hands.news import NewsCalendar, parse_news
from oracle_batch.hands.refusal import Refusal

H = 3600
FOREX = Schedule("America/New_York", ((17 * H + 300, 5 * DAY_S + 17 * H),))
INDEX = Schedule("America/New_York", tuple((d * DAY_S + 18 * H, (d + 1) * DAY_S + 17 * H) for d in range(5)))


def utc(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def code(refusal: Refusal | None) -> str | None:
    return refusal.code if refusal is not None else None


def test_entries_keep_to_hours_and_out_of_blackouts() -> None:
    rules = EntryRules(
        trading_hours=("Mon-Fri 08:00-22:00",), blackout=("16:55-17:10", "Fri 20:00-24:00"), hours_zone="Europe/Prague"
    )
    # Prague is at UTC+1 in February.
    assert code(rules_time.trading_hours(rules, utc("2026-02-05T06:59"))) == "TRADING_HOURS"
    assert rules_time.trading_hours(rules, utc("2026-02-05T07:00")) is None
    assert code(rules_time.trading_hours(rules, utc("2026-02-05T15:55"))) == "BLACKOUT"
    assert rules_time.trading_hours(rules, utc("2026-02-05T16:10")) is None
    assert code(rules_time.trading_hours(rules, utc("2026-02-06T19:00"))) == "BLACKOUT"
    assert code(rules_time.trading_hours(rules, utc("2026-02-07T12:00"))) == "TRADING_HOURS"
    assert rules_time.trading_hours(EntryRules(), utc("2026-02-07T12:00")) is None


# Breaks

BREAKS = EntryRules(no_entry_before_break_min=60, flat_before_break_min=15, min_break_h=2)
CLOSE = utc("2026-02-06T22:00")


def test_no_entry_within_the_hour_before_the_weekend() -> None:
    assert rules_time.break_ahead(BREAKS, FOREX, CLOSE - 3601) is None
    refusal = rules_time.break_ahead(BREAKS, FOREX, CLOSE - 3600)
    # Friday 22:00 to Sunday 22:05 UTC are 48 hours and 5 minutes.
    assert refusal == Refusal("BREAK_AHEAD", {"break_start": CLOSE, "break_h": 48 + 5 / 60, "minutes": 60.0})
    assert code(rules_time.break_ahead(BREAKS, FOREX, CLOSE)) == "MARKET_CLOSED"
    assert rules_time.break_ahead(BREAKS, FOREX, utc("2026-02-08T22:05")) is None


def test_a_short_break_refuses_only_while_it_lasts() -> None:
    tuesday_close = utc("2026-02-03T22:00")
    assert rules_time.break_ahead(BREAKS, INDEX, tuesday_close - 60) is None
    assert code(rules_time.break_ahead(BREAKS, INDEX, tuesday_close + 60)) == "MARKET_CLOSED"


def test_a_break_of_exactly_the_least_length_counts() -> None:
    hour = EntryRules(no_entry_before_break_min=60, min_break_h=1)
    assert code(rules_time.break_ahead(hour, INDEX, utc("2026-02-03T21:30"))) == "BREAK_AHEAD"


def test_positions_are_flat_a_quarter_of_an_hour_before_the_weekend() -> None:
    assert rules_time.flat_before_break(BREAKS, FOREX, CLOSE - 901) is None
    assert code(rules_time.flat_before_break(BREAKS, FOREX, CLOSE - 900)) == "BREAK_AHEAD"
    assert rules_time.flat_before_break(BREAKS, FOREX, CLOSE) is None, "nothing can be closed any more"
    assert rules_time.flat_before_break(BREAKS, INDEX, utc("2026-02-03T21:59")) is None, "a short break"


def test_no_entry_while_positions_are_being_closed_for_a_break() -> None:
    rules = EntryRules(no_entry_before_break_min=5, flat_before_break_min=30)
    assert code(rules_time.break_ahead(rules, FOREX, CLOSE - 1800)) == "BREAK_AHEAD"


def test_the_weekend_of_the_clock_change_begins_an_hour_earlier_in_utc() -> None:
    assert code(rules_time.break_ahead(BREAKS, FOREX, utc("2026-03-13T20:00"))) == "BREAK_AHEAD"
    assert rules_time.break_ahead(BREAKS, FOREX, utc("2026-03-06T20:00")) is None


def test_an_unknown_schedule_refuses_entries_and_closes_nothing() -> None:
    assert code(rules_time.break_ahead(BREAKS, None, CLOSE)) == "UNKNOWN_SCHEDULE"
    assert rules_time.flat_before_break(BREAKS, None, CLOSE) is None
    assert rules_time.break_ahead(EntryRules(), None, CLOSE) is None


# News

EVENT = utc("2026-11-06T13:30")
LAST = utc("2026-11-20T00:00")
TEXT = """\
time,currency,impact
2026-11-06T13:30Z,USD,high
2026-11-06T13:32Z,GBP,high
2026-11-06T18:00Z,USD,medium
2026-11-20T00:00Z,CHF,low
"""
CALENDAR = parse_news(TEXT)
PAIR = ("EUR", "USD")


def rules(mode: str, **changes: float | str) -> EntryRules:
    settings = {"news_mode": mode, "news_before_min": 5, "news_after_min": 3, "news_flat_min": 10} | changes
    return EntryRules(**settings)  # type: ignore[arg-type]


def entry(settings: EntryRules, now: float, currencies: tuple[str, ...] | None = PAIR) -> str | None:
    return code(rules_time.news(settings, CALENDAR, currencies, now))


def test_no_entry_around_news_of_the_symbols_currencies() -> None:
    mode = rules("no_entry")
    assert entry(mode, EVENT - 301) is None
    assert entry(mode, EVENT - 300) == "NEWS"
    assert entry(mode, EVENT + 180) == "NEWS"
    assert entry(mode, EVENT + 181) is None
    assert entry(mode, EVENT, ("EUR", "JPY")) is None
    assert entry(mode, EVENT + 181, ("EUR", "GBP")) == "NEWS"
    assert entry(rules("off"), EVENT) is None


def test_the_refusal_tells_the_event_and_its_end() -> None:
    assert rules_time.news(rules("no_entry"), CALENDAR, PAIR, EVENT) == Refusal(
        "NEWS", {"currency": "USD", "impact": "high", "event": EVENT, "until": EVENT + 180}
    )


def test_medium_news_counts_when_asked() -> None:
    assert entry(rules("no_entry"), utc("2026-11-06T18:00")) is None
    assert entry(rules("no_entry", news_impact="medium"), utc("2026-11-06T18:00")) == "NEWS"


def test_ordinary_closes_wait_under_no_trade_only() -> None:
    waiting = rules_time.close_deferred(rules("no_trade"), CALENDAR, PAIR, EVENT - 60)
    assert waiting is not None
    assert waiting.numbers["until"] == EVENT + 180
    assert rules_time.close_deferred(rules("no_trade"), CALENDAR, PAIR, EVENT + 181) is None
    for mode in ("off", "no_entry", "flat_before"):
        assert rules_time.close_deferred(rules(mode), CALENDAR, PAIR, EVENT) is None
    assert entry(rules("no_trade"), EVENT) == "NEWS"


def test_positions_are_flat_before_news_and_stay_so_until_it_is_over() -> None:
    mode = rules("flat_before")
    assert rules_time.flat_before_news(mode, CALENDAR, PAIR, EVENT - 601) is None
    assert code(rules_time.flat_before_news(mode, CALENDAR, PAIR, EVENT - 600)) == "NEWS"
    assert rules_time.flat_before_news(mode, CALENDAR, PAIR, EVENT + 1) is None
    assert entry(mode, EVENT - 600) == "NEWS"
    assert entry(mode, EVENT + 180) == "NEWS"
    assert rules_time.flat_before_news(rules("no_trade"), CALENDAR, PAIR, EVENT) is None


def test_a_calendar_that_ends_within_seven_days_is_unknown() -> None:
    mode = rules("no_entry")
    week = 7 * 86400
    assert entry(mode, LAST - week) is None
    assert entry(mode, LAST - week + 1) == "NEWS_CALENDAR_ENDS"
    assert entry(rules("off"), LAST) is None


@pytest.mark.parametrize("mode", ["no_entry", "no_trade", "flat_before"])
def test_what_is_unknown_refuses_entries_and_neither_defers_nor_causes_closes(mode: str) -> None:
    settings = rules(mode)
    unknown: list[tuple[NewsCalendar | None, tuple[str, ...] | None, str]] = [
        (None, PAIR, "UNKNOWN_NEWS"),
        (CALENDAR, None, "UNKNOWN_CURRENCIES"),
        (CALENDAR, (), "UNKNOWN_CURRENCIES"),
    ]
    for calendar, currencies, expected in unknown:
        assert code(rules_time.news(settings, calendar, currencies, EVENT)) == expected
        assert rules_time.close_deferred(settings, calendar, currencies, EVENT) is None
        assert rules_time.flat_before_news(settings, calendar, currencies, EVENT) is None
