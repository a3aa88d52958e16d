"""What an interrupted run left behind: the journal's tail folded into the books (DESIGN §5). Pure.

An intent with an ack is booked as the ack says. An intent without one is looked up at the broker: found, it is
adopted; not found, it never arrived, and the sync table decides anew whether it may still be sent. A plan whose legs
all have their answer is concluded as the interrupted run would have done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import Ack, CloseIntent, Deal, Intent, OpenIntent
from oracle_batch.hands import ledger
from oracle_batch.hands.anchors import LimitPause
from oracle_batch.hands.books import HeldPosition, ModelBooks, Waiting
from oracle_batch.hands.outcome import answers_to, conclude, legs_of
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.watch import Upkeep
from oracle_batch.store.records import AckRecord, Close, Event, Fill, Record

NEVER_ARRIVED = "NEVER_ARRIVED"
PLAN = "plan"
REVISED = "bar_revised"
DECISION_REVISED = "decision_revised"
POSITION_GIVEN = "position_given"
POSITION_ENDED = "position_ended"
ACCOUNT_PAUSED = "account_paused"
RISK_RESET = "risk_reset"
"""Events that a rerun needs to read back."""


@dataclass(slots=True)
class Recovery:
    """Books after the fold, the acks that had to be asked for, and the plans that got concluded.

    ``revised`` and ``decisions_revised`` name the bars (model, time) whose revision is journalled already;
    ``ended_at`` are the ends (Unix seconds) that a run without the brain has noted. ``ends`` are positions that our own
    closes have ended, by the close's id, with model and symbol, and ``told`` those whose end is journalled already.
    ``pause`` is the account's, because of a limit. ``requests`` and ``entries`` count legs that left and entries that
    were filled; ``opened`` are those entries by model, with the upkeep that was planned.
    """

    books: dict[str, ModelBooks]
    found: list[tuple[Intent, Ack]] = field(default_factory=list)
    concluded: list[ModelPlan] = field(default_factory=list)
    revised: frozenset[tuple[str, int]] = frozenset()
    decisions_revised: frozenset[tuple[str, int]] = frozenset()
    ended_at: dict[str, float] = field(default_factory=dict)
    ends: dict[str, tuple[str, str, ledger.Ended]] = field(default_factory=dict)
    told: frozenset[int] = frozenset()
    pause: LimitPause | None = None
    requests: int = 0
    entries: int = 0
    opened: dict[str, tuple[OpenIntent, Upkeep | None]] = field(default_factory=dict)


def plan_event(plan: ModelPlan) -> Event:
    """What is not in the legs of a plan, for a run that has to finish it."""
    waiting = plan.waiting
    detail = {
        "bar_time": plan.bar_time,
        "action": plan.action,
        "decision": plan.decision,
        "refusal": plan.refusal,
        "numbers": dict(plan.numbers),
        "upkeep": None if plan.upkeep is None else msgspec.to_builtins(plan.upkeep),
        "waiting": None if waiting is None else {"cause": waiting.cause, "direction": waiting.direction},
        "legs": [leg.intent_id for leg in legs_of(plan)],
    }
    return Event(PLAN, plan.model, detail)


def unanswered(tail: Sequence[Record]) -> list[Intent]:
    """Intents without a definite ack, in writing order."""
    open_intents: dict[str, Intent] = {}
    for record in tail:
        if isinstance(record, OpenIntent | CloseIntent):
            open_intents[record.intent_id] = record
        elif isinstance(record, AckRecord) and record.status != "UNKNOWN":
            open_intents.pop(record.intent_id, None)
    return list(open_intents.values())


def recover(
    books: Mapping[str, ModelBooks], tail: Sequence[Record], open_ids: frozenset[int], deals: Sequence[Deal]
) -> Recovery:
    """Fold the journal's tail into the books; ``open_ids`` and ``deals`` are what the broker shows now."""
    revised = _bars(tail, DECISION_REVISED)
    result = Recovery(dict(books), revised=_bars(tail, REVISED), decisions_revised=revised)
    journalled = [record.deal for record in tail if isinstance(record, Fill)]
    result.told = frozenset(record.position_id for record in tail if isinstance(record, Close))
    legs: dict[str, Intent] = {}
    acks: dict[str, Ack] = {}

    def book(intent: Intent, ack: Ack) -> None:
        acks[intent.intent_id] = ack
        if intent.model and ack.reason != NEVER_ARRIVED:
            before = result.books.get(intent.model, ModelBooks())
            result.books[intent.model] = ledger.after_ack(before, intent, ack)
            if isinstance(intent, CloseIntent) and ack.status == "OK":
                end = ledger.ended_by(before, intent, ack)
                result.ends[intent.intent_id] = (intent.model, intent.symbol, end)
        result.requests += ack.status != "SKIP"
        if isinstance(intent, OpenIntent) and ack.status == "OK":
            result.entries += 1
            result.opened[intent.model] = (intent, kept.get(intent.intent_id))

    kept: dict[str, Upkeep | None] = {}
    for record in tail:
        if isinstance(record, Event) and record.name == PLAN:
            kept |= dict.fromkeys(record.detail["legs"], _upkeep(record.detail))
        if isinstance(record, OpenIntent | CloseIntent):
            legs[record.intent_id] = record
            acks.pop(record.intent_id, None)
        elif isinstance(record, AckRecord) and record.status != "UNKNOWN" and record.intent_id in legs:
            intent = legs[record.intent_id]
            book(intent, record.ack(_deals_of(intent, journalled)))
        elif isinstance(record, Event) and record.name == POSITION_GIVEN and record.model is not None:
            before = result.books.get(record.model, ModelBooks())
            result.books[record.model] = ledger.given(before, msgspec.convert(record.detail, HeldPosition))
        elif isinstance(record, Event) and record.name == POSITION_ENDED and record.model is not None:
            result.ended_at[record.model] = record.detail["time"]
        elif isinstance(record, Event) and record.name == ACCOUNT_PAUSED:
            result.pause = LimitPause(record.detail["limit"], record.detail["since"], record.detail["until"])
        elif isinstance(record, Event) and record.name == RISK_RESET:
            result.pause = None
    for intent in unanswered(tail):
        ack = ledger.resolve(intent, open_ids, deals) or Ack(intent.intent_id, "FAIL", NEVER_ARRIVED)
        result.found.append((intent, ack))
        book(intent, ack)
    _conclude(result, tail, legs, acks)
    for model, _ in _bars(tail, DECISION_REVISED, counted=False):
        before = result.books.get(model, ModelBooks())
        result.books[model] = replace(before, decisions_revised=before.decisions_revised + 1)
    return result


def _conclude(result: Recovery, tail: Sequence[Record], legs: Mapping[str, Intent], acks: Mapping[str, Ack]) -> None:
    """Conclude the newest plan of every model, unless a leg of it never arrived: then it is decided anew."""
    newest = {record.model: record for record in tail if isinstance(record, Event) and record.name == PLAN}
    for model, event in newest.items():
        plan = _plan(model or "", event.detail, legs)
        answers = answers_to(plan, acks)
        books = result.books.get(plan.model, ModelBooks())
        if plan.bar_time <= books.last_bar or any(ack.reason == NEVER_ARRIVED for ack in answers):
            continue
        result.books[plan.model] = conclude(books, plan, answers)
        result.concluded.append(plan)


def _plan(model: str, detail: Mapping[str, Any], legs: Mapping[str, Intent]) -> ModelPlan:
    mine = [legs[leg] for leg in detail["legs"] if leg in legs]
    waiting = detail["waiting"]
    return ModelPlan(
        model,
        detail["bar_time"],
        detail["action"],
        detail["decision"],
        None if waiting is None else Waiting(waiting["cause"], waiting["direction"]),
        next((leg for leg in mine if isinstance(leg, CloseIntent)), None),
        next((leg for leg in mine if isinstance(leg, OpenIntent)), None),
        detail["refusal"],
        numbers=detail.get("numbers", {}),
        upkeep=_upkeep(detail),
    )


def _upkeep(detail: Mapping[str, Any]) -> Upkeep | None:
    given = detail.get("upkeep")
    return None if given is None else msgspec.convert(given, Upkeep)


def carried(recovery: Recovery, ended_at: Mapping[str, float]) -> list[Event]:
    """What a run without the brain hands on to the next tick; it stands in the journal after the books' mark.

    Bars whose revision the twins may not have followed yet, and when positions ended (Unix seconds), so that signals
    before that end no waiting.
    """
    ended = [Event(POSITION_ENDED, model, {"time": time}) for model, time in sorted(ended_at.items())]
    bars = [(REVISED, model, {"bar_time": bar_time}) for model, bar_time in sorted(recovery.revised)]
    decisions = sorted(recovery.decisions_revised)
    counted = [(DECISION_REVISED, model, {"bar_time": bar_time, "counted": True}) for model, bar_time in decisions]
    return [*ended, *(Event(name, model, detail) for name, model, detail in (*bars, *counted))]


def _bars(tail: Sequence[Record], name: str, *, counted: bool | None = None) -> frozenset[tuple[str, int]]:
    """The bars that events of a name speak of; with ``counted``, only those that the books have counted or have not."""
    events = [record for record in tail if isinstance(record, Event) and record.name == name]
    if counted is not None:
        events = [event for event in events if event.detail.get("counted", False) is counted]
    return frozenset((event.model or "", event.detail["bar_time"]) for event in events)


def _deals_of(intent: Intent, deals: Sequence[Deal]) -> tuple[Deal, ...]:
    if isinstance(intent, OpenIntent):
        return tuple(deal for deal in deals if deal.client_order_id == intent.intent_id and not deal.closing)
    return tuple(deal for deal in deals if deal.position_id == intent.position_id and deal.closing)
