"""Entry rules on the time of day, breaks of the market and news, and what those ask of open positions."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.hours import inside, parse_windows
from oracle_batch.hands.news import NewsCalendar, NewsEvent
from oracle_batch.hands.refusal import Refusal

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules

CALENDAR_AHEAD_S: Final = 7 * 86400
"""A news calendar that does not reach so far ahead is unknown."""


def trading_hours(rules: EntryRules, now: float) -> Refusal | None:
    """Outside the trading hours (none given: always inside), or inside a blackout."""
    if rules.trading_hours and not inside(parse_windows(rules.trading_hours), now, rules.hours_zone):
        return Refusal("TRADING_HOURS", {"now": now, "zone": rules.hours_zone})
    if rules.blackout and inside(parse_windows(rules.blackout), now, rules.hours_zone):
        return Refusal("BLACKOUT", {"now": now, "zone": rules.hours_zone})
    return None


def break_ahead(rules: EntryRules, schedule: Schedule | None, now: float) -> Refusal | None:
    """No entry into a closed market or so soon before a long break, nor while positions are being closed for it."""
    minutes = max(rules.no_entry_before_break_min, rules.flat_before_break_min)
    if not minutes:
        return None
    if schedule is None:
        return Refusal("UNKNOWN_SCHEDULE", {"rule": "no_entry_before_break_min"})
    if not schedule.is_open(now):
        return Refusal("MARKET_CLOSED", {"now": now})
    return _break_within(rules, schedule, now, minutes)


def flat_before_break(rules: EntryRules, schedule: Schedule | None, now: float) -> Refusal | None:
    """Why a symbol's positions must be closed now, before a long break; None while it may hold them.

    An unknown schedule closes nothing: it refuses entries (``break_ahead``). Nor does a market that is closed already.
    """
    if not rules.flat_before_break_min or schedule is None or not schedule.is_open(now):
        return None
    return _break_within(rules, schedule, now, rules.flat_before_break_min)


def _break_within(rules: EntryRules, schedule: Schedule, now: float, minutes: float) -> Refusal | None:
    ahead = schedule.next_break(now, 3600 * rules.min_break_h)
    if ahead is None or ahead.start - now > 60 * minutes:
        return None
    return Refusal(
        "BREAK_AHEAD",
        {"break_start": ahead.start, "break_h": ahead.length_s / 3600, "minutes": (ahead.start - now) / 60},
    )


def news(
    rules: EntryRules, calendar: NewsCalendar | None, currencies: Collection[str] | None, now: float
) -> Refusal | None:
    """No entry around news of the symbol's currencies, nor while positions are being closed for it.

    A calendar that is not there or ends within 7 days is unknown, and so is a symbol without currencies.
    """
    if rules.news_mode == "off":
        return None
    if calendar is None:
        return Refusal("UNKNOWN_NEWS", {"mode": rules.news_mode})
    if not calendar.ends >= now + CALENDAR_AHEAD_S:
        return Refusal("NEWS_CALENDAR_ENDS", {"ends": calendar.ends, "needed": now + CALENDAR_AHEAD_S})
    if not currencies:
        return Refusal("UNKNOWN_CURRENCIES", {"mode": rules.news_mode})
    before = rules.news_before_min
    if rules.news_mode == "flat_before":
        before = max(before, rules.news_flat_min)
    return _news_within(rules, calendar, currencies, now, before, rules.news_after_min)


def close_deferred(
    rules: EntryRules, calendar: NewsCalendar | None, currencies: Collection[str] | None, now: float
) -> Refusal | None:
    """Why an ordinary close waits (``until`` is in the numbers): under ``no_trade``, around news. Never an emergency's.

    What is unknown defers nothing.
    """
    if rules.news_mode != "no_trade" or calendar is None or not currencies:
        return None
    return _news_within(rules, calendar, currencies, now, rules.news_before_min, rules.news_after_min)


def flat_before_news(
    rules: EntryRules, calendar: NewsCalendar | None, currencies: Collection[str] | None, now: float
) -> Refusal | None:
    """Why a symbol's positions must be closed now, under ``flat_before``; None while it may hold them."""
    if rules.news_mode != "flat_before" or calendar is None or not currencies:
        return None
    return _news_within(rules, calendar, currencies, now, max(rules.news_before_min, rules.news_flat_min), 0.0)


def _news_within(
    rules: EntryRules,
    calendar: NewsCalendar,
    currencies: Collection[str],
    now: float,
    before_min: float,
    after_min: float,
) -> Refusal | None:
    near = calendar.between(now - 60 * after_min, now + 60 * before_min, currencies, rules.news_impact)
    if not near:
        return None
    last: NewsEvent = near[-1]
    return Refusal(
        "NEWS",
        {
            "currency": last.currency,
            "impact": last.impact,
            "event": last.time,
            "until": last.time + 60 * rules.news_after_min,
        },
    )
