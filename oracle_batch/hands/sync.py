"""The sync table: what the broker holds against what the brain wants (DESIGN §6).

An edge is a signal that differs from the previous bar's. Only an edge opens; a wish that was missed stays missed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from oracle_batch.hands.books import Decision, WaitCause, Waiting
from oracle_batch.types import ACTIONS, Action

STICKY: frozenset[WaitCause] = frozenset({"stopped", "manual", "operator", "emergency"})
"""Causes that end only at WAIT or at the opposite direction: a change of intensity is not a new move."""

REASON: dict[WaitCause, str] = {
    "missed": "MISSED_ENTRY",
    "stopped": "STOPPED",
    "manual": "MANUAL",
    "operator": "OPERATOR",
    "emergency": "EMERGENCY",
}
"""The stable reason code of each waiting cause."""


def is_sticky(waiting: Waiting | None, direction: int) -> bool:
    """Whether a cause keeps a model from entering in this direction even on an edge."""
    return waiting is not None and waiting.cause in STICKY and waiting.direction == direction


def outlasted(waiting: Waiting | None, silent: Iterable[int]) -> Waiting | None:
    """What is left of a cause after bars that the brain consumed without the hands; ``silent`` are their actions.

    >>> outlasted(Waiting("stopped", 1), [1, 2]), outlasted(Waiting("stopped", 1), [1, 0, 1])
    (Waiting(cause='stopped', direction=1), None)
    """
    if waiting is None or all(is_sticky(waiting, ACTIONS[action].direction) for action in silent):
        return waiting
    return None if waiting.cause in STICKY else waiting


class Verdict(msgspec.Struct, frozen=True):
    """What to do, and what the model waits for afterwards if everything goes as wished."""

    decision: Decision
    waiting: Waiting | None


def decide(
    real_direction: int,
    real_intensity: int,
    desired: Action,
    *,
    edge: bool,
    waiting: Waiting | None,
    enter_first: bool = False,
) -> Verdict:
    """One row of the sync table.

    ``enter_first``: this is the model's first live bar and the operator wants it entered although it is no edge.

    >>> decide(0, 0, ACTIONS[1], edge=True, waiting=None).decision
    'OPEN'
    >>> decide(0, 0, ACTIONS[1], edge=False, waiting=None)
    Verdict(decision='WAIT_SYNC', waiting=Waiting(cause='missed', direction=1))
    """
    if (real_direction, real_intensity) == (desired.direction, desired.intensity):
        return Verdict("NOOP", None)
    if real_direction:
        if not desired.direction:
            return Verdict("CLOSE", None)
        if edge:
            return Verdict("CLOSE_OPEN", None)
        return Verdict("CLOSE", Waiting("missed", desired.direction))
    if is_sticky(waiting, desired.direction):
        return Verdict("WAIT_SYNC", waiting)
    if edge or (enter_first and waiting is None):
        return Verdict("OPEN", None)
    return Verdict("WAIT_SYNC", Waiting("missed", desired.direction))
