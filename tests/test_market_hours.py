"""Which closes need no run: those before which, by the schedules that the last run heard, nothing can have traded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch import market_hours
from oracle_batch.errors import BrokerError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.market.schedules import parse_schedule
from oracle_batch.market_hours import LINGER_S, MAX_AGE_S, MarketHours, next_close_to_wake_for
from oracle_batch.types import TIMEFRAME_SECONDS

FOREX = parse_schedule("America/New_York", ["Sun 17:05-Fri 16:59"])
SHARES = parse_schedule("America/New_York", [f"{day} 09:30-{day} 16:00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")])
FRIDAY_CLOSE = 1784926740  # 2026-07-24 20:59Z
SUNDAY_OPEN = 1785099900  # 2026-07-26 21:05Z
HOUR = 3600


def hours(told_at: float, *kept: tuple[str, Schedule]) -> MarketHours:
    return MarketHours(told_at, frozenset(kept))


@pytest.mark.parametrize(
    ("timeframe", "after_the_end", "needed"),
    [("M15", 900, True), ("M15", 7200, False), ("H1", 3600, True), ("H1", 3 * HOUR, False), ("D1", 20 * HOUR, True)],
)
def test_a_close_soon_after_the_weekend_began_is_still_looked_at(
    timeframe: str, after_the_end: int, needed: bool
) -> None:
    close = (FRIDAY_CLOSE + 60 + after_the_end) // 900 * 900
    assert hours(close - HOUR, (timeframe, FOREX)).may_have_traded(close) is needed


def test_the_first_bar_after_the_weekend_is_woken_for() -> None:
    found = hours(SUNDAY_OPEN - HOUR, ("M15", FOREX))
    assert next_close_to_wake_for({"M15"}, SUNDAY_OPEN - 2000, found) == SUNDAY_OPEN + 600


def test_one_open_market_is_enough() -> None:
    close = FRIDAY_CLOSE // 900 * 900
    both = hours(close - HOUR, ("M15", SHARES), ("M15", FOREX))
    assert both.may_have_traded(close)
    assert not hours(close - HOUR, ("M15", SHARES)).may_have_traded(close + 2 * HOUR)


def test_hours_that_are_a_day_old_close_nothing() -> None:
    saturday = FRIDAY_CLOSE + 60 + 12 * HOUR
    assert not hours(saturday - HOUR, ("M15", FOREX)).may_have_traded(saturday // 900 * 900)
    assert hours(saturday - MAX_AGE_S - HOUR, ("M15", FOREX)).may_have_traded(saturday // 900 * 900)
    assert hours(saturday + HOUR, ("M15", FOREX)).may_have_traded(saturday // 900 * 900), "a clock that was set back"


def test_a_sleep_over_the_weekend_ends_when_the_hours_are_a_day_old() -> None:
    told_at = float(FRIDAY_CLOSE - 100)
    woken = next_close_to_wake_for({"M1", "H1"}, FRIDAY_CLOSE + 3 * HOUR, hours(told_at, ("M1", FOREX), ("H1", FOREX)))
    assert 0 < woken - (told_at + MAX_AGE_S) <= 60


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(sorted(TIMEFRAME_SECONDS)), min_size=1, max_size=3, unique=True),
    st.sampled_from([FOREX, SHARES]),
    st.integers(0, 14 * 24 * 60),
    st.integers(0, 24 * 60),
)
def test_no_bar_with_a_price_in_it_is_left_out(
    timeframes: list[str], schedule: Schedule, minute: int, age_min: int
) -> None:
    start = FRIDAY_CLOSE - 3 * 86400 + 60 * minute
    found = hours(start - 60 * age_min, *((one, schedule) for one in timeframes))
    woken = next_close_to_wake_for(timeframes, start, found)
    close = market_hours.next_close(timeframes, start)
    while close < woken:
        for one in timeframes:
            if close % min(TIMEFRAME_SECONDS[one], 3600) == 0:
                opened = range(close - TIMEFRAME_SECONDS[one], close, min(TIMEFRAME_SECONDS[one], 1800))
                assert not any(schedule.is_open(instant) for instant in opened)
        close = market_hours.next_close(timeframes, close)


def test_guards_watch_until_an_hour_after_the_end_and_from_moments_before_the_start() -> None:
    found = hours(FRIDAY_CLOSE, ("M15", FOREX))
    assert found.may_trade(FRIDAY_CLOSE + LINGER_S - 1)
    assert not found.may_trade(FRIDAY_CLOSE + LINGER_S + 1)
    late = hours(SUNDAY_OPEN - HOUR, ("M15", FOREX))
    assert not late.may_trade(SUNDAY_OPEN - 300)
    assert late.may_trade(SUNDAY_OPEN - 60)


# the file


@dataclass
class Broker:
    """Says what it is told to say."""

    known: Mapping[str, Schedule]
    silent: bool = False

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        if self.silent:
            raise BrokerError("no answer")
        return {name: self.known[name] for name in names if name in self.known}


@dataclass
class Named:
    broker_symbol: str


@dataclass
class Desk:
    """As much of a desk as the hours ask for."""

    broker: Broker
    models: Mapping[str, Named]


MODELS = {"EURUSD_M15": Named("EURUSD"), "SPY_H1": Named("SPY.US")}
BOTH = {"EURUSD": FOREX, "SPY.US": SHARES}


def keep(path: Path, now: float, *brokers: Broker) -> None:
    desks: Any = [Desk(broker, MODELS) for broker in brokers]
    asyncio.run(market_hours.keep(path, desks, now))


def test_what_the_brokers_say_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "hours.json"
    keep(path, 1000.0, Broker(BOTH))
    assert market_hours.load(path, MODELS) == hours(1000.0, ("M15", FOREX), ("H1", SHARES))
    assert [one.name for one in tmp_path.iterdir()] == ["hours.json"]


def test_a_market_counts_as_closed_only_where_every_account_says_so(tmp_path: Path) -> None:
    path = tmp_path / "hours.json"
    keep(path, 1000.0, Broker(BOTH), Broker({"EURUSD": SHARES, "SPY.US": SHARES}))
    assert market_hours.load(path, MODELS) == hours(1000.0, ("M15", FOREX), ("M15", SHARES), ("H1", SHARES))
    keep(path, 1001.0, Broker(BOTH), Broker({"SPY.US": SHARES}))
    assert market_hours.load(path, MODELS) is None, "the second account does not tell of one symbol"


def test_a_model_that_nobody_knows_the_hours_of_keeps_everything_open(tmp_path: Path) -> None:
    path = tmp_path / "hours.json"
    keep(path, 1000.0, Broker({"EURUSD": FOREX}))
    assert market_hours.load(path, ["EURUSD_M15"]) is not None
    assert market_hours.load(path, MODELS) is None
    assert market_hours.load(path, [*MODELS, "GBPUSD_M15"]) is None, "a bundle that came since"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"schema":9,"told_at":1,"models":{}}'])
def test_a_file_that_cannot_be_read_keeps_everything_open(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hours.json"
    path.write_bytes(data)
    assert market_hours.load(path, ["EURUSD_M15"]) is None
    keep(path, 1000.0, Broker(BOTH))
    assert market_hours.load(path, MODELS) is not None


def test_what_has_not_changed_is_written_a_few_times_a_day(tmp_path: Path) -> None:
    path = tmp_path / "hours.json"
    for now in (1000.0, 1900.0, 1000.0 + market_hours.REFRESH_S):
        keep(path, now, Broker(BOTH))
        found = market_hours.load(path, MODELS)
        assert found is not None
        assert found.told_at == (1000.0 if now < 2000 else now)


def test_a_broker_that_does_not_answer_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hours.json"
    keep(path, 1000.0, Broker(BOTH))
    before = path.read_bytes()
    keep(path, 9e9, Broker(BOTH, silent=True))
    assert path.read_bytes() == before
    keep(tmp_path / "nowhere" / "hours.json", 1000.0, Broker(BOTH))
