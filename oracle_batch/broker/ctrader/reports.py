"""What the broker says about orders and deals, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from oracle_batch.broker.base import CloseReason, Deal, OrderState, PlacedOrder
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model

FILLED: Final = frozenset({model.FILLED, model.PARTIALLY_FILLED})
"""Deal states in which something was traded."""

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


def direction_of(trade_side: int) -> int:
    """1 or -1."""
    return 1 if trade_side == model.BUY else -1


def optional(message: Any, name: str) -> Any:
    """A field's value, None where it is not given."""
    return getattr(message, name) if message.HasField(name) else None


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
