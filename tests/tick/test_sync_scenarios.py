"""The sync table of DESIGN §6, row by row, through whole ticks on the paper broker."""

from __future__ import annotations

import pytest

from tests.tick.lab import Lab, came_to

EURUSD = "EURUSD_M15"
LABEL = "oracle:EURUSD_M15"
NOOP = ("NOOP", None, None)
OPENED, CLOSED, TURNED = ("OPEN", "OK", None), ("CLOSE", "OK", None), ("CLOSE_OPEN", "OK", None)
MISSED = ("WAIT_SYNC", "WAIT_SYNC", "MISSED_ENTRY")
STOPPED = ("WAIT_SYNC", "WAIT_SYNC", "STOPPED")
BY_HAND = ("WAIT_SYNC", "WAIT_SYNC", "MANUAL")


def waiting(lab: Lab, name: str = EURUSD) -> tuple[str, int] | None:
    cause = lab.books().models[name].waiting
    return None if cause is None else (cause.cause, cause.direction)


def held(lab: Lab, name: str = EURUSD) -> int:
    """The position id in the books."""
    position = lab.books().models[name].position
    assert position is not None
    return position.position_id


def opened(lab: Lab, script: str, **entry: object) -> None:
    """A model that has opened a LONG_WEAK position on bar 1; ``script`` goes on from there."""
    lab.add("EURUSD", "M15", f"W L1 {script}", **entry)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]


# rows


def test_equal_is_left_alone_flat_or_positioned(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W W L1 L1 L1")
    assert lab.play(EURUSD, 5) == [NOOP, NOOP, OPENED, NOOP, NOOP]
    assert lab.positions() == [(LABEL, 1, 100_000)]
    assert len(lab.deals()) == 1


def test_wait_closes_and_an_edge_opens_again(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W L1 W S3 W")
    assert lab.play(EURUSD, 7) == [NOOP, OPENED, CLOSED, OPENED, CLOSED, OPENED, CLOSED]
    assert lab.positions() == []
    assert [closing for _, closing in lab.deals()] == [False, True] * 3


@pytest.mark.parametrize(
    ("word", "direction", "volume"),
    [("L2", 1, 300_000), ("L3", 1, 500_000), ("S1", -1, 100_000), ("S2", -1, 300_000), ("S3", -1, 500_000)],
)
def test_a_change_of_direction_or_intensity_is_two_legs_in_one_tick(
    lab: Lab, word: str, direction: int, volume: int
) -> None:
    opened(lab, word)
    assert came_to(lab.tick(2), EURUSD) == TURNED
    assert lab.positions() == [(LABEL, direction, volume)]
    bar = lab.time(EURUSD, 2)
    assert lab.deals()[1:] == [(f"ob-{EURUSD}-{bar}-0", True), (f"ob-{EURUSD}-{bar}-1", False)]


def test_another_wish_without_an_edge_closes_and_waits_for_the_next_edge(lab: Lab) -> None:
    """The edge to S1 fell into an outage, so the newest bar repeats S1 while L1 is still held."""
    opened(lab, "S1 S1 S1 S2")
    assert came_to(lab.tick(3), EURUSD) == CLOSED
    assert lab.positions() == []
    assert waiting(lab) == ("missed", -1)
    assert came_to(lab.tick(4), EURUSD) == MISSED
    assert came_to(lab.tick(5), EURUSD) == OPENED
    assert lab.positions() == [(LABEL, -1, 300_000)]


def test_a_missed_entry_stays_missed_and_ends_at_any_edge(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 L1 L2")
    lab.tick(0)
    assert came_to(lab.tick(1, late=61), EURUSD) == ("OPEN", "SKIP", "LATE")
    assert came_to(lab.tick(2), EURUSD) == MISSED
    assert came_to(lab.tick(3), EURUSD) == MISSED
    assert came_to(lab.tick(4), EURUSD) == OPENED
    assert lab.positions() == [(LABEL, 1, 300_000)]


# causes that stick


def test_stopped_out_position_is_not_reentered_before_the_next_edge(lab: Lab) -> None:
    opened(lab, "L1 L2 L3 L1 S1")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert came_to(lab.tick(2), EURUSD) == STOPPED
    assert lab.positions() == []
    assert waiting(lab) == ("stopped", 1)
    assert lab.losses(EURUSD) == 1
    assert [one.wire.rpartition("|")[2] for one in lab.journal() if type(one).__name__ == "Close"] == ["SL"]


def test_a_change_of_intensity_is_no_new_move_after_a_stop(lab: Lab) -> None:
    opened(lab, "L1 L2 L3 L1")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert lab.play(EURUSD, 6, first=2) == [STOPPED] * 4
    assert len(lab.deals()) == 2


def test_the_opposite_direction_is_a_new_move_after_a_stop(lab: Lab) -> None:
    opened(lab, "L1 L2 S1")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert lab.play(EURUSD, 5, first=2) == [STOPPED, STOPPED, OPENED]
    assert lab.positions() == [(LABEL, -1, 100_000)]
    assert waiting(lab) is None


def test_wait_ends_a_stop_and_the_same_direction_may_enter_again(lab: Lab) -> None:
    opened(lab, "L1 W L1")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert lab.play(EURUSD, 5, first=2) == [STOPPED, NOOP, OPENED]


def test_a_missed_opposite_edge_ends_a_stop_too(lab: Lab) -> None:
    opened(lab, "L1 S1 L1")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert came_to(lab.tick(2), EURUSD) == STOPPED
    assert came_to(lab.tick(3, late=300), EURUSD) == ("OPEN", "SKIP", "LATE")
    assert came_to(lab.tick(4), EURUSD) == OPENED


def test_a_wait_that_fell_into_an_outage_ends_a_stop_too(lab: Lab) -> None:
    """Every bar that the brain consumes counts (§6), those it replays silently as well."""
    opened(lab, "L1 W L1 L2")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 2, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert came_to(lab.tick(2), EURUSD) == STOPPED
    assert came_to(lab.tick(5), EURUSD) == OPENED
    assert lab.positions() == [(LABEL, 1, 300_000)]


def test_a_stop_that_came_after_the_silent_wait_still_sticks(lab: Lab) -> None:
    opened(lab, "W L1 L1 L2")
    lab.protect(held(lab), 1.0999)
    lab.change(EURUSD, 4, low=1.0998, high=1.1010, close=1.0998 + 0.0012 / 6, open=1.1)
    assert came_to(lab.tick(5), EURUSD) == STOPPED
    assert lab.positions() == []


def test_a_target_that_was_reached_waits_like_a_stop(lab: Lab) -> None:
    opened(lab, "L1 L2")
    lab.protect(held(lab), None, 1.1008)
    lab.change(EURUSD, 2, low=1.1, high=1.1012, close=1.1 + 0.0012 / 6)
    assert lab.play(EURUSD, 4, first=2) == [STOPPED, STOPPED]
    assert lab.losses(EURUSD) == 0


def test_a_position_closed_by_hand_is_left_closed(lab: Lab) -> None:
    opened(lab, "L1 L2 W L1")
    lab.close_by_hand(held(lab))
    assert lab.play(EURUSD, 6, first=2) == [BY_HAND, BY_HAND, NOOP, OPENED]


# first signal


@pytest.mark.parametrize(("rule", "expected"), [("wait", MISSED), ("enter", OPENED)])
def test_a_first_live_bar_that_is_no_edge_waits_or_enters(lab: Lab, rule: str, expected: tuple[str, ...]) -> None:
    lab.rule(first_signal=rule)
    lab.add("EURUSD", "M15", "L1 L1 L1")
    assert came_to(lab.tick(1), EURUSD) == expected


@pytest.mark.parametrize("rule", ["wait", "enter"])
def test_a_first_live_bar_that_is_an_edge_opens_under_both_rules(lab: Lab, rule: str) -> None:
    lab.rule(first_signal=rule)
    lab.add("EURUSD", "M15", "W L1")
    assert came_to(lab.tick(1), EURUSD) == OPENED


def test_enter_is_for_the_first_live_bar_only(lab: Lab) -> None:
    lab.rule(first_signal="enter")
    lab.add("EURUSD", "M15", "L1 L1 L1 L1", enabled=False)
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", "DISABLED")
    lab.trade("EURUSD")
    assert came_to(lab.tick(2), EURUSD) == MISSED


# same volume


def test_the_same_volume_keeps_the_position_and_relabels_it(lab: Lab) -> None:
    opened(lab, "L2 L2 L3 W", lot_moderate=0.019)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "OK", "SAME_VOLUME")
    assert len(lab.deals()) == 1
    position = lab.books().models[EURUSD].position
    assert position is not None
    assert (position.intensity, position.relabelled) == (2, True)
    assert came_to(lab.tick(3), EURUSD) == NOOP, "the books know the real intensity, the comment is out of date"
    assert came_to(lab.tick(4), EURUSD) == TURNED
    assert came_to(lab.tick(5), EURUSD) == CLOSED


def test_the_same_volume_is_reopened_where_the_twin_is_mirrored(lab: Lab) -> None:
    lab.rule(same_volume="reopen")
    opened(lab, "L2", lot_moderate=0.019)
    assert came_to(lab.tick(2), EURUSD) == TURNED
    assert len(lab.deals()) == 3


def test_the_same_volume_in_the_other_direction_is_a_reversal(lab: Lab) -> None:
    opened(lab, "S1")
    assert came_to(lab.tick(2), EURUSD) == TURNED


# several models on one symbol


@pytest.mark.parametrize(
    ("rule", "second"), [("independent", OPENED), ("no_opposite", ("OPEN", "SKIP", "OPPOSITE_SAME_SYMBOL"))]
)
def test_the_later_opposite_entry_on_one_symbol(lab: Lab, rule: str, second: tuple[str, ...]) -> None:
    lab.rule(same_symbol=rule)
    lab.add("EURUSD", "M15", "W L1 L1 L1 L1 L1 L1 L1")
    lab.add("EURUSD", "H1", "W S1")
    lab.play(EURUSD, 7)
    report = lab.tick(7)
    assert came_to(report, EURUSD) == NOOP
    assert came_to(report, "EURUSD_H1") == second


def test_opposite_entries_of_one_tick_are_judged_by_priority(lab: Lab) -> None:
    lab.rule(same_symbol="no_opposite")
    lab.add("EURUSD", "M15", "W L1")
    lab.add("EURUSD", "M5", "W W W W W S1")
    lab.trade("EURUSD_M15", priority=2)
    lab.trade("EURUSD_M5", priority=1)
    lab.tick(0)
    report = lab.tick(1)
    assert came_to(report, "EURUSD_M5") == OPENED
    assert came_to(report, "EURUSD_M15") == ("OPEN", "SKIP", "OPPOSITE_SAME_SYMBOL")


def test_an_unconfirmed_close_frees_nothing(lab: Lab) -> None:
    """M5 leaves its long position in the same burst; M15's short entry still counts it."""
    lab.rule(same_symbol="no_opposite")
    lab.add("EURUSD", "M15", "W S1")
    lab.add("EURUSD", "M5", "W W W L1 L1 W")
    lab.tick(0)
    lab.tick(3, timeframe="M5")
    report = lab.tick(1)
    assert came_to(report, "EURUSD_M5") == CLOSED
    assert came_to(report, "EURUSD_M15") == ("OPEN", "SKIP", "OPPOSITE_SAME_SYMBOL")
