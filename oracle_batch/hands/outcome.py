"""What a plan came to, once its legs are answered: the word for the operator and the books for the next run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, Intent
from oracle_batch.hands import sync
from oracle_batch.hands.books import AckWord, LastOutcome, ModelBooks, Waiting
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.types import ACTIONS

WORST_FIRST: tuple[AckWord, ...] = ("UNKNOWN", "FAIL", "SKIP", "WAIT_SYNC", "OK")
"""A reversal reports its worse leg, of two alike ones the opening."""


def legs_of(plan: ModelPlan) -> list[Intent]:
    """The legs of a plan, the closing one first."""
    return [leg for leg in (plan.close, plan.entry) if leg is not None]


def answers_to(plan: ModelPlan, acks: Mapping[str, Ack]) -> list[Ack]:
    """The acks that the legs of a plan have got, in their order."""
    return [acks[leg.intent_id] for leg in legs_of(plan) if leg.intent_id in acks]


def answer(plan: ModelPlan, acks: Sequence[Ack]) -> tuple[AckWord | None, str | None]:
    """The ack word and the reason code of a whole plan; both None where there was nothing to do."""
    answers: list[tuple[AckWord, str | None]] = [(ack.status, ack.reason) for ack in acks]
    if plan.refusal is not None:
        answers.append(("SKIP", plan.refusal))
    if plan.decision == "WAIT_SYNC" and plan.waiting is not None:
        answers.append(("WAIT_SYNC", sync.REASON[plan.waiting.cause]))
    if plan.relabel is not None:
        answers.append(("OK", "SAME_VOLUME"))
    return min(reversed(answers), key=lambda one: WORST_FIRST.index(one[0]), default=(None, None))


def conclude(books: ModelBooks, plan: ModelPlan, acks: Sequence[Ack]) -> ModelBooks:
    """The books after a plan; those of its single legs (``ledger.after_ack``) are already in them.

    ``acks`` answer the legs in their order. With an unknown outcome the bar stays open: the next run asks.
    """
    word, reason = answer(plan, acks)
    numbers = dict(plan.numbers) if reason == plan.refusal else {}
    last = LastOutcome(plan.bar_time, ACTIONS[plan.action].name, plan.decision, word, reason, None, numbers)
    books = replace(books, last=last)
    if any(ack.status == "UNKNOWN" for ack in acks):
        return books
    books = replace(books, last_bar=plan.bar_time)
    if plan.entry is None and (plan.close is None or acks[0].status == "OK"):
        books = replace(books, waiting=_waiting(books, plan))
    if plan.relabel is not None and books.position is not None:
        held = replace(books.position, intensity=plan.relabel, relabelled=True)
        books = replace(books, position=held, waiting=None)
    if plan.close is None and books.pending_close is not None and books.pending_close.cause == "signal":
        books = replace(books, pending_close=None)
    return books if plan.pending is None else replace(books, pending_close=plan.pending)


def _waiting(books: ModelBooks, plan: ModelPlan) -> Waiting | None:
    """What a model without an entry waits for. A stop that was quicker than our close keeps its own cause."""
    if plan.close is not None and sync.is_sticky(books.waiting, ACTIONS[plan.action].direction):
        return books.waiting
    return plan.waiting
