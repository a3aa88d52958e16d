"""What an order request is refused for before any market sees it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.openapi.messages import api
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.validation import check_amended_order, check_amended_position, check_new_order


def order(kind: str = "MARKET", **fields: Any) -> Any:
    return api.ProtoOANewOrderReq(
        ctidTraderAccountId=1, symbolId=1, orderType=kind, tradeSide="BUY", volume=100_000, **fields
    )


def refusal(asked: Any, digits: int = 5) -> Refused:
    with pytest.raises(Refused) as found:
        check_new_order(asked, digits)
    return found.value


@pytest.mark.parametrize(
    "asked",
    [
        order(),
        order(label="x" * 100, comment="x" * 512, clientOrderId="x" * 50),
        order(relativeStopLoss=1, relativeTakeProfit=7, trailingStopLoss=True),
        order("MARKET_RANGE", baseSlippagePrice=1.1, slippageInPoints=3),
        order("LIMIT", limitPrice=1.10001, stopLoss=1.1, takeProfit=1.2),
        order("STOP", stopPrice=1.1, relativeStopLoss=100),
        order("STOP_LIMIT", stopPrice=1.1, slippageInPoints=0),
        order("LIMIT", limitPrice=1.1, timeInForce="GOOD_TILL_DATE", expirationTimestamp=1),
    ],
)
def test_orders_in_good_form_pass(asked: Any) -> None:
    check_new_order(asked, 5)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (order(label="x" * 101), "label is longer than 100"),
        (order(comment="x" * 513), "comment is longer than 512"),
        (order(clientOrderId="x" * 51), "clientOrderId is longer than 50"),
        (order(stopLoss=1.0), "absolute values are allowed only for"),
        (order(takeProfit=1.0), "absolute values are allowed only for"),
        (order("MARKET_RANGE", baseSlippagePrice=1.1, slippageInPoints=3, stopLoss=1.0), "absolute values"),
        (order("MARKET_RANGE", slippageInPoints=3), "baseSlippagePrice is required"),
        (order("MARKET_RANGE", baseSlippagePrice=1.0), "slippageInPoints is required"),
        (order("LIMIT"), "limitPrice is required"),
        (order("STOP", limitPrice=1.1), "stopPrice is required"),
        (order("LIMIT", limitPrice=1.1, stopPrice=1.1), "stopPrice is not allowed"),
        (order(limitPrice=1.1), "limitPrice is not allowed"),
        (order("STOP_LOSS_TAKE_PROFIT"), "cannot be sent"),
        (order("LIMIT", limitPrice=1.100001), "more digits than symbol allows"),
        (order("LIMIT", limitPrice=1.1, stopLoss=1.000001), "more digits than symbol allows"),
        (order("LIMIT", limitPrice=1.1, stopLoss=1.0, relativeStopLoss=100), "exclude each other"),
        (order("LIMIT", limitPrice=1.1, timeInForce="GOOD_TILL_DATE"), "expirationTimestamp is required"),
        (order(relativeStopLoss=0), "Relative stop loss must be positive"),
        (order(relativeTakeProfit=-5), "Relative take profit must be positive"),
    ],
)
def test_bad_form_is_an_invalid_request_that_says_what_is_wrong(asked: Any, words: str) -> None:
    found = refusal(asked)
    assert found.code == "INVALID_REQUEST"
    assert found.shape == "error"
    assert words in found.description


@given(st.integers(1, 10**9), st.integers(0, 5))
def test_relative_distances_are_multiples_of_the_point(distance: int, digits: int) -> None:
    on_grid = distance % 10 ** (5 - digits) == 0
    for asked, words in ((order(relativeStopLoss=distance), "stop loss"), (order(relativeTakeProfit=distance), "take")):
        if on_grid:
            check_new_order(asked, digits)
        else:
            assert f"Relative {words}" in refusal(asked, digits).description


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_what_is_no_price_is_a_bad_price(price: float) -> None:
    found = refusal(order("LIMIT", limitPrice=price))
    assert (found.code, found.shape) == ("TRADING_BAD_PRICES", "order_error")


def test_amendments_are_held_to_the_same_grid() -> None:
    check_amended_order(api.ProtoOAAmendOrderReq(ctidTraderAccountId=1, orderId=1, limitPrice=150.123), 3)
    with pytest.raises(Refused):
        check_amended_order(api.ProtoOAAmendOrderReq(ctidTraderAccountId=1, orderId=1, limitPrice=150.1234), 3)
    with pytest.raises(Refused):
        check_amended_order(api.ProtoOAAmendOrderReq(ctidTraderAccountId=1, orderId=1, relativeStopLoss=50), 3)
    check_amended_position(api.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=1, positionId=1, stopLoss=1.0), 5)
    with pytest.raises(Refused):
        check_amended_position(
            api.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=1, positionId=1, stopLoss=1.0000001), 5
        )
