"""What a request must look like before the market looks at it. Pure; the words are the Open API's."""

from __future__ import annotations

from typing import Final

from oracle_batch.hands.prices import RELATIVE_DIGITS, exact, grid
from oracle_batch.sim.values import OrderRequest, Rejection, SymbolInfo

LABEL_MAX: Final = 100
COMMENT_MAX: Final = 512
CLIENT_ORDER_ID_MAX: Final = 50
_TYPES: Final = ("MARKET", "LIMIT", "STOP", "MARKET_RANGE", "STOP_LIMIT")
AT_MARKET: Final = ("MARKET", "MARKET_RANGE")


def order_rejection(request: OrderRequest, info: SymbolInfo, now: float) -> Rejection | None:
    """Why an order is none, whatever the market does."""
    return (
        _texts(request)
        or _kind(request)
        or prices_rejection(info, request.limit_price, request.stop_price, request.base_slippage_price)
        or protection_rejection(request, info)
        or expiry_rejection(request.expires_at, now)
    )


def prices_rejection(info: SymbolInfo, *prices: float | None) -> Rejection | None:
    """Why a price is none: it is not above 0, or finer than the symbol's digits."""
    for price in prices:
        if price is None:
            continue
        if not 0 < price < float("inf"):
            return _invalid(f"Price {price} is not a price")
        if exact(price) != exact(price).quantize(grid(info.digits)):
            return _invalid(f"Order price = {price} has more digits than symbol allows. Allowed {info.digits} digits")
    return None


def protection_rejection(request: OrderRequest, info: SymbolInfo) -> Rejection | None:
    """Why an order cannot carry its stop and target."""
    if request.order_type in AT_MARKET and (request.stop_loss is not None or request.take_profit is not None):
        return _invalid("SL/TP in absolute values are allowed only for order types: [LIMIT, STOP, STOP_LIMIT]")
    if request.guaranteed_stop:
        return _invalid("Guaranteed stop loss is for limited risk accounts")
    unit = 10 ** max(0, RELATIVE_DIGITS - info.digits)
    for name, distance in (("stop loss", request.relative_stop_loss), ("take profit", request.relative_take_profit)):
        if distance < 0 or distance % unit:
            return _invalid(f"Relative {name} has invalid precision")
    if request.trailing_stop and request.stop_loss is None and not request.relative_stop_loss:
        return _invalid("Trailing stop loss needs a stop loss")
    return prices_rejection(info, request.stop_loss, request.take_profit)


def position_rejection(
    info: SymbolInfo, stop_loss: float | None, take_profit: float | None, trailing_stop: bool, guaranteed_stop: bool
) -> Rejection | None:
    """Why a position cannot have this protection, whatever the market does."""
    if guaranteed_stop:
        return _invalid("Guaranteed stop loss is for limited risk accounts")
    if trailing_stop and stop_loss is None:
        return _invalid("Trailing stop loss needs a stop loss")
    return prices_rejection(info, stop_loss, take_profit)


def expiry_rejection(expires_at: float | None, now: float) -> Rejection | None:
    if expires_at is not None and expires_at <= now:
        return Rejection("TRADING_BAD_EXPIRATION_DATE", f"{expires_at:.0f} is not after {now:.0f}")
    return None


def _texts(request: OrderRequest) -> Rejection | None:
    for name, text, most in (
        ("label", request.label, LABEL_MAX),
        ("comment", request.comment, COMMENT_MAX),
        ("clientOrderId", request.client_order_id, CLIENT_ORDER_ID_MAX),
    ):
        if len(text) > most:
            return _invalid(f"Field {name} has {len(text)} characters; at most {most} are allowed")
    return None


def _kind(request: OrderRequest) -> Rejection | None:
    kind = request.order_type
    if kind not in _TYPES:
        return _invalid(f"Order type {kind} cannot be placed")
    if request.direction not in (1, -1):
        return _invalid("Trade side is neither BUY nor SELL")
    if request.volume_cents <= 0:
        return Rejection("TRADING_BAD_VOLUME", f"volume is {request.volume_cents}")
    needed = {
        "LIMIT": [("limitPrice", request.limit_price)],
        "STOP": [("stopPrice", request.stop_price)],
        "STOP_LIMIT": [("stopPrice", request.stop_price)],
        "MARKET_RANGE": [("baseSlippagePrice", request.base_slippage_price)],
    }.get(kind, [])
    for name, value in needed:
        if value is None:
            return _invalid(f"{kind} order requires {name}")
    if request.slippage_points < 0:
        return _invalid("slippageInPoints is negative")
    if request.time_in_force == "GOOD_TILL_DATE" and kind not in AT_MARKET and request.expires_at is None:
        return Rejection("TRADING_BAD_EXPIRATION_DATE", "GOOD_TILL_DATE without expirationTimestamp")
    return None


def _invalid(text: str) -> Rejection:
    return Rejection("INVALID_REQUEST", text)
