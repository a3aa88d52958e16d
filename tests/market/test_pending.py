"""Pending orders against single prices. EURUSD: 7 points spread."""

from __future__ import annotations

import pytest

from oracle_batch.market.pending import Pending, met, wrong_side
from oracle_batch.market.tape import Step
from tests.market.build import T0, contract_of

EURUSD = contract_of("EURUSD")
INSIDE, ALONE = 1, 0
"""Places of a step: within a bar's path, or a price by itself."""


def at(bid: float, place: int = INSIDE) -> Step:
    return Step(float(T0), T0, place, "EURUSD", bid)


@pytest.mark.parametrize(
    ("pending", "bid", "place", "price"),
    [
        (Pending("LIMIT", 1, 1.10000), 1.09994, INSIDE, None),  # the ask is 1.10001
        (Pending("LIMIT", 1, 1.10000), 1.09993, INSIDE, 1.10000),
        (Pending("LIMIT", 1, 1.10000), 1.09900, INSIDE, 1.10000),
        (Pending("LIMIT", 1, 1.10000), 1.09900, ALONE, 1.09907),
        (Pending("LIMIT", -1, 1.10000), 1.09999, INSIDE, None),
        (Pending("LIMIT", -1, 1.10000), 1.10050, ALONE, 1.10050),
        (Pending("STOP", 1, 1.10000), 1.09992, INSIDE, None),
        (Pending("STOP", 1, 1.10000), 1.10050, INSIDE, 1.10000),
        (Pending("STOP", 1, 1.10000), 1.10050, ALONE, 1.10057),
        (Pending("STOP", -1, 1.10000), 1.10001, INSIDE, None),
        (Pending("STOP", -1, 1.10000), 1.09950, ALONE, 1.09950),
        (Pending("STOP", 1, 1.10000, stop_trigger="opposite"), 1.09999, INSIDE, None),
        (Pending("STOP", 1, 1.10000, stop_trigger="opposite"), 1.10000, INSIDE, 1.10007),
        (Pending("STOP_LIMIT", 1, 1.10000, 0.0005), 1.10050, INSIDE, 1.10000),
        (Pending("STOP_LIMIT", 1, 1.10000, 0.0005), 1.10030, ALONE, 1.10037),
    ],
)
def test_an_order_is_filled_where_the_price_reaches_it(
    pending: Pending, bid: float, place: int, price: float | None
) -> None:
    assert met(pending, EURUSD, at(bid, place)) == price


def test_a_stop_limit_jumped_beyond_its_range_goes_on_as_a_limit_at_its_end() -> None:
    jumped = met(Pending("STOP_LIMIT", 1, 1.10000, 0.0005), EURUSD, at(1.10100, ALONE))
    assert isinstance(jumped, Pending)
    assert (jumped.kind, jumped.price) == ("LIMIT", 1.1005)
    assert met(jumped, EURUSD, at(1.10043)) == 1.1005
    assert met(jumped, EURUSD, at(1.10044)) is None


def test_a_stop_must_lie_beyond_the_market() -> None:
    assert wrong_side(Pending("STOP", 1, 1.10007), EURUSD, 1.10000)
    assert not wrong_side(Pending("STOP", 1, 1.10008), EURUSD, 1.10000)
    assert wrong_side(Pending("STOP_LIMIT", -1, 1.10000), EURUSD, 1.10000)
    assert not wrong_side(Pending("LIMIT", 1, 1.20000), EURUSD, 1.10000)
