"""Wire messages to the broker protocol's plain values and back. No scale is known anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    AmendIntent,
    CloseIntent,
    CloseReason,
    Deal,
    OpenIntent,
    OrderState,
    PlacedOrder,
    Position,
    Quote,
    StopTrigger,
    SymbolSpec,
)
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model

TRIGGERS: Final[dict[StopTrigger, int]] = {
    "trade": model.TRADE,
    "opposite": model.OPPOSITE,
    "double_trade": model.DOUBLE_TRADE,
    "double_opposite": model.DOUBLE_OPPOSITE,
}
FILLED: Final = frozenset({model.FILLED, model.PARTIALLY_FILLED})
"""Deal states in which something was traded."""
LABEL_CHARS: Final = 100
COMMENT_CHARS: Final = 512
CLIENT_ID_CHARS: Final = 50

_STATES: Final[dict[int, OrderState]] = {
    model.ORDER_STATUS_ACCEPTED: "working",
    model.ORDER_STATUS_FILLED: "filled",
    model.ORDER_STATUS_REJECTED: "rejected",
    model.ORDER_STATUS_EXPIRED: "expired",
    model.ORDER_STATUS_CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class OrderView:
    """What the broker knows of an order. ``stop_price`` and ``limit_price`` of a protection order are stop and target,
    in whichever of two places the broker has them."""

    order_id: int
    client_order_id: str
    label: str
    state: OrderState
    executed_cents: int
    position_id: int
    closing: bool
    protection: bool
    stop_out: bool
    stop_price: float | None
    limit_price: float | None
    updated_at: float


def side(direction: int) -> int:
    """The wire's side of a direction."""
    return int(model.BUY if direction > 0 else model.SELL)


def direction_of(trade_side: int) -> int:
    """1 or -1."""
    return 1 if trade_side == model.BUY else -1


def optional(message: Any, name: str) -> Any:
    """A field's value, None where it is not given."""
    return getattr(message, name) if message.HasField(name) else None


# what the broker shows


def position(message: Any, symbol: str, money_digits: int) -> Position:
    """An open position; ``money_digits`` are the account's, for a position that brings none."""
    trade = message.tradeData
    digits = message.moneyDigits if message.HasField("moneyDigits") else money_digits
    return Position(
        position_id=message.positionId,
        symbol=symbol,
        direction=direction_of(trade.tradeSide),
        volume_cents=trade.volume,
        entry_price=message.price,
        opened_at=scales.seconds(trade.openTimestamp),
        label=trade.label,
        comment=trade.comment,
        stop_loss=optional(message, "stopLoss") or None,
        take_profit=optional(message, "takeProfit") or None,
        swap=scales.money(message.swap, digits),
        commission=abs(scales.money(message.commission, digits)),
    )


def order(message: Any) -> OrderView:
    """An order of any state."""
    return OrderView(
        order_id=message.orderId,
        client_order_id=message.clientOrderId,
        label=message.tradeData.label,
        state=_STATES[message.orderStatus],
        executed_cents=message.executedVolume,
        position_id=message.positionId,
        closing=message.closingOrder,
        protection=message.orderType == model.STOP_LOSS_TAKE_PROFIT,
        stop_out=message.isStopOut,
        stop_price=optional(message, "stopPrice") or optional(message, "stopLoss"),
        limit_price=optional(message, "limitPrice") or optional(message, "takeProfit"),
        updated_at=scales.seconds(message.utcLastUpdateTimestamp),
    )


def placed(view: OrderView) -> PlacedOrder:
    """An order as the broker protocol shows it."""
    return PlacedOrder(view.order_id, view.client_order_id, view.state, view.closing, view.position_id or None)


def deal(message: Any, symbol: str, of: OrderView | None, label: str, money_digits: int) -> Deal | None:
    """A fill, with what only its order knows; None for a deal that traded nothing.

    Commissions are costs whichever sign the broker gives them.
    """
    if message.dealStatus not in FILLED or message.filledVolume <= 0:
        return None
    digits = message.moneyDigits if message.HasField("moneyDigits") else money_digits
    closing = message.HasField("closePositionDetail")
    detail = message.closePositionDetail
    detail_digits = detail.moneyDigits if detail.HasField("moneyDigits") else digits
    return Deal(
        deal_id=message.dealId,
        order_id=message.orderId,
        client_order_id=of.client_order_id if of else "",
        position_id=message.positionId,
        label=(of.label if of else "") or label,
        symbol=symbol,
        direction=direction_of(message.tradeSide),
        volume_cents=message.filledVolume,
        price=message.executionPrice,
        time=scales.seconds(message.executionTimestamp),
        closing=closing,
        reason=reason(of, message.executionPrice) if closing else "order",
        profit=scales.money(detail.grossProfit, detail_digits) if closing else 0.0,
        commission=abs(scales.money(message.commission, digits)),
        conversion="broker" if closing and detail.HasField("quoteToDepositConversionRate") else "",
        swap=scales.money(detail.swap, detail_digits) if closing else 0.0,
    )


def reason(of: OrderView | None, price: float) -> CloseReason:
    """What caused a closing deal, as far as its order tells. A close by hand looks like one of ours."""
    if of is None:
        return "order"
    if of.stop_out:
        return "stop_out"
    if not of.protection:
        return "order"
    if of.stop_price is None or of.limit_price is None:
        return "take_profit" if of.stop_price is None else "stop_loss"
    return "stop_loss" if abs(price - of.stop_price) <= abs(price - of.limit_price) else "take_profit"


ReportKind = Literal["accepted", "filled", "partial", "rejected", "cancelled", "expired", "replaced", "refused"]
_KINDS: Final[dict[int, ReportKind]] = {
    model.ORDER_ACCEPTED: "accepted",
    model.ORDER_FILLED: "filled",
    model.ORDER_PARTIAL_FILL: "partial",
    model.ORDER_REJECTED: "rejected",
    model.ORDER_CANCELLED: "cancelled",
    model.ORDER_EXPIRED: "expired",
    model.ORDER_REPLACED: "replaced",
    model.ORDER_CANCEL_REJECTED: "refused",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that the broker says about an order; ``refused`` is a no without an order.

    ``position_open`` is None where the position is not shown; ids are 0 where they are not told.
    """

    kind: ReportKind
    code: str = ""
    order: OrderView | None = None
    deal: Deal | None = None
    order_id: int = 0
    position_id: int = 0
    position_open: bool | None = None
    stop_loss: float | None = None
    take_profit: float | None = None


def report(message: Any, name_of: Callable[[int], str], money_digits: int) -> Report | None:
    """What an execution event or an order error says; None where it is not about an order."""
    if isinstance(message, api.ProtoOAOrderErrorEvent):
        return Report("refused", message.errorCode, order_id=message.orderId, position_id=message.positionId)
    if not isinstance(message, api.ProtoOAExecutionEvent):
        return None
    kind = _KINDS.get(message.executionType)
    if kind is None:
        return None
    of = order(message.order) if message.HasField("order") else None
    fill = None
    if message.HasField("deal"):
        fill = deal(message.deal, name_of(message.deal.symbolId), of, "", money_digits)
    held = message.position if message.HasField("position") else None
    return Report(
        kind,
        message.errorCode,
        of,
        fill,
        of.order_id if of else fill.order_id if fill else 0,
        held.positionId if held else fill.position_id if fill else of.position_id if of else 0,
        None if held is None else held.positionStatus == model.POSITION_STATUS_OPEN and held.tradeData.volume > 0,
        None if held is None else optional(held, "stopLoss") or None,
        None if held is None else optional(held, "takeProfit") or None,
    )


def spec(name: str, message: Any, base: str, quote: str) -> SymbolSpec | None:
    """A contract; None where the broker leaves out what cannot be guessed."""
    volumes = (message.lotSize, message.minVolume, message.stepVolume, message.maxVolume)
    if min(volumes) <= 0 or not base or not quote or message.digits < 0:
        return None
    return SymbolSpec(name, message.digits, *volumes, base, quote)


def quote(bid: int, ask: int, digits: int, time: float) -> Quote:
    """A quote from the two relative prices."""
    return Quote(scales.price(bid, digits), scales.price(ask, digits), time)


def bars(messages: list[Any], digits: int) -> Bars:
    """Trend bars as they came: any order, duplicates and the forming bar included, not validated."""
    rows = [
        (one.utcTimestampInMinutes, one.low, one.deltaOpen, one.deltaHigh, one.deltaClose, one.volume)
        for one in messages
    ]
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    minutes, low, to_open, to_high, to_close, volume = columns

    def prices(relative: Any) -> Any:
        return np.round(relative / scales.RELATIVE_SCALE, digits)

    return Bars(
        np.ascontiguousarray(minutes * 60),
        prices(low + to_open),
        prices(low + to_high),
        prices(low),
        prices(low + to_close),
        volume.astype(np.float64),
    )


# what we ask for


def open_request(
    intent: OpenIntent, account_id: int, symbol_id: int, quote: Quote | None, *, limited_risk: bool = False
) -> Any:
    """An opening order: at market, or in a range around the quote where slippage is limited.

    Raises:
        ValueError: a text is longer than the broker takes, or a range is asked for without a quote.
    """
    for name, text, most in (
        ("label", intent.label, LABEL_CHARS),
        ("comment", intent.comment, COMMENT_CHARS),
        ("clientOrderId", intent.intent_id, CLIENT_ID_CHARS),
    ):
        if len(text) > most:
            raise ValueError(f"{name} has {len(text)} characters, the broker takes {most}")
    request = api.ProtoOANewOrderReq(
        ctidTraderAccountId=account_id,
        symbolId=symbol_id,
        orderType=model.MARKET,
        tradeSide=side(intent.direction),
        volume=intent.volume_cents,
        label=intent.label,
        comment=intent.comment,
        clientOrderId=intent.intent_id,
    )
    if intent.stop_relative:
        request.relativeStopLoss = intent.stop_relative
        if limited_risk:
            request.guaranteedStopLoss = True
    if intent.target_relative:
        request.relativeTakeProfit = intent.target_relative
    if intent.stop_trigger != "trade":
        request.stopTriggerMethod = TRIGGERS[intent.stop_trigger]
    if intent.max_slippage_points:
        if quote is None:
            raise ValueError("a limit on slippage needs a quote")
        request.orderType = model.MARKET_RANGE
        request.baseSlippagePrice = quote.ask if intent.direction > 0 else quote.bid
        request.slippageInPoints = int(intent.max_slippage_points)
    return request


def close_request(intent: CloseIntent, account_id: int) -> Any:
    """A closing order; the API takes no id of ours on it."""
    return api.ProtoOAClosePositionReq(
        ctidTraderAccountId=account_id, positionId=intent.position_id, volume=intent.volume_cents
    )


def amend_request(intent: AmendIntent, account_id: int) -> Any:
    """New protection. Both sides are always in it: a side that is left out is cleared."""
    request = api.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=account_id, positionId=intent.position_id)
    if intent.stop_loss is not None:
        request.stopLoss = intent.stop_loss
        request.stopLossTriggerMethod = TRIGGERS[intent.stop_trigger]
    if intent.take_profit is not None:
        request.takeProfit = intent.take_profit
    return request
