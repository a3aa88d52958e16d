"""The account: money, positions, orders, margin."""

from __future__ import annotations

from typing import Any, Final

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.handlers_history import LAST_MS, boundaries
from oracle_batch.sim.handlers_market import find_symbol
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.values import OrderView, Rejection

PAGE_ORDERS: Final = 500
_WEEK_MS: Final = 7 * 86_400_000


def trader(call: Call) -> None:
    """The account itself."""
    view = call.server.exchange.trader(call.account)
    may_trade = call.session.accounts[call.account].may_trade
    shown = call.server.wire.trader(view, may_trade=may_trade)
    call.reply(api.ProtoOATraderRes(ctidTraderAccountId=call.account, trader=shown))


def reconcile(call: Call) -> None:
    """Open positions and pending orders."""
    positions, orders = call.server.exchange.reconcile(call.account)
    call.reply(
        api.ProtoOAReconcileRes(
            ctidTraderAccountId=call.account,
            position=[call.server.wire.position(view) for view in positions],
            order=[call.server.wire.order(view) for view in orders],
        )
    )


def order_list(call: Call) -> None:
    """Orders of every status last changed within a stretch of at most a week, newest first."""
    start, end = boundaries(call, _WEEK_MS)
    call.reply(_orders(call, api.ProtoOAOrderListRes, call.server.exchange.orders(call.account, start, end)))


def orders_of_position(call: Call) -> None:
    """Orders of one position, newest first."""
    start, end = boundaries(call, LAST_MS)
    every = call.server.exchange.orders(call.account, start, end)
    found = [view for view in every if view.position_id == call.message.positionId]
    call.reply(_orders(call, api.ProtoOAOrderListByPositionIdRes, found))


def order_details(call: Call) -> None:
    """One order and what it dealt."""
    found = call.server.exchange.order(call.account, call.message.orderId)
    if found is None:
        raise Refused("ORDER_NOT_FOUND", f"Order not found with id {call.message.orderId}")
    view, deals = found
    call.reply(
        api.ProtoOAOrderDetailsRes(
            ctidTraderAccountId=call.account,
            order=call.server.wire.order(view),
            deal=[call.server.wire.deal(deal) for deal in deals],
        )
    )


def expected_margin(call: Call) -> None:
    """What volumes of a symbol would tie up."""
    find_symbol(call, call.message.symbolId)
    exchange = call.server.exchange
    answer = api.ProtoOAExpectedMarginRes(ctidTraderAccountId=call.account, moneyDigits=exchange.money_digits)
    for volume in call.message.volume:
        margin = exchange.expected_margin(call.account, call.message.symbolId, volume)
        if isinstance(margin, Rejection):
            raise Refused(margin.code, margin.text)
        buy, sell = margin
        answer.margin.add(volume=volume, buyMargin=buy, sellMargin=sell)
    call.reply(answer)


def unrealised(call: Call) -> None:
    """Floating results of the open positions."""
    exchange = call.server.exchange
    answer = api.ProtoOAGetPositionUnrealizedPnLRes(ctidTraderAccountId=call.account, moneyDigits=exchange.money_digits)
    for view in exchange.unrealised(call.account):
        answer.positionUnrealizedPnL.add(
            positionId=view.position_id, grossUnrealizedPnL=view.gross, netUnrealizedPnL=view.net
        )
    call.reply(answer)


def cash_flow(call: Call) -> None:
    """Deposits and withdrawals of a stretch of at most a week."""
    start, end = boundaries(call, _WEEK_MS)
    found = call.server.exchange.cash_flows(call.account, start, end)
    call.reply(
        api.ProtoOACashFlowHistoryListRes(
            ctidTraderAccountId=call.account,
            depositWithdraw=[call.server.wire.cash_flow(view) for view in found],
        )
    )


def margin_calls(call: Call) -> None:
    """The thresholds of the margin level."""
    found = call.server.exchange.margin_calls(call.account)
    call.reply(api.ProtoOAMarginCallListRes(marginCall=[call.server.wire.margin_call(view) for view in found]))


def update_margin_call(call: Call) -> None:
    """Move a threshold; everybody on the account is told."""
    asked = call.message.marginCall
    number = asked.marginCallType - model.MARGIN_LEVEL_THRESHOLD_1 + 1
    changed = call.server.exchange.update_margin_call(call.account, number, asked.marginLevelThreshold)
    if isinstance(changed, Rejection):
        raise Refused(changed.code, changed.text)
    call.reply(api.ProtoOAMarginCallUpdateRes())
    event = api.ProtoOAMarginCallUpdateEvent(
        ctidTraderAccountId=call.account, marginCall=call.server.wire.margin_call(changed)
    )
    for line in call.server.lines_of(call.account):
        line.send(event)


def _orders(call: Call, kind: type[Any], found: list[OrderView]) -> Any:
    newest = sorted(found, key=lambda view: (view.updated_at, view.order_id), reverse=True)
    shown = [call.server.wire.order(view) for view in newest[:PAGE_ORDERS]]
    return kind(ctidTraderAccountId=call.account, order=shown, hasMore=len(newest) > PAGE_ORDERS)


ROUTES: Final[Routes] = {
    api.ProtoOATraderReq: Route(trader),
    api.ProtoOAReconcileReq: Route(reconcile),
    api.ProtoOAOrderListReq: Route(order_list),
    api.ProtoOAOrderListByPositionIdReq: Route(orders_of_position),
    api.ProtoOAOrderDetailsReq: Route(order_details),
    api.ProtoOAExpectedMarginReq: Route(expected_margin),
    api.ProtoOAGetPositionUnrealizedPnLReq: Route(unrealised),
    api.ProtoOACashFlowHistoryListReq: Route(cash_flow),
    api.ProtoOAMarginCallListReq: Route(margin_calls),
    api.ProtoOAMarginCallUpdateReq: Route(update_margin_call),
}
