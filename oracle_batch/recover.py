"""What an interrupted run left behind: the journal's tail folded into the books (DESIGN §5). Pure.

An intent with an ack is booked as the ack says. An intent without one is looked up at the broker: found, it is
adopted; not found, it never arrived, and the sync table decides anew whether it may still be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, CloseIntent, Deal, Intent, OpenIntent
from oracle_batch.hands import ledger
from oracle_batch.hands.books import ModelBooks
from oracle_batch.store.records import AckRecord, Fill, Record

NEVER_ARRIVED = "NEVER_ARRIVED"


@dataclass(slots=True)
class Recovery:
    """Books after the fold, and the acks that had to be asked for."""

    books: dict[str, ModelBooks]
    found: list[tuple[Intent, Ack]] = field(default_factory=list)


def unanswered(tail: Sequence[Record]) -> list[Intent]:
    """Intents without a definite ack, in writing order."""
    open_intents: dict[str, Intent] = {}
    for record in tail:
        if isinstance(record, OpenIntent | CloseIntent):
            open_intents[record.intent_id] = record
        elif isinstance(record, AckRecord) and record.status != "UNKNOWN":
            open_intents.pop(record.intent_id, None)
    return list(open_intents.values())


def bar_of(intent: Intent) -> int:
    """The bar an intent belongs to, from ``ob-{model}-{bar_time}-{n}``."""
    return int(intent.intent_id.split("-")[-2])


def recover(
    books: Mapping[str, ModelBooks], tail: Sequence[Record], open_ids: frozenset[int], deals: Sequence[Deal]
) -> Recovery:
    """Fold the journal's tail into the books; ``open_ids`` and ``deals`` are what the broker shows now."""
    result = Recovery(dict(books))
    journalled = [record.deal for record in tail if isinstance(record, Fill)]
    pending: dict[str, Intent] = {}
    unsent: set[tuple[str, int]] = set()
    touched: dict[str, int] = {}

    def book(intent: Intent, ack: Ack) -> None:
        before = result.books.get(intent.model, ModelBooks())
        arrived = ack.reason != NEVER_ARRIVED
        result.books[intent.model] = ledger.after_ack(before, intent, ack) if arrived else before
        touched[intent.model] = max(bar_of(intent), touched.get(intent.model, 0))
        (unsent.discard if arrived else unsent.add)((intent.model, bar_of(intent)))

    for record in tail:
        if isinstance(record, OpenIntent | CloseIntent):
            pending[record.intent_id] = record
        elif isinstance(record, AckRecord) and record.status != "UNKNOWN" and record.intent_id in pending:
            intent = pending.pop(record.intent_id)
            book(intent, record.ack(_deals_of(intent, journalled)))
    for intent in pending.values():
        ack = ledger.resolve(intent, open_ids, deals) or Ack(intent.intent_id, "FAIL", NEVER_ARRIVED)
        result.found.append((intent, ack))
        book(intent, ack)
    for model, bar_time in touched.items():
        if (model, bar_time) not in unsent and bar_time > result.books[model].last_bar:
            result.books[model] = replace(result.books[model], last_bar=bar_time)
    return result


def _deals_of(intent: Intent, deals: Sequence[Deal]) -> tuple[Deal, ...]:
    if isinstance(intent, OpenIntent):
        return tuple(deal for deal in deals if deal.client_order_id == intent.intent_id and not deal.closing)
    return tuple(deal for deal in deals if deal.position_id == intent.position_id and deal.closing)
