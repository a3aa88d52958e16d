"""Bugs that lives have to catch: each patches the program in one place, as a wrong program would be written there.

The missing fsync of an intent shows only where the power is cut: `tests/chaos/planted.py` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace

from oracle_batch import planning
from oracle_batch.desk import Desk, answers, recovery
from oracle_batch.errors import StateError
from oracle_batch.hands import ledger, proof
from oracle_batch.hands.outcome import legs_of
from oracle_batch.recover import plan_event
from oracle_batch.store import journal as journal_module
from oracle_batch.store.records import AckRecord
from tests.stateful.truth import BrokenError, LostError, TwiceError


class Bug(NamedTuple):
    """How it is planted, the life that meets it, what that life then breaks with, and the signals it is lived on."""

    plant: Callable[[pytest.MonkeyPatch], None]
    life: str
    breaks: type[Exception]
    seed: int = 11


def resend_on_timeout(patch: pytest.MonkeyPatch) -> None:
    """Silence is taken for failure."""
    patch.setattr(proof, "find", lambda *_: "absent")


def state_before_ack(patch: pytest.MonkeyPatch) -> None:
    """The books say that they hold everything as soon as the intents are written."""
    real = Desk.journal_intents

    def early(self: Desk) -> None:
        real(self)
        self.executor = replace(self.executor, journal=self.journal.append([]))
        self.commit()

    patch.setattr(Desk, "journal_intents", early)


def ack_not_journalled(patch: pytest.MonkeyPatch) -> None:
    """The books have the answer, the journal has not."""
    real = answers.ack_records

    def silent(*arguments: Any) -> list[Any]:
        return [one for one in real(*arguments) if not isinstance(one, AckRecord)]

    for room in (answers, recovery):
        patch.setattr(room, "ack_records", silent)


def grace_skipped(patch: pytest.MonkeyPatch) -> None:
    """The first look that shows nothing counts as proof."""
    patch.setattr(recovery, "doubtful", lambda *_: False)


def decision_revised(patch: pytest.MonkeyPatch) -> None:
    """A rerun decides anew though the intent of another decision is in the journal."""
    patch.setattr(planning, "_decision", lambda _, one: (one.action, one.action != one.before.last_action))


def torn_line_accepted(patch: pytest.MonkeyPatch) -> None:
    """A last line that is not whole is left where it is."""
    patch.setattr(journal_module, "_is_torn", lambda _: False)


def mark_too_early(patch: pytest.MonkeyPatch) -> None:
    """The mark is set behind the legs that nobody has answered."""

    def behind(self: Desk) -> None:
        unknown = [leg for leg in self.intents if self.acks[leg.intent_id].status == "UNKNOWN"]
        ids = {leg.intent_id for leg in unknown}
        plans = [plan_event(one) for one in self.plans if any(leg.intent_id in ids for leg in legs_of(one))]
        mark = self.journal.append([*self.before_send, *self.after_send, *self.recovery.unsettled, *plans, *unknown])
        self.executor = replace(self.executor, journal=mark)

    patch.setattr(Desk, "journal_acks", behind)


def part_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What others have closed a part of has made only what our close of the rest has."""
    patch.setattr(ledger, "closes_in_parts", lambda *_: False)


def torn_batch_counts(patch: pytest.MonkeyPatch) -> None:
    """Of a batch that was cut short, an answer counts though its fills and its end were cut off."""
    patch.setattr(recovery, "without_torn_answers", list)


def position_behind_taken_for_gone(patch: pytest.MonkeyPatch) -> None:
    """A fill whose position is not listed yet is taken for one that has ended."""
    patch.setattr(proof, "_seen_through", lambda *_: True)


BUGS: Final = {
    "resend_on_timeout": Bug(resend_on_timeout, "nothing answers, orders listed as working", TwiceError),
    "state_before_ack": Bug(state_before_ack, "runs die", BrokenError),
    "ack_not_journalled": Bug(ack_not_journalled, "runs die", BrokenError),
    "grace_skipped": Bug(grace_skipped, "nothing answers, orders unseen at first", LostError),
    "decision_revised": Bug(decision_revised, "bars are revised", TwiceError, seed=3),
    "torn_line_accepted": Bug(torn_line_accepted, "writes are torn", StateError),
    "mark_too_early": Bug(mark_too_early, "nothing answers, orders listed as working", TwiceError),
    "part_forgotten": Bug(part_forgotten, "parts are closed", LostError),
    "position_behind_taken_for_gone": Bug(
        position_behind_taken_for_gone, "nothing answers, orders unseen at first", LostError
    ),
    "torn_batch_counts": Bug(torn_batch_counts, "writes are torn", LostError),
}
