"""Orders over the wire: what is answered, in which order, in which shape, and what is there afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.market_faults import OrderFault
from tests.sim.market import (
    ACCOUNT,
    EURUSD,
    START,
    USDJPY,
    exchange,
    new_order,
    on_account,
    reconcile,
    trade,
)
from tests.sim.serving import Client, run, serving

SPAN = {"fromTimestamp": int(START - 3600) * 1000, "toTimestamp": int(START + 86_400) * 1000}


def close(position: int, volume: int) -> Any:
    return on_account(api.ProtoOAClosePositionReq, positionId=position, volume=volume)


def amend(position: int, **fields: Any) -> Any:
    return on_account(api.ProtoOAAmendPositionSLTPReq, positionId=position, **fields)


async def server_fills(client: Client) -> list[Any]:
    """Fills that nobody asked for just now, once there are any."""

    def found() -> list[Any]:
        return [event for event in client.seen(api.ProtoOAExecutionEvent) if event.executionType == model.ORDER_FILLED]

    await client.until(lambda: bool(found()))
    return found()


async def balance(client: Client) -> int:
    money: int = (await client.get(on_account(api.ProtoOATraderReq))).trader.balance
    return money


def test_a_market_order_is_accepted_then_filled_with_its_id_on_both() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, other = await running.client(), await running.client()
            asked = new_order(
                clientOrderId="my-id", label="EURUSD_M15", comment="O|2.0", relativeStopLoss=500, relativeTakeProfit=700
            )
            accepted, filled = await client.answers(client.send(asked), 2)
            assert (accepted.executionType, filled.executionType) == (model.ORDER_ACCEPTED, model.ORDER_FILLED)
            for event in (accepted, filled):
                assert event.order.clientOrderId == "my-id"
                assert not event.isServerEvent
                assert not event.HasField("errorCode")
            assert filled.order.orderStatus == model.ORDER_STATUS_FILLED
            assert filled.order.executedVolume == filled.deal.filledVolume == 100_000
            assert filled.deal.orderId == accepted.order.orderId == filled.order.orderId
            assert filled.deal.positionId == filled.position.positionId
            price = filled.deal.executionPrice
            assert filled.position.price == price
            assert filled.position.tradeData.label == "EURUSD_M15"
            assert filled.position.tradeData.comment == "O|2.0"
            (held,) = (await reconcile(client)).position
            assert held.positionId == filled.position.positionId
            assert held.stopLoss == pytest.approx(price - 0.005)
            assert held.takeProfit == pytest.approx(price + 0.007)
            pushed = await other.pushed(api.ProtoOAExecutionEvent, 2)
            assert [event.executionType for event in pushed][:2] == [model.ORDER_ACCEPTED, model.ORDER_FILLED]

    run(scenario)


def test_a_position_is_closed_in_parts_and_the_deals_tell_the_money() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            before = await balance(client)
            opened = await trade(client, new_order(volume=300_000, label="mine"))
            position = opened.position.positionId
            running.server.advance(START + 3600)
            part = await trade(client, close(position, 100_000))
            assert part.order.closingOrder
            assert not part.order.HasField("clientOrderId")
            assert part.deal.closePositionDetail.closedVolume == 100_000
            assert part.position.tradeData.volume == 200_000
            whole = await trade(client, close(position, 200_000))
            assert whole.position.positionStatus == model.POSITION_STATUS_CLOSED
            assert not (await reconcile(client)).position
            deals = (await client.get(on_account(api.ProtoOADealListReq, **SPAN))).deal
            assert [deal.dealId for deal in deals] == [opened.deal.dealId, part.deal.dealId, whole.deal.dealId]
            details = [deal.closePositionDetail for deal in deals if deal.HasField("closePositionDetail")]
            gross = sum(detail.grossProfit + detail.swap for detail in details)
            assert await balance(client) == before + gross + sum(deal.commission for deal in deals)
            assert details[-1].balance == await balance(client)
            mine = on_account(api.ProtoOADealListByPositionIdReq, positionId=position, **SPAN)
            assert list((await client.get(mine)).deal) == list(deals)
            first = await client.get(on_account(api.ProtoOADealListReq, maxRows=1, **SPAN))
            assert (len(first.deal), first.hasMore) == (1, True)

    run(scenario)


def test_a_close_that_is_too_late_or_too_large_is_an_order_error() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            position = (await trade(client, new_order())).position.positionId
            large = await client.ask(close(position, 200_000))
            assert (type(large), large.errorCode) == (api.ProtoOAOrderErrorEvent, "TRADING_BAD_VOLUME")
            await trade(client, close(position, 100_000))
            late = await client.ask(close(position, 100_000))
            assert (type(late), late.errorCode) == (api.ProtoOAOrderErrorEvent, "POSITION_NOT_FOUND")
            assert late.ctidTraderAccountId == ACCOUNT

    run(scenario)


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (new_order(stopLoss=1.0), "ProtoOAErrorRes INVALID_REQUEST"),
        (new_order(clientOrderId="x" * 51), "ProtoOAErrorRes INVALID_REQUEST"),
        (new_order(symbolId=USDJPY, relativeStopLoss=1_050), "ProtoOAErrorRes INVALID_REQUEST"),
        (new_order(guaranteedStopLoss=True, relativeStopLoss=100), "ProtoOAErrorRes INVALID_REQUEST"),
        (new_order(symbolId=99), "ProtoOAOrderErrorEvent SYMBOL_NOT_FOUND"),
        (new_order(volume=99_999), "ProtoOAOrderErrorEvent TRADING_BAD_VOLUME"),
        (new_order(volume=150_001), "ProtoOAOrderErrorEvent TRADING_BAD_VOLUME"),
        (new_order(volume=10**13), "ProtoOAOrderErrorEvent TRADING_BAD_VOLUME"),
        (new_order(volume=0), "ProtoOAOrderErrorEvent TRADING_BAD_VOLUME"),
        (new_order(volume=-100_000), "ProtoOAOrderErrorEvent TRADING_BAD_VOLUME"),
        (new_order("LIMIT", limitPrice=1.1, stopLoss=1.2), "ProtoOAOrderErrorEvent TRADING_BAD_STOPS"),
        (new_order("STOP", stopPrice=0.0), "ProtoOAOrderErrorEvent TRADING_BAD_PRICES"),
        (
            new_order("LIMIT", limitPrice=1.1, timeInForce="GOOD_TILL_DATE", expirationTimestamp=1),
            "ProtoOAOrderErrorEvent TRADING_BAD_EXPIRATION_DATE",
        ),
        (new_order(volume=500_000_000), "ProtoOAExecutionEvent NOT_ENOUGH_MONEY"),
        (on_account(api.ProtoOACancelOrderReq, orderId=5), "ProtoOAOrderErrorEvent ORDER_NOT_FOUND"),
        (on_account(api.ProtoOAAmendOrderReq, orderId=5), "ProtoOAOrderErrorEvent ORDER_NOT_FOUND"),
        (amend(5), "ProtoOAOrderErrorEvent POSITION_NOT_FOUND"),
        (close(5, 100_000), "ProtoOAOrderErrorEvent POSITION_NOT_FOUND"),
    ],
)
def test_each_refusal_has_its_code_and_its_shape_and_leaves_nothing_behind(asked: Any, refusal: str) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            before = await balance(client)
            assert await client.code(asked) == refusal
            left = await reconcile(client)
            assert not left.position
            assert not left.order
            assert await balance(client) == before

    run(scenario)


def test_a_rejection_after_acceptance_is_an_execution_event_with_the_order() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            running.server.exchange.faults.order(OrderFault("refuse", code="MARKET_CLOSED"))
            refused = await client.ask(new_order(clientOrderId="unlucky"))
            assert refused.executionType == model.ORDER_REJECTED
            assert refused.errorCode == "MARKET_CLOSED"
            assert refused.order.orderStatus == model.ORDER_STATUS_REJECTED
            assert refused.order.clientOrderId == "unlucky"
            listed = (await client.get(on_account(api.ProtoOAOrderListReq, **SPAN))).order
            assert [(one.clientOrderId, one.orderStatus) for one in listed] == [
                ("unlucky", model.ORDER_STATUS_REJECTED)
            ]

    run(scenario)


def test_a_stop_too_near_or_on_the_wrong_side_is_refused_when_amending_and_nothing_changes() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            filled = await trade(client, new_order(relativeStopLoss=500))
            position, price = filled.position.positionId, filled.position.price
            wrong = await client.code(amend(position, stopLoss=round(price + 0.01, 5)))
            assert wrong == "ProtoOAOrderErrorEvent TRADING_BAD_STOPS"
            assert await client.code(amend(position, stopLoss=1.1000001)) == "ProtoOAErrorRes INVALID_REQUEST"
            (held,) = (await reconcile(client)).position
            assert held.stopLoss == pytest.approx(price - 0.005)

    run(scenario)


def test_amending_a_position_sets_both_sides_and_what_is_left_out_is_removed() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            filled = await trade(client, new_order(relativeStopLoss=500))
            position, price = filled.position.positionId, filled.position.price
            target = round(price + 0.01, 5)
            replaced = await client.get(amend(position, takeProfit=target, stopLossTriggerMethod="OPPOSITE"))
            assert replaced.executionType == model.ORDER_REPLACED
            assert replaced.order.orderType == model.STOP_LOSS_TAKE_PROFIT
            (held,) = (await reconcile(client)).position
            assert (held.takeProfit, held.HasField("stopLoss")) == (target, False)
            assert held.stopLossTriggerMethod == model.OPPOSITE

    run(scenario)


def test_a_pending_order_is_kept_amended_filled_and_another_one_cancelled() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            quote = running.server.exchange.quote(EURUSD)
            assert quote is not None
            low = round(quote.ask - 0.02, 5)
            accepted = await client.get(new_order("LIMIT", limitPrice=low, clientOrderId="p", relativeStopLoss=900))
            assert accepted.executionType == model.ORDER_ACCEPTED
            (pending,) = (await reconcile(client)).order
            assert (pending.limitPrice, pending.clientOrderId, pending.orderStatus) == (
                low,
                "p",
                model.ORDER_STATUS_ACCEPTED,
            )
            near = round(quote.ask - 0.0001, 5)
            change = on_account(api.ProtoOAAmendOrderReq, orderId=pending.orderId, limitPrice=near, volume=200_000)
            assert (await client.get(change)).executionType == model.ORDER_REPLACED
            other = await client.get(new_order("STOP", stopPrice=round(quote.ask + 0.05, 5)))
            cancelled = await client.get(on_account(api.ProtoOACancelOrderReq, orderId=other.order.orderId))
            assert cancelled.executionType == model.ORDER_CANCELLED
            running.server.advance(START + 86_400)
            fills = await server_fills(client)
            assert fills[0].order.orderId == pending.orderId
            assert fills[0].isServerEvent
            assert fills[0].deal.filledVolume == 200_000
            assert fills[0].deal.executionPrice <= near
            assert not (await reconcile(client)).order

    run(scenario)


def test_a_stop_loss_is_told_as_an_event_of_the_server_that_closes_the_position() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            filled = await trade(client, new_order(relativeStopLoss=50, relativeTakeProfit=50))
            running.server.advance(START + 86_400)
            ends = await server_fills(client)
            assert [event.isServerEvent for event in ends] == [True]
            assert ends[0].position.positionId == filled.position.positionId
            assert ends[0].order.orderType == model.STOP_LOSS_TAKE_PROFIT
            assert ends[0].deal.closePositionDetail.closedVolume == 100_000
            assert not (await reconcile(client)).position

    run(scenario)


def test_a_trailing_stop_that_moves_is_told() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            filled = await trade(client, new_order(relativeStopLoss=200, trailingStopLoss=True))
            (held,) = (await reconcile(client)).position
            assert held.trailingStopLoss
            running.server.advance(START + 86_400)
            moves = await client.pushed(api.ProtoOATrailingSLChangedEvent)
            stops = [move.stopPrice for move in moves]
            assert stops == sorted(stops)
            assert stops[0] > held.stopLoss
            assert {move.positionId for move in moves} == {filled.position.positionId}

    run(scenario)


def test_a_netted_account_merges_what_a_hedged_one_keeps_apart() -> None:
    async def scenario(hedged: bool, positions: int) -> None:
        async with serving(exchange(hedged=hedged)) as running:
            client = await running.client()
            kind = (await client.get(on_account(api.ProtoOATraderReq))).trader.accountType
            assert kind == (model.HEDGED if hedged else model.NETTED)
            await trade(client, new_order(volume=300_000))
            await client.answers(client.send(new_order(side="SELL", volume=100_000)), 2)
            held = (await reconcile(client)).position
            assert len(held) == positions
            net = sum(one.tradeData.volume * (1 if one.tradeData.tradeSide == model.BUY else -1) for one in held)
            assert net == 200_000

    run(lambda: scenario(True, 2))
    run(lambda: scenario(False, 1))


def test_order_details_and_lists_tell_the_same_order() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            filled = await trade(client, new_order(clientOrderId="known"))
            number = filled.order.orderId
            details = await client.get(on_account(api.ProtoOAOrderDetailsReq, orderId=number))
            assert details.order == filled.order
            assert list(details.deal) == [filled.deal]
            listed = (await client.get(on_account(api.ProtoOAOrderListReq, **SPAN))).order
            assert filled.order in listed
            of_position = on_account(api.ProtoOAOrderListByPositionIdReq, positionId=filled.position.positionId, **SPAN)
            assert filled.order in (await client.get(of_position)).order
            unknown = on_account(api.ProtoOAOrderDetailsReq, orderId=1)
            assert await client.code(unknown) == "ProtoOAErrorRes ORDER_NOT_FOUND"

    run(scenario)


def test_margin_expected_is_margin_used_and_profits_float() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            asked = on_account(api.ProtoOAExpectedMarginReq, symbolId=EURUSD, volume=[100_000, 200_000])
            expected = await client.get(asked)
            assert [one.volume for one in expected.margin] == [100_000, 200_000]
            filled = await trade(client, new_order())
            assert filled.position.usedMargin == pytest.approx(expected.margin[0].buyMargin, abs=2)
            unrealised = await client.get(on_account(api.ProtoOAGetPositionUnrealizedPnLReq))
            (floating,) = unrealised.positionUnrealizedPnL
            assert floating.positionId == filled.position.positionId
            assert floating.netUnrealizedPnL <= floating.grossUnrealizedPnL < 0

    run(scenario)


def test_money_that_comes_is_told_and_listed() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            running.server.publish(running.server.exchange.cash(ACCOUNT, -250.5, "fees"))
            (event,) = await client.pushed(api.ProtoOAExecutionEvent)
            assert event.executionType == model.DEPOSIT_WITHDRAW
            flow = event.depositWithdraw
            assert (flow.operationType, flow.delta) == (model.BALANCE_WITHDRAW, 25_050)
            assert flow.balance == await balance(client)
            listed = (await client.get(on_account(api.ProtoOACashFlowHistoryListReq, **SPAN))).depositWithdraw
            assert flow in listed

    run(scenario)


def test_margin_calls_are_listed_changed_and_triggered() -> None:
    async def scenario() -> None:
        async with serving(exchange(leverage=500.0, balance=1_000.0)) as running:
            client, other = await running.client(), await running.client()
            calls = (await client.get(on_account(api.ProtoOAMarginCallListReq))).marginCall
            assert len(calls) == 3
            changed = model.ProtoOAMarginCall(marginCallType=calls[0].marginCallType, marginLevelThreshold=10_000.0)
            await client.get(on_account(api.ProtoOAMarginCallUpdateReq, marginCall=changed))
            for line in (client, other):
                (told,) = await line.pushed(api.ProtoOAMarginCallUpdateEvent)
                assert told.marginCall.marginLevelThreshold == 10_000.0
            await trade(client, new_order(volume=5_000_000))
            running.server.advance(START + 3600)
            triggered = await client.pushed(api.ProtoOAMarginCallTriggerEvent)
            assert triggered[0].marginCall.marginCallType == calls[0].marginCallType

    run(scenario)


def test_a_symbol_that_only_closes_takes_no_orders_and_everybody_learns_of_it() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            position = (await trade(client, new_order())).position.positionId
            running.server.publish(running.server.exchange.set_trading_mode(EURUSD, "CLOSE_ONLY_MODE"))
            (event,) = await client.pushed(api.ProtoOASymbolChangedEvent)
            assert list(event.symbolId) == [EURUSD]
            assert await client.code(new_order()) == "ProtoOAOrderErrorEvent TRADING_DISABLED"
            (symbol,) = (await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[EURUSD]))).symbol
            assert symbol.tradingMode == model.CLOSE_ONLY_MODE
            await trade(client, close(position, 100_000))

    run(scenario)


def test_a_market_range_order_fills_within_its_range_or_is_cancelled() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            quote = running.server.exchange.quote(EURUSD)
            assert quote is not None
            near = new_order("MARKET_RANGE", baseSlippagePrice=round(quote.ask, 5), slippageInPoints=20)
            await trade(client, near)
            far = new_order("MARKET_RANGE", baseSlippagePrice=round(quote.ask - 0.01, 5), slippageInPoints=20)
            answers = await client.answers(client.send(far), 2)
            assert [one.executionType for one in answers] == [model.ORDER_ACCEPTED, model.ORDER_CANCELLED]
            assert len((await reconcile(client)).position) == 1

    run(scenario)


def test_accounts_do_not_see_one_another() -> None:
    async def scenario() -> None:
        async with serving(exchange(accounts=2)) as running:
            first, second = await running.client(ACCOUNT), await running.client(ACCOUNT + 1)
            await trade(first, new_order())
            assert await second.code(new_order()) == "ProtoOAErrorRes ACCOUNT_NOT_AUTHORIZED"
            held = await second.get(api.ProtoOAReconcileReq(ctidTraderAccountId=ACCOUNT + 1))
            assert not held.position
            assert not second.seen(api.ProtoOAExecutionEvent)

    run(scenario)
