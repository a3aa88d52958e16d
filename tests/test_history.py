"""Arithmetic on bar histories: what has closed, and what an official answer changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.bars import FIELDS, Bars, empty
from oracle_batch.closes import newest_closed
from oracle_batch.errors import BarError
from oracle_batch.history import OVERLAP_BARS, may_have_closed, merge
from oracle_batch.types import STORED_BARS, TIMEFRAME_SECONDS, WINDOW

DAY = 1_704_672_000


def bars(*slots: int, base: float = 1.0) -> Bars:
    """M15 bars at the given slots; the price tells the slot."""
    times = np.array([DAY + 900 * slot for slot in slots], np.int64)
    price = base + np.array(slots, np.float64) / 1000
    return Bars(times, price, price + 0.1, price - 0.1, price, np.ones(len(slots)))


def slots(found: Bars) -> list[int]:
    return ((found.time - DAY) // 900).tolist()


def changed(source: Bars, slot: int, field: str = "close") -> Bars:
    columns = {name: getattr(source, name).copy() for name in FIELDS}
    columns[field][slots(source).index(slot)] += 0.01
    return Bars(**columns)


@pytest.mark.parametrize("timeframe", TIMEFRAME_SECONDS)
def test_a_bar_has_closed_at_its_close_and_not_before(timeframe: str) -> None:
    seconds = TIMEFRAME_SECONDS[timeframe]
    assert newest_closed(timeframe, DAY + seconds) == DAY
    assert newest_closed(timeframe, DAY + seconds - 0.001) == DAY - seconds


@pytest.mark.parametrize(("timeframe", "early"), [("M15", 0), ("H1", 0), ("H4", 3600), ("D1", 3600)])
def test_a_long_bar_may_close_an_hour_early_or_off_the_utc_grid(timeframe: str, early: int) -> None:
    due = DAY + 2 * TIMEFRAME_SECONDS[timeframe] - early
    assert may_have_closed(timeframe, DAY, due)
    assert not may_have_closed(timeframe, DAY, due - 1)
    assert may_have_closed(timeframe, 0, DAY)


def test_the_overlap_is_all_that_a_decision_looks_at() -> None:
    assert OVERLAP_BARS == WINDOW


def test_newer_bars_are_added_and_nothing_is_revised() -> None:
    found = merge(bars(1, 2, 3), bars(2, 3, 4, 5), "EURUSD", "M15")
    assert slots(found.bars) == [1, 2, 3, 4, 5]
    assert found.revised == ()


@pytest.mark.parametrize("field", FIELDS[1:])
def test_a_bar_that_differs_in_any_field_is_replaced_and_named(field: str) -> None:
    official = changed(bars(2, 3, 4), 3, field)
    found = merge(bars(1, 2, 3), official, "EURUSD", "M15")
    assert found.revised == (DAY + 2700,)
    assert found.bars[1:].equals(official)


def test_a_late_bar_is_put_into_its_place_and_a_lost_one_taken_out() -> None:
    assert merge(bars(1, 2, 4, 5), bars(2, 3, 4, 5, 6), "EURUSD", "M15").revised == (DAY + 2700,)
    found = merge(bars(1, 2, 3, 4, 5), bars(2, 4, 5, 6), "EURUSD", "M15")
    assert found.revised == (DAY + 2700,)
    assert slots(found.bars) == [1, 2, 4, 5, 6]


def test_an_answer_that_ends_early_takes_nothing_away() -> None:
    found = merge(bars(1, 2, 3, 4, 5), bars(2, 3, 4), "EURUSD", "M15")
    assert (slots(found.bars), found.revised) == ([1, 2, 3, 4, 5], ())


def test_no_answer_and_no_window_are_no_news() -> None:
    assert merge(bars(1, 2), empty(), "EURUSD", "M15").bars.equals(bars(1, 2))
    assert merge(empty(), bars(1, 2), "EURUSD", "M15").bars.equals(bars(1, 2))


def test_a_gap_between_window_and_answer_is_legal() -> None:
    found = merge(bars(1, 2), bars(9, 10), "EURUSD", "M15")
    assert (slots(found.bars), found.revised) == ([1, 2, 9, 10], ())


def test_another_scale_is_refused_and_says_where_it_begins() -> None:
    with pytest.raises(BarError, match=r"5 of 5 stored bars differ.*another scale or feed") as refusal:
        merge(bars(1, 2, 3, 4, 5), bars(1, 2, 3, 4, 5, 6, base=100.0), "EURUSD", "M15")
    assert str(DAY + 900) in str(refusal.value)
    assert "oracle-batch warmup EURUSD" in str(refusal.value)


def test_a_shifted_grid_is_refused() -> None:
    with pytest.raises(BarError, match="a shifted grid"):
        merge(bars(2, 4, 6, 8), bars(1, 3, 5, 7, 9), "EURUSD", "H4")


def test_a_window_keeps_its_newest_thousand_bars() -> None:
    found = merge(bars(*range(STORED_BARS)), bars(*range(STORED_BARS - 5, STORED_BARS + 7)), "EURUSD", "M15")
    assert len(found.bars) == STORED_BARS
    assert slots(found.bars)[0] == 7


@given(stored=st.sets(st.integers(0, 60), min_size=1), official=st.sets(st.integers(0, 60), min_size=1), data=st.data())
def test_within_its_span_the_official_answer_is_what_counts(
    stored: set[int], official: set[int], data: st.DataObject
) -> None:
    """Whatever both hold: the merged window is the official bars, and outside of them the stored ones."""
    answer = bars(*sorted(official))
    common = sorted(stored & official)
    for slot in data.draw(st.lists(st.sampled_from(common), max_size=len(common) // 2)) if common else ():
        answer = changed(answer, slot)
    first, last = min(official), max(official)
    try:
        found = merge(bars(*sorted(stored)), answer, "EURUSD", "M15")
    except BarError:
        inside = {slot for slot in stored if first <= slot <= last}
        assert inside
        assert not common
        return
    expected = official | {slot for slot in stored if not first <= slot <= last}
    assert slots(found.bars) == sorted(expected)
    assert found.bars[np.isin(found.bars.time, answer.time)].equals(answer)
    old = {slot: row for row, slot in enumerate(sorted(stored))}
    closes = bars(*sorted(stored)).close
    for slot in (when - DAY for when in found.revised):
        slot //= 900
        replaced = slot in old and slot in official and closes[old[slot]] != answer.close[slots(answer).index(slot)]
        assert replaced or (slot in stored) != (slot in official)
