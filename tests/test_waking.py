"""When ticks and guards are woken: ahead of each distinct close, each minute in between, and hardly at weekends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.market_hours import nothing_closes
from oracle_batch.scheduler import GUARD_CLEARANCE_S
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS
from oracle_batch.waking import GUARD_SECOND, Fires, Waking

SOME = st.sets(st.sampled_from(sorted(TIMEFRAME_SECONDS)), min_size=1)
INSTANTS = st.floats(0, 4e9) | st.integers(0, 4_000_000).map(lambda steps: float(steps * 900 + 1))
LEADS = st.sampled_from([0.0, 1.0, 20.0, 30.0, 300.0])


def waking(arm_s: float, home: Path = Path("nowhere")) -> Waking:
    return Waking(Workspace(home), arm_s)


@given(SOME, INSTANTS, LEADS)
def test_a_fire_is_a_lead_before_a_close_and_none_is_left_out(timeframes: set[str], after: float, arm_s: float) -> None:
    when = waking(arm_s)
    lead = when.lead(timeframes)
    fire = when.next_tick(timeframes, after)
    steps = {min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes}
    assert fire > after
    assert any((fire + lead) % step == 0 for step in steps)
    nearest = [(int((after + lead) // step) + more) * step - lead for step in steps for more in (0, 1, 2)]
    assert fire == min(close for close in nearest if close > after)


@given(SOME, INSTANTS, LEADS)
def test_fires_are_distinct_and_in_order(timeframes: set[str], after: float, arm_s: float) -> None:
    when = waking(arm_s)
    first = when.next_tick(timeframes, after)
    second = when.next_tick(timeframes, first)
    assert second - first == min(min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes)


@given(SOME, st.integers(0, 60_000_000), LEADS)
def test_a_guard_has_time_between_two_ticks(timeframes: set[str], minute: int, arm_s: float) -> None:
    when = waking(min(arm_s, 30.0))
    start = 60.0 * minute + GUARD_SECOND
    assert when.next_tick(timeframes, start) - start >= GUARD_CLEARANCE_S + 5
    since = start - when.next_tick(timeframes, start - 60 - when.lead(timeframes)) - when.lead(timeframes)
    assert since >= 19 or since < 0, "the close before it is not closer than that"


def test_a_close_of_several_timeframes_fires_once(tmp_path: Path) -> None:
    assert fires(tmp_path, 20.0, "07:59:00", 6, "EURUSD_M15", "EURUSD_H1", "GBPUSD_H1", "US500.cash_H4") == [
        "07:59:40", "08:14:40", "08:29:40", "08:44:40", "08:59:40", "09:14:40",
    ]  # fmt: skip


def test_without_a_lead_a_tick_starts_a_second_after_the_close(tmp_path: Path) -> None:
    assert fires(tmp_path, 0.0, "07:59:00", 2, "EURUSD_M15") == ["08:00:01", "08:15:01"]


def test_slow_grids_are_looked_at_every_hour(tmp_path: Path) -> None:
    assert fires(tmp_path, 20.0, "07:59:50", 2, "EURUSD_D1") == ["08:59:40", "09:59:40"]


def fires(home: Path, arm_s: float, start: str, count: int, *names: str) -> list[str]:
    """The next fire times, as a scheduler asks for them."""
    when = waking(arm_s, workspace(home, *names).home)
    trigger, now = Fires(lambda after: when.next_tick(when.timeframes(), after)), at(start)
    found: list[datetime] = []
    for _ in range(count):
        found.append(trigger.get_next_fire_time(found[-1] if found else None, now))
        now = max(now, found[-1])
    return [f"{one.astimezone(UTC):%H:%M:%S}" for one in found]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-07-24T{text}+00:00")


def workspace(home: Path, *names: str) -> Workspace:
    """A home with bundles by name; nobody reads them here."""
    found = Workspace(home)
    found.ensure()
    for name in names:
        found.bundle_path(name).touch()
    return found


def test_a_late_wakeup_skips_what_is_past(tmp_path: Path) -> None:
    when = waking(20.0, workspace(tmp_path, "EURUSD_M15").home)
    trigger = Fires(lambda after: when.next_tick({"M15"}, after))
    assert trigger.get_next_fire_time(at("07:59:40"), at("09:07:00")) == at("09:14:40")
    assert trigger.get_next_fire_time(at("07:59:40"), at("07:59:39.5")) == at("08:14:40"), "a clock that was set back"


def test_guards_come_each_minute_and_what_is_past_is_skipped(tmp_path: Path) -> None:
    trigger = Fires(waking(20.0, workspace(tmp_path, "EURUSD_M15").home).next_guard)
    found = [trigger.get_next_fire_time(None, at("07:59:00"))]
    for _ in range(3):
        found.append(trigger.get_next_fire_time(found[-1], found[-1]))
    assert [f"{one:%H:%M:%S}" for one in found] == ["07:59:20", "08:00:20", "08:01:20", "08:02:20"]
    assert trigger.get_next_fire_time(at("08:00:20"), at("08:07:20.5")) == at("08:08:20")


SATURDAY = 1784980800.0  # 2026-07-25 12:00Z
FOREX = {"zone": "America/New_York", "sessions": [[61500, 493140]], "holidays": []}


def closed(home: Path, told_at: float, *names: str) -> Workspace:
    """A home whose markets are known to be closed at the weekend."""
    found = workspace(home, *names)
    found.market_hours.write_text(
        json.dumps({"schema": 1, "told_at": told_at, "models": {name: [FOREX] for name in names}})
    )
    return found


def test_at_the_weekend_nothing_is_woken_but_a_guard_before_each_full_hour(tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15", "GBPUSD_M15").home
    when = waking(20.0, home)
    assert when.next_tick({"M15"}, SATURDAY) > SATURDAY + 20 * 3600
    guards = [when.next_guard(SATURDAY)]
    for _ in range(2):
        guards.append(when.next_guard(guards[-1]))
    assert [one % 3600 for one in guards] == [59 * 60 + GUARD_SECOND] * 3
    assert [later - one for one, later in pairwise(guards)] == [3600, 3600]


def test_a_model_that_comes_at_the_weekend_is_woken_for_until_its_hours_are_known(tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15").home
    workspace(home, "BTCUSD_M15")
    assert waking(20.0, home).next_tick({"M15"}, SATURDAY) == SATURDAY + 880


@pytest.mark.parametrize(("seconds", "idle"), [(0.0, True), (270.0, True), (90000.0, False)])
def test_a_tick_that_would_wait_for_a_close_at_the_weekend_does_not(seconds: float, idle: bool, tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15")
    assert nothing_closes(home, SATURDAY + 620 + seconds, 300.0) is idle
    assert not nothing_closes(home, SATURDAY + seconds, 300.0), "the next close is not near: it acts on the last one"
