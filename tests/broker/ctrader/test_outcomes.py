"""One leg, whatever is said about it: in any order, any number of times."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import AmendIntent, Deal
from oracle_batch.broker.ctrader.outcomes import Leg
from oracle_batch.broker.ctrader.refusals import action_of, meaning_of
from oracle_batch.broker.ctrader.translate import OrderView, Report
from tests.broker.ctrader.lab import LOT, entry, exit_of

VOLUME = LOT // 10
POSITION = 77


def order(state: str, executed: int, *, closing: bool = False, client: str = "") -> OrderView:
    position = POSITION if closing else 0
    view: Any = state
    return OrderView(5, client, "", view, executed, position, closing, False, False, None, None, 0.0)


def deal(number: int, volume: int, *, closing: bool = False, price: float = 1.1) -> Deal:
    return Deal(number, 5, "", POSITION, "", "#1", -1 if closing else 1, volume, price, 0.0, closing, "order", 1.0, 0.5)


def story(parts: list[int], end: str, *, closing: bool) -> list[Report]:
    """What a broker tells of an order that is filled in parts and then ends."""
    client = "" if closing else entry().intent_id
    told, done = [Report("accepted", order=order("accepted", 0, closing=closing, client=client), order_id=5)], 0
    for number, part in enumerate(parts):
        done += part
        last = number == len(parts) - 1 and end == "filled"
        kind: Any = "filled" if last else "partial"
        gone = done >= VOLUME
        view = order("filled" if last else "accepted", done, closing=closing, client=client)
        fill = deal(number, part, closing=closing)
        told.append(Report(kind, "", view, fill, 5, POSITION, not gone if closing else True))
    if end != "filled":
        final: Any = end
        view = order(end, done, closing=closing, client=client)
        told.append(Report(final, "CODE" if end == "rejected" else "", view, None, 5, POSITION if closing else 0, None))
    return told


def split(total: int, cuts: list[int]) -> list[int]:
    """A volume in parts."""
    edges = sorted({0, total, *(cut % total for cut in cuts)})
    return [right - left for left, right in pairwise(edges)]


def tell(leg: Leg, reports: list[Report], seed: int, *, shuffled: bool) -> None:
    """Every report once or more, in order or not."""
    dice = random.Random(seed)
    told = [one for one in reports for _ in range(dice.randint(1, 3))]
    if shuffled:
        dice.shuffle(told)
    for one in told:
        if leg.concerns(one, ""):
            leg.hear(one)


@given(st.lists(st.integers(1, 10**9), max_size=4), st.integers(0, 10**6), st.booleans())
def test_a_filled_entry_is_counted_once_however_it_is_told(cuts: list[int], seed: int, shuffled: bool) -> None:
    leg = Leg(entry())
    parts = split(VOLUME, cuts)
    tell(leg, story(parts, "filled", closing=False), seed, shuffled=shuffled)
    assert leg.ack is not None
    assert leg.ack.status == "OK"
    assert [one.deal_id for one in leg.ack.deals] == list(range(len(parts)))
    assert sum(one.volume_cents for one in leg.ack.deals) == VOLUME
    assert {one.client_order_id for one in leg.ack.deals} == {entry().intent_id}
    assert leg.ack.position_id == POSITION


@given(st.integers(1, VOLUME - 1), st.sampled_from(["cancelled", "expired", "rejected"]), st.integers(), st.booleans())
def test_the_filled_part_of_an_entry_is_booked(part: int, end: str, seed: int, shuffled: bool) -> None:
    leg = Leg(entry())
    tell(leg, story([part], end, closing=False), seed, shuffled=shuffled)
    assert leg.ack is not None
    assert (leg.ack.status, leg.filled_cents) == ("OK", part)


@given(st.sampled_from(["cancelled", "expired", "rejected"]), st.integers(), st.booleans(), st.booleans())
def test_an_order_that_ends_unfilled_is_a_no(end: str, seed: int, shuffled: bool, closing: bool) -> None:
    leg = Leg(exit_of(POSITION) if closing else entry())
    tell(leg, story([], end, closing=closing), seed, shuffled=shuffled)
    assert leg.ack is not None
    assert leg.ack.status == "FAIL"
    assert leg.ack.reason == ("CODE" if end == "rejected" else f"ORDER_{end.upper()}")
    assert not leg.confirmed


@given(st.lists(st.integers(1, 10**9), max_size=4), st.integers(0, 10**6), st.booleans())
def test_a_close_is_confirmed_by_the_whole_volume(cuts: list[int], seed: int, shuffled: bool) -> None:
    leg = Leg(exit_of(POSITION))
    tell(leg, story(split(VOLUME, cuts), "filled", closing=True), seed, shuffled=shuffled)
    assert leg.confirmed
    assert leg.ack is not None
    assert (leg.ack.status, leg.filled_cents) == ("OK", VOLUME)


@given(st.integers(1, VOLUME - 1), st.integers(), st.booleans())
def test_a_close_of_a_part_confirms_nothing(part: int, seed: int, shuffled: bool) -> None:
    leg = Leg(exit_of(POSITION))
    tell(leg, story([part], "cancelled", closing=True), seed, shuffled=shuffled)
    assert not leg.confirmed
    assert leg.ack is not None
    assert (leg.ack.status, leg.ack.reason, len(leg.ack.deals)) == ("FAIL", "PARTIALLY_CLOSED", 1)


def test_accepted_is_no_success() -> None:
    for leg in (Leg(entry()), Leg(exit_of(POSITION))):
        tell(leg, story([], "filled", closing=isinstance(leg.intent, type(exit_of(1)))), 1, shuffled=False)
        assert leg.ack is None


def test_what_concerns_another_order_is_passed_over() -> None:
    leg = Leg(entry(2))
    for one in story([VOLUME], "filled", closing=False):
        assert not leg.concerns(one, "")
    refusal = Report("refused", "NOT_ENOUGH_MONEY")
    assert not leg.concerns(refusal, "somebody-else")
    leg.ids.add("mine")
    assert leg.concerns(refusal, "mine")


def test_prices_are_weighted_and_slippage_is_worse_when_positive() -> None:
    from oracle_batch.broker.base import Quote

    leg = Leg(entry(), quote=Quote(1.0999, 1.1000, 0.0))
    leg.hear(Report("partial", "", order("accepted", 1, client=entry().intent_id), deal(1, VOLUME // 4, price=1.2)))
    leg.hear(Report("filled", "", order("filled", VOLUME), deal(2, VOLUME - VOLUME // 4, price=1.1)))
    assert leg.ack is not None
    assert leg.ack.price == pytest.approx(1.125)
    assert leg.ack.slippage == pytest.approx(0.025)


def test_an_amendment_is_answered_by_its_protection() -> None:
    amend = AmendIntent("a", "m", POSITION, "EURUSD", 1.0, None, 0.0)
    for code, status, reason in (
        ("POSITION_NOT_FOUND", "OK", "ALREADY_CLOSED"),
        ("TRADING_BAD_STOPS", "FAIL", "TRADING_BAD_STOPS"),
    ):
        leg = Leg(amend)
        leg.hear(Report("refused", code))
        assert leg.ack is not None
        assert (leg.ack.status, leg.ack.reason) == (status, reason)
    leg = Leg(amend)
    leg.hear(Report("replaced"))
    assert leg.ack is not None
    assert (leg.ack.status, leg.ack.reason) == ("OK", None)


@pytest.mark.parametrize(
    ("meaning", "codes"),
    [
        (
            "retry later",
            "SERVER_IS_UNDER_MAINTENANCE CANT_ROUTE_REQUEST REQUEST_FREQUENCY_EXCEEDED POSITION_LOCKED "
            "PENDING_EXECUTION",
        ),
        ("not now", "MARKET_CLOSED SYMBOL_HAS_HOLIDAY NO_QUOTES TRADING_DISABLED"),
        (
            "this order never",
            "NOT_ENOUGH_MONEY TRADING_BAD_VOLUME TRADING_BAD_STOPS PROTECTION_IS_TOO_CLOSE_TO_MARKET "
            "MAX_EXPOSURE_REACHED SHORT_SELLING_NOT_ALLOWED",
        ),
        ("already done", "POSITION_NOT_FOUND POSITION_NOT_OPEN"),
        (
            "stop everything",
            "OA_AUTH_TOKEN_EXPIRED CH_ACCESS_TOKEN_INVALID RET_ACCOUNT_DISABLED TRADING_NOT_ALLOWED CHANNEL_IS_BLOCKED",
        ),
    ],
)
def test_every_code_has_its_meaning_and_something_to_do(meaning: str, codes: str) -> None:
    for code in codes.split():
        assert meaning_of(code) == meaning
        assert action_of(code)
