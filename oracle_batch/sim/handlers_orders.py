"""Orders: new, amended, cancelled, closing. The answer is always an event, of acceptance or of refusal."""

from __future__ import annotations

from typing import Any, Final, cast

from oracle_batch.broker.base import StopTrigger
from oracle_batch.openapi.messages import api, model
from oracle_batch.openapi.scales import seconds
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.events import Event, Execution
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.validation import check_amended_order, check_amended_position, check_new_order
from oracle_batch.sim.values import OrderChange, OrderRequest, Rejection

_AT_EXECUTION: Final = frozenset(("NOT_ENOUGH_MONEY", "NO_QUOTES", "MAX_EXPOSURE_REACHED"))
"""What is found out when an accepted order is about to be executed. The rest is found before."""
_AT_ONCE: Final = frozenset((model.MARKET, model.MARKET_RANGE))


def new_order(call: Call) -> None:
    """A new order."""
    asked = call.message
    info = call.server.exchange.symbols.get(asked.symbolId)
    if info is None:
        raise Refused("SYMBOL_NOT_FOUND", f"Symbol not found with id {asked.symbolId}", shape="order_error")
    check_new_order(asked, info.digits)
    _conclude(call, call.server.exchange.place(call.account, _request(asked)))


def amend_order(call: Call) -> None:
    """Change a pending order. What the request leaves out stays as it was."""
    asked = call.message
    found = call.server.exchange.order(call.account, asked.orderId)
    if found is not None:
        check_amended_order(asked, call.server.exchange.symbols[found[0].request.symbol_id].digits)
    expiry = _given(asked, "expirationTimestamp")
    change = OrderChange(
        volume_cents=_given(asked, "volume"),
        limit_price=_given(asked, "limitPrice"),
        stop_price=_given(asked, "stopPrice"),
        expires_at=None if expiry is None else seconds(expiry),
        stop_loss=_given(asked, "stopLoss"),
        take_profit=_given(asked, "takeProfit"),
        relative_stop_loss=asked.relativeStopLoss,
        relative_take_profit=asked.relativeTakeProfit,
        slippage_points=_given(asked, "slippageInPoints"),
        guaranteed_stop=_given(asked, "guaranteedStopLoss"),
        trailing_stop=_given(asked, "trailingStopLoss"),
        stop_trigger=_trigger(asked.stopTriggerMethod) if asked.HasField("stopTriggerMethod") else None,
    )
    _conclude(call, call.server.exchange.amend_order(call.account, asked.orderId, change))


def cancel_order(call: Call) -> None:
    """Cancel a pending order."""
    _conclude(call, call.server.exchange.cancel(call.account, call.message.orderId))


def amend_position(call: Call) -> None:
    """Set a position's stop and target. One that the request leaves out is removed."""
    asked = call.message
    positions, _ = call.server.exchange.reconcile(call.account)
    held = next((view for view in positions if view.position_id == asked.positionId), None)
    if held is not None:
        check_amended_position(asked, call.server.exchange.symbols[held.symbol_id].digits)
    _conclude(
        call,
        call.server.exchange.amend_position(
            call.account,
            asked.positionId,
            _given(asked, "stopLoss") or None,
            _given(asked, "takeProfit") or None,
            trailing_stop=asked.trailingStopLoss,
            guaranteed_stop=asked.guaranteedStopLoss,
            stop_trigger=_trigger(asked.stopLossTriggerMethod),
        ),
    )


def close_position(call: Call) -> None:
    """Close a position or a part of it at market. The request has no place for a client's id."""
    asked = call.message
    _conclude(call, call.server.exchange.close(call.account, asked.positionId, asked.volume))


def _request(asked: Any) -> OrderRequest:
    at_once = asked.orderType in _AT_ONCE and not asked.HasField("timeInForce")
    in_force = model.IMMEDIATE_OR_CANCEL if at_once else asked.timeInForce
    return OrderRequest(
        symbol_id=asked.symbolId,
        order_type=model.ProtoOAOrderType.Name(asked.orderType),
        direction=1 if asked.tradeSide == model.BUY else -1,
        volume_cents=asked.volume,
        limit_price=_given(asked, "limitPrice"),
        stop_price=_given(asked, "stopPrice"),
        time_in_force=model.ProtoOATimeInForce.Name(in_force),
        expires_at=seconds(asked.expirationTimestamp) if asked.HasField("expirationTimestamp") else None,
        stop_loss=_given(asked, "stopLoss"),
        take_profit=_given(asked, "takeProfit"),
        relative_stop_loss=asked.relativeStopLoss,
        relative_take_profit=asked.relativeTakeProfit,
        base_slippage_price=_given(asked, "baseSlippagePrice"),
        slippage_points=asked.slippageInPoints,
        position_id=_given(asked, "positionId"),
        label=asked.label,
        comment=asked.comment,
        client_order_id=asked.clientOrderId,
        guaranteed_stop=asked.guaranteedStopLoss,
        trailing_stop=asked.trailingStopLoss,
        stop_trigger=_trigger(asked.stopTriggerMethod),
    )


def _conclude(call: Call, outcome: list[Event] | Rejection) -> None:
    """Publish what happened, or refuse in the shape that fits the reason."""
    if not isinstance(outcome, Rejection):
        call.publish(outcome)
    elif outcome.late or (outcome.order is not None and outcome.code in _AT_EXECUTION):
        exchange = call.server.exchange
        rejected = Execution(call.account, "ORDER_REJECTED", exchange.now, order=outcome.order, code=outcome.code)
        call.publish([rejected])
    else:
        raise Refused(
            outcome.code,
            outcome.text,
            shape="error" if outcome.code == "INVALID_REQUEST" else "order_error",
            order_id=outcome.order_id,
            position_id=outcome.position_id,
        )


def _given(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _trigger(method: int) -> StopTrigger:
    return cast(StopTrigger, model.ProtoOAOrderTriggerMethod.Name(method).lower())


ROUTES: Final[Routes] = {
    api.ProtoOANewOrderReq: Route(new_order, needs="trade"),
    api.ProtoOAAmendOrderReq: Route(amend_order, needs="trade"),
    api.ProtoOACancelOrderReq: Route(cancel_order, needs="trade"),
    api.ProtoOAAmendPositionSLTPReq: Route(amend_position, needs="trade"),
    api.ProtoOAClosePositionReq: Route(close_position, needs="trade"),
}
