"""What became of a leg without an answer: found, refused, absent by proof, or not known yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from oracle_batch.broker.base import Ack, Deal, OrderState, PlacedOrder, Position
from oracle_batch.hands.proof import CLOCK_SKEW_S, Evidence, find
from tests.hands.test_ledger import CLOSE, OPEN, deal

OURS = Position(8, "EURUSD", 1, 300_000, 1.1005, 1801.0, OPEN.label, "")
OLD = replace(OURS, position_id=7, opened_at=900.0)


def order(state: OrderState, client: str = OPEN.intent_id, *, closing: bool = False, position: int = 8) -> PlacedOrder:
    return PlacedOrder(5, client, state, closing, position)


def seen(
    positions: Sequence[Position] = (), orders: Sequence[PlacedOrder] = (), deals: Sequence[Deal] = ()
) -> Evidence:
    return Evidence(positions, orders, deals)


def test_nothing_anywhere_proves_absence() -> None:
    assert find(OPEN, seen()) == "absent"
    others = seen([replace(OURS, label="")], [order("filled", "somebody")], [deal(closing=False, client="somebody")])
    assert find(OPEN, others) == "absent"


def test_an_entry_is_found_by_its_deals_in_parts() -> None:
    one = replace(deal(8, closing=False, client=OPEN.intent_id), volume_cents=100_000, price=1.1)
    two = replace(one, deal_id=2, volume_cents=200_000, price=1.1003)
    found = find(OPEN, seen([OURS], [order("filled")], [one, two]))
    assert isinstance(found, Ack)
    assert (found.status, found.reason, found.position_id, found.deals) == ("OK", "RECOVERED", 8, (one, two))
    assert found.price == pytest.approx(1.1002)


@pytest.mark.parametrize("deals", [[], [deal(8, closing=False, client=OPEN.intent_id)]])
def test_an_order_that_still_works_is_nothing_to_act_on(deals: list[Deal]) -> None:
    assert find(OPEN, seen([OURS], [order("working")], deals)) == "unsure"


def test_an_order_that_was_filled_without_a_deal_yet_is_waited_for() -> None:
    assert find(OPEN, seen([OURS], [order("filled")])) == "unsure"


def test_a_fill_whose_position_is_neither_listed_nor_ended_is_waited_for() -> None:
    """Else the position would be taken for one that somebody has closed."""
    fill = deal(8, closing=False, client=OPEN.intent_id)
    assert find(OPEN, seen(orders=[order("filled")], deals=[fill])) == "unsure"
    stopped = replace(deal(8, closing=True), deal_id=2)
    found = find(OPEN, seen(orders=[order("filled")], deals=[fill, stopped]))
    assert isinstance(found, Ack)
    assert (found.status, found.deals) == ("OK", (fill,))


def test_a_fill_of_which_others_have_closed_a_part_only_has_not_ended() -> None:
    """Its position is not listed yet, and is open all the same."""
    fill = deal(8, closing=False, client=OPEN.intent_id)
    part = replace(deal(8, closing=True), deal_id=2, volume_cents=fill.volume_cents // 2)
    assert find(OPEN, seen(orders=[order("filled")], deals=[fill, part])) == "unsure"


def test_a_close_that_was_filled_without_a_deal_yet_is_waited_for() -> None:
    """Else it would be sent again, and the end that it made would never be told."""
    held = replace(OLD, position_id=CLOSE.position_id)
    filled = order("filled", "", closing=True, position=CLOSE.position_id)
    assert find(CLOSE, seen([held], [filled])) == "unsure"
    part = replace(deal(CLOSE.position_id, closing=True), order_id=filled.order_id)
    assert find(CLOSE, seen([held], [filled], [part])) == "absent", "a part that others have closed"


@pytest.mark.parametrize("state", ["rejected", "cancelled", "expired"])
def test_an_order_that_came_to_nothing_is_a_refusal(state: OrderState) -> None:
    found = find(OPEN, seen(orders=[order(state)]))
    assert isinstance(found, Ack)
    assert (found.status, found.reason) == ("FAIL", f"ORDER_{state.upper()}")


def test_a_partial_fill_that_was_cancelled_counts_with_what_it_has() -> None:
    part = replace(deal(8, closing=False, client=OPEN.intent_id), volume_cents=100_000)
    found = find(OPEN, seen([OURS], [order("cancelled")], [part]))
    assert isinstance(found, Ack)
    assert (found.status, found.deals) == ("OK", (part,))


def test_a_broker_that_has_forgotten_the_order_still_shows_its_position() -> None:
    found = find(OPEN, seen([OLD, OURS]))
    assert isinstance(found, Ack)
    assert (found.status, found.position_id, found.price) == ("OK", 8, 1.1005)


@pytest.mark.parametrize(
    "other",
    [
        OLD,
        replace(OURS, direction=-1),
        replace(OURS, symbol="GBPUSD"),
        replace(OURS, label="oracle:EURUSD_H1"),
        replace(OURS, opened_at=OPEN.decided_at - CLOCK_SKEW_S - 0.1),
    ],
)
def test_another_position_is_no_trace_of_the_entry(other: Position) -> None:
    assert find(OPEN, seen([other])) == "absent"


def test_a_position_that_the_books_had_before_is_no_trace_of_the_entry() -> None:
    assert find(OPEN, seen([OURS]), frozenset({8})) == "absent"


def test_a_close_is_done_when_its_position_is_gone() -> None:
    closing = deal(closing=True)
    found = find(CLOSE, seen(deals=[deal(9, closing=True), closing]))
    assert isinstance(found, Ack)
    assert (found.status, found.position_id, found.deals) == ("OK", 7, (closing,))
    assert find(CLOSE, seen()) == Ack(CLOSE.intent_id, "OK", "RECOVERED", 7)


def test_a_close_whose_position_is_open_never_arrived_unless_an_order_works_on_it() -> None:
    assert find(CLOSE, seen([OLD])) == "absent"
    assert find(CLOSE, seen([OLD], [order("working", "", closing=True, position=7)])) == "unsure"
    assert find(CLOSE, seen([OLD], [order("working", "", closing=True, position=8)])) == "absent"
    assert find(CLOSE, seen([OLD], [order("rejected", "", closing=True, position=7)])) == "absent"
