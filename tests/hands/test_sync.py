"""The sync table, exhaustively, against the rows of DESIGN §6 written down a second time."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from oracle_batch.hands.books import WaitCause, Waiting
from oracle_batch.hands.sync import REASON, STICKY, Verdict, decide, is_sticky, outlasted
from oracle_batch.types import ACTIONS

REALS = [(0, 0), *((direction, intensity) for direction in (1, -1) for intensity in (1, 2, 3))]
CAUSES: tuple[WaitCause, ...] = get_args(WaitCause)
WAITINGS = [None, *(Waiting(cause, direction) for cause in CAUSES for direction in (-1, 0, 1))]


def by_the_table(real: tuple[int, int], desired: tuple[int, int], edge: bool, waiting: Waiting | None) -> str:
    """The rows, with the exception for causes that stick."""
    flat = real[0] == 0
    if real == desired:
        return "NOOP"
    if not flat and desired[0] == 0:
        return "CLOSE"
    if not flat:
        return "CLOSE_OPEN" if edge else "CLOSE"
    blocked = (
        waiting is not None
        and waiting.cause in ("stopped", "manual", "operator", "emergency")
        and desired[0] == waiting.direction
    )
    return "OPEN" if edge and not blocked else "WAIT_SYNC"


@pytest.mark.parametrize("real", REALS)
def test_every_row_for_every_cause(real: tuple[int, int]) -> None:
    for action, edge, waiting in product(ACTIONS, (True, False), WAITINGS):
        desired = (action.direction, action.intensity)
        verdict = decide(*real, action, edge=edge, waiting=waiting)
        assert verdict.decision == by_the_table(real, desired, edge, waiting), (action, edge, waiting)
        ends_flat = verdict.decision in ("CLOSE", "WAIT_SYNC") and action.direction
        assert (verdict.waiting is not None) == bool(ends_flat), "whoever is flat against a wish has a cause"


@pytest.mark.parametrize("waiting", WAITINGS)
def test_a_cause_sticks_or_becomes_missed(waiting: Waiting | None) -> None:
    for action in ACTIONS[1:]:
        verdict = decide(0, 0, action, edge=False, waiting=waiting)
        sticks = waiting is not None and waiting.cause in STICKY and waiting.direction == action.direction
        assert verdict == Verdict("WAIT_SYNC", waiting if sticks else Waiting("missed", action.direction))
        assert is_sticky(waiting, action.direction) == sticks
    assert decide(0, 0, ACTIONS[0], edge=False, waiting=waiting) == Verdict("NOOP", None), "WAIT ends every cause"


@pytest.mark.parametrize("waiting", WAITINGS)
@pytest.mark.parametrize("edge", [True, False])
def test_entering_the_first_signal_opens_without_an_edge_and_past_no_cause(waiting: Waiting | None, edge: bool) -> None:
    for action in ACTIONS[1:]:
        plain = decide(0, 0, action, edge=edge, waiting=waiting)
        first = decide(0, 0, action, edge=edge, waiting=waiting, enter_first=True)
        assert first == (Verdict("OPEN", None) if waiting is None else plain)


def test_entering_the_first_signal_changes_nothing_while_a_position_is_open() -> None:
    for real, action, edge in product(REALS[1:], ACTIONS, (True, False)):
        assert decide(*real, action, edge=edge, waiting=None) == decide(
            *real, action, edge=edge, waiting=None, enter_first=True
        )


def test_every_cause_has_a_reason_code() -> None:
    assert set(REASON) == set(CAUSES)
    assert all(code.isupper() for code in REASON.values())
    assert set(CAUSES) - STICKY == {"missed"}


@pytest.mark.parametrize(
    ("silent", "ends"), [([], False), ([1], False), ([1, 3, 2], False), ([0], True), ([1, 4], True), ([5, 1], True)]
)
def test_bars_consumed_silently_end_a_cause_as_live_ones_would(silent: list[int], ends: bool) -> None:
    stopped, missed = Waiting("stopped", 1), Waiting("missed", 1)
    assert outlasted(stopped, silent) == (None if ends else stopped)
    assert outlasted(missed, silent) == missed
    assert outlasted(None, silent) is None
