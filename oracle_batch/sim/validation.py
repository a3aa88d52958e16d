"""What a proxy checks of an order request before any market sees it: form, not sense. Refusals are INVALID_REQUEST."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from oracle_batch.openapi.messages import model
from oracle_batch.openapi.scales import relative_step
from oracle_batch.sim.refused import Refused

MAX_LENGTH: Final = {"label": 100, "comment": 512, "clientOrderId": 50}
_PENDING: Final = frozenset((model.LIMIT, model.STOP, model.STOP_LIMIT))
_NEEDS: Final[dict[int, tuple[str, ...]]] = {
    model.MARKET: (),
    model.MARKET_RANGE: ("baseSlippagePrice", "slippageInPoints"),
    model.LIMIT: ("limitPrice",),
    model.STOP: ("stopPrice",),
    model.STOP_LIMIT: ("stopPrice", "slippageInPoints"),
}
"""Fields that an order type cannot be without; of the prices it takes no others."""
_PRICES: Final = ("limitPrice", "stopPrice", "baseSlippagePrice")


def check_new_order(asked: Any, digits: int) -> None:
    """Check a ProtoOANewOrderReq for a symbol with these digits.

    Raises:
        Refused: a text is too long, a price is missing, superfluous or off the grid, or protection has the wrong form.
    """
    for name, longest in MAX_LENGTH.items():
        if len(getattr(asked, name)) > longest:
            raise _invalid(f"{name} is longer than {longest} characters")
    kind = model.ProtoOAOrderType.Name(asked.orderType)
    if asked.orderType not in _NEEDS:
        raise _invalid(f"{kind} orders cannot be sent")
    needed = _NEEDS[asked.orderType]
    for name in needed:
        if not asked.HasField(name):
            raise _invalid(f"{name} is required for {kind} orders")
    for name in _PRICES:
        if asked.HasField(name) and name not in needed:
            raise _invalid(f"{name} is not allowed for {kind} orders")
    absolute = asked.HasField("stopLoss") or asked.HasField("takeProfit")
    if absolute and asked.orderType not in _PENDING:
        raise _invalid("SL/TP in absolute values are allowed only for order types: [LIMIT, STOP, STOP_LIMIT]")
    if asked.timeInForce == model.GOOD_TILL_DATE and not asked.HasField("expirationTimestamp"):
        raise _invalid("expirationTimestamp is required for GOOD_TILL_DATE orders")
    _check_prices(asked, digits, (*_PRICES, "stopLoss", "takeProfit"))
    _check_relative(asked, digits)


def check_amended_order(asked: Any, digits: int) -> None:
    """Check a ProtoOAAmendOrderReq for a symbol with these digits. Raises Refused."""
    _check_prices(asked, digits, ("limitPrice", "stopPrice", "stopLoss", "takeProfit"))
    _check_relative(asked, digits)


def check_amended_position(asked: Any, digits: int) -> None:
    """Check a ProtoOAAmendPositionSLTPReq for a symbol with these digits. Raises Refused."""
    _check_prices(asked, digits, ("stopLoss", "takeProfit"))


def _check_prices(asked: Any, digits: int, names: tuple[str, ...]) -> None:
    for name in names:
        if not asked.HasField(name):
            continue
        price = getattr(asked, name)
        if not math.isfinite(price) or price < 0:
            raise Refused("TRADING_BAD_PRICES", f"{name} {price} is no price", shape="order_error")
        if Decimal(repr(price)).normalize().as_tuple().exponent < -digits:  # type: ignore[operator]  # finite
            raise _invalid(f"{name} = {price} has more digits than symbol allows. Allowed {digits} digits")


def _check_relative(asked: Any, digits: int) -> None:
    step = relative_step(digits)
    for name, absolute, words in (
        ("relativeStopLoss", "stopLoss", "Relative stop loss"),
        ("relativeTakeProfit", "takeProfit", "Relative take profit"),
    ):
        if not asked.HasField(name):
            continue
        distance = getattr(asked, name)
        if asked.HasField(absolute):
            raise _invalid(f"{name} and {absolute} exclude each other")
        if distance <= 0:
            raise _invalid(f"{words} must be positive")
        if distance % step:
            raise _invalid(f"{words} has invalid precision")


def _invalid(description: str) -> Refused:
    return Refused("INVALID_REQUEST", description)
