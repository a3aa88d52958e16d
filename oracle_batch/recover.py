"""What an interrupted run left behind: the journal's tail folded into the books (DESIGN §5). Pure.

An intent with an ack is booked as the ack says. An intent without one is looked up at the broker: found, it is
adopted; absent by proof, it never arrived, and may still be sent, for the decision that the journal holds; neither, and
nothing is done about it until the broker tells. A plan whose legs all have their answer is concluded as the interrupted
run would have done. The rules, numbered, are in docs/exactly-once.md.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import Ack, CloseIntent, Deal, Intent, OpenIntent
from oracle_batch.hands import ledger, proof
from oracle_batch.hands.anchors import LimitPause
from oracle_batch.hands.books import HeldPosition, ModelBooks, Waiting
from oracle_batch.hands.outcome import answers_to, conclude, legs_of
from oracle_batch.hands.plan import ModelPlan, Standing
from oracle_batch.hands.proof import Evidence
from oracle_batch.hands.watch import Upkeep
from oracle_batch.store.records import AckRecord, Close, Event, Fill, Record

NEVER_ARRIVED = "NEVER_ARRIVED"
PLAN = "plan"
DECIDED = "decided"
REVISED = "bar_revised"
DECISION_REVISED = "decision_revised"
POSITION_GIVEN = "position_given"
POSITION_ENDED = "position_ended"
ACCOUNT_PAUSED = "account_paused"
RISK_RESET = "risk_reset"
TORN = "journal_torn"
"""Events that a rerun needs to read back."""


@dataclass(slots=True)
class Recovery:
    """Books after the fold, the acks that had to be asked for, and the plans that got concluded.

    ``revised`` and ``decisions_revised`` name the bars (model, time) whose revision is journalled already;
    ``ended_at`` are the ends (Unix seconds) that a run without the brain has noted. ``ends`` are positions that our own
    closes have ended, by the close's id, with model and symbol, and ``told`` those whose end is journalled already.
    ``pause`` is the account's, because of a limit. ``requests`` and ``entries`` count legs that left and entries that
    were filled; ``opened`` are those entries by model, with the upkeep that was planned. ``unsure`` are legs that
    nobody knows about yet, with their plans' events in ``unsettled``; ``standing`` are decisions, by model, whose legs
    are not all done.
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
    unsure: list[Intent] = field(default_factory=list)
    unsettled: list[Record] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)


def plan_event(plan: ModelPlan, open_legs: Container[str] | None = None) -> Event:
    """What is not in the legs of a plan, for a run that has to finish it; with ``open_legs``, of those only."""
    waiting = plan.waiting
    detail = {
        "bar_time": plan.bar_time,
        "action": plan.action,
        "decision": plan.decision,
        "refusal": plan.refusal,
        "numbers": dict(plan.numbers),
        "upkeep": None if plan.upkeep is None else msgspec.to_builtins(plan.upkeep),
        "waiting": None if waiting is None else {"cause": waiting.cause, "direction": waiting.direction},
        "legs": [leg.intent_id for leg in legs_of(plan) if open_legs is None or leg.intent_id in open_legs],
    }
    return Event(PLAN, plan.model, detail)


def without_torn_answers(tail: Sequence[Record]) -> list[Record]:
    """The tail without answers that may not be on record as a whole: what follows them was torn off.

    Of a batch that a crash has cut short, whole lines stay. An answer is followed by its fills and the end that it
    made, so the last answer before a tear, or at the end of all, is asked for once more.
    """
    kept: list[Record] = []
    last: int | None = None
    for record in (*tail, Event(TORN)):
        if isinstance(record, Event) and record.name == TORN and last is not None:
            del kept[last]
        if isinstance(record, AckRecord) and record.status == "OK":
            last = len(kept)
        elif not isinstance(record, Fill | Close):
            last = None
        kept.append(record)
    return kept[:-1]


def unanswered(tail: Sequence[Record]) -> list[Intent]:
    """Intents without a definite ack, in writing order."""
    open_intents: dict[str, Intent] = {}
    for record in tail:
        if isinstance(record, OpenIntent | CloseIntent):
            open_intents[record.intent_id] = record
        elif isinstance(record, AckRecord) and record.status != "UNKNOWN":
            open_intents.pop(record.intent_id, None)
    return list(open_intents.values())


def held_ids(books: Mapping[str, ModelBooks]) -> frozenset[int]:
    """The positions that the books have."""
    return frozenset(one.position.position_id for one in books.values() if one.position is not None)


def doubtful(books: Mapping[str, ModelBooks], tail: Sequence[Record], seen: Evidence) -> bool:
    """Whether a leg has no answer even from the broker, so that it is worth asking once more, a little later."""
    return any(not isinstance(proof.find(leg, seen, held_ids(books)), Ack) for leg in unanswered(tail))


def recover(books: Mapping[str, ModelBooks], tail: Sequence[Record], seen: Evidence) -> Recovery:
    """Fold the journal's tail into the books; ``seen`` is what the broker shows now."""
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
        finding = proof.find(intent, seen, held_ids(result.books))
        if finding == "unsure":
            result.unsure.append(intent)
            continue
        ack = Ack(intent.intent_id, "FAIL", NEVER_ARRIVED) if finding == "absent" else finding
        assert isinstance(ack, Ack)
        result.found.append((intent, ack))
        book(intent, ack)
    result.unsettled = handed_on(tail, result.unsure)
    _conclude(result, tail, legs, acks)
    for model, _ in _bars(tail, DECISION_REVISED, counted=False):
        before = result.books.get(model, ModelBooks())
        result.books[model] = replace(before, decisions_revised=before.decisions_revised + 1)
    return result


def not_yet_told(records: Sequence[Record], tail: Sequence[Record]) -> list[Record]:
    """Records without the fills and ends that the tail has already."""
    deals = {record.deal.deal_id for record in tail if isinstance(record, Fill)}
    ends = {record.position_id for record in tail if isinstance(record, Close)}
    return [
        record
        for record in records
        if not (isinstance(record, Fill) and record.deal.deal_id in deals)
        and not (isinstance(record, Close) and record.position_id in ends)
    ]


def _conclude(result: Recovery, tail: Sequence[Record], legs: Mapping[str, Intent], acks: Mapping[str, Ack]) -> None:
    """Conclude the newest plan of every model, unless a leg of it is open: then its decision stands."""
    newest = {
        record.model or "": record for record in tail if isinstance(record, Event) and record.name in (PLAN, DECIDED)
    }
    unsure = {leg.intent_id for leg in result.unsure}
    for model, event in newest.items():
        books = result.books.get(model, ModelBooks())
        if event.detail["bar_time"] <= books.last_bar:
            continue
        if event.name == DECIDED:
            result.standing[model] = msgspec.convert(event.detail, Standing)
            continue
        if not all(leg in legs for leg in event.detail["legs"]):
            continue  # its intents were torn off: nothing has left
        plan = _plan(model, event.detail, legs)
        answers = answers_to(plan, acks)
        if any(ack.reason == NEVER_ARRIVED for ack in answers) or any(leg in unsure for leg in event.detail["legs"]):
            result.standing[model] = Standing(plan.bar_time, plan.action, plan.decision in ("OPEN", "CLOSE_OPEN"))
            continue
        result.books[plan.model] = conclude(books, plan, answers)
        result.concluded.append(plan)


def handed_on(tail: Sequence[Record], legs: Sequence[Intent]) -> list[Record]:
    """What the next run has to read again: legs that nobody knows about yet, after the plans they belong to."""
    ids, plans = {leg.intent_id for leg in legs}, list[Record]()
    for plan in tail:
        if isinstance(plan, Event) and plan.name == PLAN:
            open_legs = [leg for leg in plan.detail["legs"] if leg in ids]
            if open_legs:
                plans.append(Event(PLAN, plan.model, {**plan.detail, "legs": open_legs}))
    return [*plans, *legs]


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


def decided(model: str, standing: Standing) -> Event:
    """A decision that is carried out in part, for a run that finishes it."""
    return Event(DECIDED, model, msgspec.to_builtins(standing))


def carried(recovery: Recovery, ended_at: Mapping[str, float]) -> list[Event]:
    """What a run without the brain hands on to the next tick; it stands in the journal after the books' mark.

    Bars whose revision the twins may not have followed yet, when positions ended (Unix seconds), so that signals
    before that end no waiting, and decisions that are carried out in part.
    """
    ended = [Event(POSITION_ENDED, model, {"time": time}) for model, time in sorted(ended_at.items())]
    bars = [(REVISED, model, {"bar_time": bar_time}) for model, bar_time in sorted(recovery.revised)]
    stands = [
        decided(model, one)
        for model, one in sorted(recovery.standing.items())
        if all(leg.model != model for leg in recovery.unsure)
    ]
    decisions = sorted(recovery.decisions_revised)
    counted = [(DECISION_REVISED, model, {"bar_time": bar_time, "counted": True}) for model, bar_time in decisions]
    return [*ended, *stands, *(Event(name, model, detail) for name, model, detail in (*bars, *counted))]


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
