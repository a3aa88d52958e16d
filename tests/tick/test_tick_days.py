"""The account's day through every change of the clocks, and the week's end, in whole ticks and guards.

In 2026 New York moves on 8 March and 1 November, Prague and Athens on 29 March and 25 October. All instants are UTC and
were taken from the calendar by hand, as were the amounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.hands.anchors import Anchors
from tests.guard.acts import guarded, scheduled
from tests.tick.lab import PRICE, WARM, WORDS, Lab, came_to, shaped
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED, waiting

M15 = 900
PRESETS = Path(__file__).parents[2] / "oracle_batch" / "risk_presets"
NEW_YORK = ["Sun 17:05-Fri 16:59"]


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def play(lab: Lab, first: str, last: str, signals: Mapping[float, str], **entry: float) -> None:
    """Bars that close from one instant to another, and what is said from some closes on."""
    lab.add("EURUSD", "M15", "W", **entry)
    start = int(at(first)) - (WARM + 1) * M15
    count = (int(at(last)) - start) // M15 + 3
    actions = np.zeros(count, np.int64)
    for when, word in signals.items():
        actions[(int(when) - start) // M15 - 1 :] = WORDS[word]
    lab.put(EURUSD, shaped(actions.tolist(), start, M15))


def fall(lab: Lab, when: str, by: float) -> None:
    """The market opens lower by so much from an instant on."""
    bars = lab.bars[EURUSD]
    shift = np.where(bars.time >= at(when), -by, 0.0)
    lab.put(EURUSD, Bars(bars.time, *(getattr(bars, n) + shift for n in ("open", "high", "low", "close")), bars.volume))


def close(lab: Lab, when: str) -> tuple[str | None, str | None, str | None]:
    """The tick one second after the bar that closes at an instant."""
    return came_to(lab.at(at(when) + 1), EURUSD)


def anchors(lab: Lab) -> Anchors:
    found = lab.books().risk.anchors
    assert found is not None
    return found


def own_day(lab: Lab, reset: str, zone: str) -> None:
    """FTMO's file with another day."""
    text = (PRESETS / "ftmo_2step.toml").read_text(encoding="utf-8")
    text = text.replace('reset = "00:00"', f'reset = "{reset}"').replace('"Europe/Prague"', f'"{zone}"')
    (lab.workspace.config / "risk_limits.toml").write_text(text, encoding="utf-8")
    lab.limit(preset="custom", initial_balance=10_000.0)


# the anchors

MIDNIGHT_PRAGUE = {
    "spring": ("2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"),
    "autumn": ("2026-10-23T22:00", "2026-10-24T22:00", "2026-10-25T23:00", "2026-10-26T23:00"),
    "spring in America": ("2026-03-06T23:00", "2026-03-07T23:00", "2026-03-08T23:00", "2026-03-09T23:00"),
    "autumn in America": ("2026-10-30T23:00", "2026-10-31T23:00", "2026-11-01T23:00", "2026-11-02T23:00"),
}
FIVE_NEW_YORK = {
    "spring": ("2026-03-06T22:00", "2026-03-07T22:00", "2026-03-08T21:00", "2026-03-09T21:00"),
    "autumn": ("2026-10-30T21:00", "2026-10-31T21:00", "2026-11-01T22:00", "2026-11-02T22:00"),
    "spring in Europe": ("2026-03-27T21:00", "2026-03-28T21:00", "2026-03-29T21:00", "2026-03-30T21:00"),
    "autumn in Europe": ("2026-10-23T21:00", "2026-10-24T21:00", "2026-10-25T21:00", "2026-10-26T21:00"),
}
MIDNIGHT_SERVER = {
    "spring": ("2026-03-27T22:00", "2026-03-28T22:00", "2026-03-29T21:00", "2026-03-30T21:00"),
    "autumn": ("2026-10-23T21:00", "2026-10-24T21:00", "2026-10-25T22:00", "2026-10-26T22:00"),
}
HALF_PAST_UTC = {
    "spring": ("2026-03-28T00:30", "2026-03-29T00:30", "2026-03-30T00:30"),
    "autumn": ("2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T00:30"),
}
CASES = [
    pytest.param(zone, resets, id=f"{zone} {season}")
    for zone, seasons in {
        "Prague": MIDNIGHT_PRAGUE,
        "New York": FIVE_NEW_YORK,
        "server": MIDNIGHT_SERVER,
        "UTC": HALF_PAST_UTC,
    }.items()
    for season, resets in seasons.items()
]


def choose(lab: Lab, zone: str) -> None:
    if zone == "Prague":
        lab.limit(preset="ftmo_2step", initial_balance=10_000.0)
    elif zone == "New York":
        lab.limit(preset="the5ers_high_stakes", initial_balance=10_000.0)
    else:
        own_day(lab, *(("00:00", "Europe/Athens") if zone == "server" else ("00:30", "UTC")))


@pytest.mark.parametrize(("zone", "resets"), CASES)
def test_the_day_turns_at_the_reset_and_not_a_second_before(lab: Lab, zone: str, resets: tuple[str, ...]) -> None:
    """The tick of the bar that closes at the reset is in the new day already; a guard a second before it is not."""
    choose(lab, zone)
    play(lab, resets[0], resets[-1], {})
    close(lab, resets[0])
    assert anchors(lab).day_start == at(resets[0])
    for before, reset in pairwise(resets):
        lab.at(at(reset) - M15 + 1)
        guarded(lab, at(reset) - 1)
        assert anchors(lab).day_start == at(before)
        close(lab, reset)
        found = anchors(lab)
        assert (found.day_start, found.balance_source, found.equity_source) == (at(reset), "observed", "observed")
    assert [one.detail["time"] for one in lab.events("day_reset")] == [at(reset) + 1 for reset in resets[1:]]


@pytest.mark.parametrize(("zone", "resets"), [case for case in CASES if " in " not in str(case.id)])
def test_the_day_is_measured_from_the_balance_at_its_reset(lab: Lab, zone: str, resets: tuple[str, ...]) -> None:
    """One lot is closed half an hour before each day ends: 11 points lost and 7.00 of commission are 18.00 a day."""
    choose(lab, zone)
    ends = [at(reset) for reset in resets[1:]]
    signals = {end - early: word for end in ends for early, word in ((5400, "L1"), (1800, "W"))}
    play(lab, resets[0], resets[-1], signals, lot_weak=1.0)
    close(lab, resets[0])
    for lost, end in enumerate(ends, start=1):
        assert [came_to(lab.at(end - early + 1), EURUSD)[:2] for early in (5400, 1800, 900)] == [
            ("OPEN", "OK"),
            ("CLOSE", "OK"),
            ("NOOP", None),
        ]
        lab.at(end + 1)
        found = anchors(lab)
        assert (found.day_start, found.day_balance) == (end, 1_000_000 - 1800 * lost)
        assert found.day_equity == found.day_balance


# the pause


@pytest.mark.parametrize(
    ("begin", "hit", "last_in", "reset"),
    [
        ("2026-03-29T00:00", "2026-03-29T02:00", "2026-03-29T21:45", "2026-03-29T22:00"),  # a day of 23 hours
        ("2026-03-28T00:00", "2026-03-28T02:00", "2026-03-28T22:45", "2026-03-28T23:00"),  # the one before has 24
        ("2026-10-25T00:00", "2026-10-25T02:00", "2026-10-25T22:45", "2026-10-25T23:00"),  # 25 hours
        ("2026-10-26T00:00", "2026-10-26T02:00", "2026-10-26T22:45", "2026-10-26T23:00"),
    ],
)
def test_a_daily_pause_ends_with_the_day_however_long_that_is(
    lab: Lab, begin: str, hit: str, last_in: str, reset: str
) -> None:
    """5 % of 10,000 are 500, flat at 450. One lot bought at 1.10009: at 1.09549 it has lost 460.00 and 3.50.

    It is sold two points lower: 462.00 and 7.00 are gone, and the next day starts from 9,531.00.
    """
    lab.limit(preset="ftmo_2step", initial_balance=10_000.0)
    signals = {at(begin) + 3600: "L1", at(last_in): "S1", at(reset): "L1"}
    play(lab, begin, reset, signals, lot_weak=1.0)
    fall(lab, hit, PRICE - 1.09549)
    assert close(lab, begin) == NOOP
    assert came_to(lab.at(at(begin) + 3601), EURUSD) == OPENED
    assert close(lab, hit) == ("CLOSE", "OK", "DAILY_LOSS")
    (paused,) = lab.events("account_paused")
    assert paused.detail["until"] == at(reset)
    assert close(lab, last_in) == ("OPEN", "SKIP", "DAILY_LOSS")
    assert close(lab, reset) == OPENED
    assert (anchors(lab).pause, anchors(lab).day_balance) == (None, 953_100)


# the week's end, on the clock of the market


@pytest.mark.parametrize(
    ("friday", "end", "sunday"),
    [
        ("2026-03-06", "21:59", "2026-03-08T21:05"),  # New York moves over this weekend
        ("2026-03-13", "20:59", "2026-03-15T21:05"),
        ("2026-10-30", "20:59", "2026-11-01T22:05"),  # and back over this one
        ("2026-11-06", "21:59", "2026-11-08T22:05"),
    ],
)
@pytest.mark.parametrize("by_guard", [False, True])
def test_before_the_weekend_entries_end_and_positions_are_closed(
    lab: Lab, friday: str, end: str, sunday: str, by_guard: bool
) -> None:
    """No entry from 60 minutes before the break on, flat from 30: with a break at 21:59, at 20:59 and at 21:29.

    The bar that closes an hour and a quarter before the full hour still enters; the one three quarters before does not
    enter, and half an hour before, 29 minutes of the week are left. The guard sees it a minute earlier.
    """
    scheduled(lab, "America/New_York", NEW_YORK)
    lab.limit(no_entry_before_break_min=60.0, flat_before_break_min=30.0)
    full, opens = at(f"{friday}T{end}") + 60, at(sunday)
    signals = {full - 4500: "L1", full - 2700: "W", full - 1800: "S1", opens + 600: "W", opens + 1500: "L1"}
    if by_guard:
        signals = {full - 4500: "L1", opens + 600: "W", opens + 1500: "L1"}
    play(lab, f"{friday}T12:00", f"{sunday[:10]}T23:59", signals)
    close(lab, f"{friday}T12:00")
    assert came_to(lab.at(full - 4499), EURUSD) == OPENED
    if by_guard:
        assert guarded(lab, full - 60 - 1801).closes == ()
        assert [(one.ack, one.why) for one in guarded(lab, full - 60 - 1800).closes] == [("OK", "BREAK_AHEAD")]
        assert waiting(lab) == ("emergency", 1)
        assert came_to(lab.at(full - 899), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")
    else:
        assert came_to(lab.at(full - 2699), EURUSD) == ("CLOSE", "OK", None)
        assert came_to(lab.at(full - 1799), EURUSD) == ("OPEN", "SKIP", "BREAK_AHEAD")
    assert lab.positions() == []
    assert came_to(lab.at(opens + 601), EURUSD)[0] in ("NOOP", "WAIT_SYNC")
    assert came_to(lab.at(opens + 1501), EURUSD) == OPENED


def test_the_tick_itself_closes_before_the_weekend(lab: Lab) -> None:
    """At 21:30 UTC on a Friday in winter 29 minutes are left, at 21:15 there are 44."""
    scheduled(lab, "America/New_York", NEW_YORK)
    lab.limit(flat_before_break_min=30.0)
    play(lab, "2026-01-16T12:00", "2026-01-16T22:00", {at("2026-01-16T20:00"): "L1"})
    close(lab, "2026-01-16T12:00")
    assert close(lab, "2026-01-16T20:00") == OPENED
    assert close(lab, "2026-01-16T21:15") == NOOP
    assert close(lab, "2026-01-16T21:30") == ("CLOSE", "OK", "BREAK_AHEAD")
    assert close(lab, "2026-01-16T21:45") == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")


def test_a_close_that_meets_a_closed_market_is_made_when_it_opens(lab: Lab) -> None:
    """WAIT comes at 22:00 on Friday, a minute after the market's end; it opens on Sunday at 22:05."""
    scheduled(lab, "America/New_York", NEW_YORK)
    play(lab, "2026-01-16T12:00", "2026-01-18T23:00", {at("2026-01-16T20:00"): "L1", at("2026-01-16T22:00"): "W"})
    close(lab, "2026-01-16T12:00")
    assert close(lab, "2026-01-16T20:00") == OPENED
    assert close(lab, "2026-01-16T22:00") == ("CLOSE", "FAIL", "MARKET_CLOSED")
    assert guarded(lab, at("2026-01-18T22:04")).closes == ()
    assert [(one.ack, one.why) for one in guarded(lab, at("2026-01-18T22:05")).closes] == [("OK", "PENDING_CLOSE")]
