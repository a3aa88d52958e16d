"""When holidays begin and end, on the wall clock of their zone."""

from __future__ import annotations

from oracle_batch.clock import parse_instant
from oracle_batch.market.holidays import holiday_edges, on_holiday
from oracle_batch.market.schedules import parse_schedule

SCHEDULE = parse_schedule(
    "America/New_York", ["Sun 17:00-Fri 17:00"], ["12-25", "2026-07-03 13:00-24:00", "2024-02-29"]
)


def test_a_yearly_holiday_lasts_a_day_of_its_zone() -> None:
    assert not on_holiday(SCHEDULE, parse_instant("2025-12-25T04:59:59Z"))
    assert on_holiday(SCHEDULE, parse_instant("2025-12-25T05:00:00Z"))
    assert on_holiday(SCHEDULE, parse_instant("2026-12-26T04:59:59Z"))
    assert not on_holiday(SCHEDULE, parse_instant("2026-12-26T05:00:00Z"))
    assert not on_holiday(None, parse_instant("2026-12-25T12:00:00Z"))


def test_edges_come_in_order_and_each_but_once() -> None:
    start, end = parse_instant("2026-07-01T00:00:00Z"), parse_instant("2027-01-01T00:00:00Z")
    named = ["2026-07-03T17:00:00Z", "2026-07-04T04:00:00Z", "2026-12-25T05:00:00Z", "2026-12-26T05:00:00Z"]
    edges = [parse_instant(text) for text in named]
    assert holiday_edges(SCHEDULE, start, end) == edges
    assert holiday_edges(SCHEDULE, edges[0], edges[1]) == edges[1:2]
    assert holiday_edges(None, start, end) == []


def test_a_leap_day_is_one_holiday() -> None:
    yearly = parse_schedule("UTC", ["Mon 00:00-Sun 00:00"], ["02-29"])
    start, end = parse_instant("2023-01-01T00:00:00Z"), parse_instant("2025-01-01T00:00:00Z")
    assert holiday_edges(yearly, start, end) == [
        parse_instant("2024-02-29T00:00:00Z"), parse_instant("2024-03-01T00:00:00Z")
    ]  # fmt: skip
