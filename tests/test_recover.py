"""The journal's tail folded into the books: what was answered, what has to be asked, what never arrived (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oracle_batch.broker.base import Ack, CloseIntent, Deal, OpenIntent, PlacedOrder, Position
from oracle_batch.hands.books import ModelBooks, Waiting
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.proof import Evidence
from oracle_batch.recover import NEVER_ARRIVED, plan_event, recover, unanswered
from oracle_batch.store.records import AckRecord, Event, Fill, Record
from tests.hands.test_ledger import CLOSE, FILLED, HELD, MODEL, OPEN, deal

HERE = Position(7, "EURUSD", 1, 300_000, 1.1, 1801.0, "oracle:EURUSD_M15", "")
OTHER = replace(HERE, position_id=9, label="")


def seen(*positions: Position, deals: Sequence[Deal] = (), orders: Sequence[PlacedOrder] = ()) -> Evidence:
    return Evidence(positions, orders, deals)


def tail(*records: Record | tuple[OpenIntent | CloseIntent, Ack]) -> list[Record]:
    found: list[Record] = []
    for one in records:
        if isinstance(one, tuple):
            leg, ack = one
            found += [AckRecord.of(ack, leg.model, ""), *(Fill(leg.model, each) for each in ack.deals)]
        else:
            found.append(one)
    return found


def test_a_tail_with_all_answers_is_folded_without_asking() -> None:
    plan = ModelPlan(MODEL, 900, 2, "OPEN", None, None, OPEN)
    found = recover({}, tail(plan_event(plan), OPEN, (OPEN, FILLED)), seen(HERE))
    assert found.found == []
    assert found.concluded == [plan]
    books = found.books[MODEL]
    assert (books.last_bar, books.position and books.position.position_id) == (900, 7)


def test_an_entry_without_an_answer_is_looked_up_by_its_client_id() -> None:
    plan = ModelPlan(MODEL, 900, 2, "OPEN", None, None, OPEN)
    deals = [deal(9, closing=False, client="somebody"), deal(closing=False, client=OPEN.intent_id)]
    found = recover({}, tail(plan_event(plan), OPEN), seen(HERE, OTHER, deals=deals))
    ((leg, ack),) = found.found
    assert (leg, ack.status, ack.reason, ack.position_id) == (OPEN, "OK", "RECOVERED", 7)


def test_an_entry_that_the_broker_never_saw_leaves_the_bar_open() -> None:
    plan = ModelPlan(MODEL, 900, 2, "OPEN", None, None, OPEN)
    found = recover({}, tail(plan_event(plan), OPEN), seen())
    assert found.found[0][1].reason == NEVER_ARRIVED
    assert found.books.get(MODEL, ModelBooks()) == ModelBooks()
    assert found.concluded == []


def test_a_close_is_done_when_its_position_is_gone_and_else_never_arrived() -> None:
    plan = ModelPlan(MODEL, 900, 0, "CLOSE", None, CLOSE)
    books = {MODEL: ModelBooks(position=HELD, last_bar=0)}
    gone = recover(books, tail(plan_event(plan), CLOSE), seen(deals=[deal(closing=True, profit=-3.0)]))
    assert gone.books[MODEL].position is None
    assert [(model, end.net < 0) for model, _, end in gone.ends.values()] == [(MODEL, True)]
    assert gone.books[MODEL].last_bar == 900
    there = recover(books, tail(plan_event(plan), CLOSE), seen(HERE))
    assert there.books == books


def test_of_two_attempts_the_later_one_counts() -> None:
    plan = ModelPlan(MODEL, 900, 2, "OPEN", None, None, OPEN)
    lost = Ack(OPEN.intent_id, "FAIL", NEVER_ARRIVED)
    records = tail(plan_event(plan), OPEN, (OPEN, lost), plan_event(plan), OPEN)
    filled = recover({}, records, seen(HERE, deals=[deal(closing=False, client=OPEN.intent_id)]))
    assert filled.books[MODEL].position is not None
    again = recover({}, records, seen())
    assert [ack.reason for _, ack in again.found] == [NEVER_ARRIVED]
    assert again.concluded == []


def test_an_emergency_close_is_no_decision_on_a_bar() -> None:
    leg = replace(CLOSE, intent_id="ob-EURUSD_M15-99999-2", cause="emergency")
    found = recover({MODEL: ModelBooks(position=HELD, last_bar=900)}, tail(leg), seen(deals=[deal(closing=True)]))
    assert found.books[MODEL].last_bar == 900
    assert found.books[MODEL].waiting == Waiting("emergency", 1)


def test_an_older_plan_does_not_undo_a_newer_bar() -> None:
    plan = ModelPlan(MODEL, 900, 2, "OPEN", None, None, OPEN)
    skipped = Ack(OPEN.intent_id, "SKIP", "LATE")
    found = recover({MODEL: ModelBooks(last_bar=1800)}, tail(plan_event(plan), OPEN, (OPEN, skipped)), seen())
    assert found.books[MODEL].last_bar == 1800
    assert found.concluded == []


def test_a_refused_entry_beside_a_confirmed_close_is_concluded_with_its_refusal() -> None:
    plan = ModelPlan(MODEL, 900, 5, "CLOSE_OPEN", Waiting("missed", -1), CLOSE, None, "PAUSED")
    done = Ack(CLOSE.intent_id, "OK", None, 7, 1.1, 0.0, (deal(closing=True),))
    found = recover({MODEL: ModelBooks(position=HELD)}, tail(plan_event(plan), CLOSE, (CLOSE, done)), seen())
    books = found.books[MODEL]
    assert (books.position, books.waiting, books.last_bar) == (None, Waiting("missed", -1), 900)
    assert books.last is not None
    assert (books.last.decision, books.last.ack, books.last.reason) == ("CLOSE_OPEN", "SKIP", "PAUSED")


def test_an_unknown_ack_is_no_answer() -> None:
    unknown = Ack(OPEN.intent_id, "UNKNOWN", "NO_ANSWER")
    assert unanswered(tail(OPEN, (OPEN, unknown), CLOSE)) == [OPEN, CLOSE]
    assert unanswered(tail(OPEN, (OPEN, unknown), (OPEN, FILLED), CLOSE)) == [CLOSE]


def test_revisions_on_record_are_counted_once_however_often_they_were_written() -> None:
    event = Event("decision_revised", MODEL, {"bar_time": 900})
    other = Event("decision_revised", MODEL, {"bar_time": 1800})
    found = recover({MODEL: ModelBooks(decisions_revised=4)}, [event, event, other], seen())
    assert found.books[MODEL].decisions_revised == 6
    assert found.decisions_revised == {(MODEL, 900), (MODEL, 1800)}
    assert recover({}, [Event("bar_revised", MODEL, {"bar_time": 900})], seen()).revised == {(MODEL, 900)}
