"""Orders in detail: what is in the request, what stops everything, and what is never sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.base import AmendIntent, Quote
from oracle_batch.broker.ctrader import reports, translate
from oracle_batch.openapi.messages import api, model
from tests.broker.ctrader.lab import LOT, entry, exit_of, flat, lab, open_gate, opened, run
from tests.market.build import T0, bars

QUOTE = Quote(1.1, 1.10007, 0.0)


def request(quote: Quote | None = QUOTE, limited_risk: bool = False, **more: Any) -> Any:
    return translate.open_request(entry(**more), 7, 3, quote, limited_risk=limited_risk)


def test_a_market_order_carries_relative_protection_and_no_absolute_one() -> None:
    found = request(stop_relative=500, target_relative=1000)
    assert (found.orderType, found.symbolId, found.volume) == (model.MARKET, 3, LOT // 10)
    assert (found.relativeStopLoss, found.relativeTakeProfit) == (500, 1000)
    assert not found.HasField("stopLoss")
    assert not found.HasField("takeProfit")
    assert (found.clientOrderId, found.label, found.comment) == (entry().intent_id, entry().label, entry().comment)
    bare = request()
    assert not bare.HasField("relativeStopLoss")
    assert not bare.HasField("relativeTakeProfit")


@pytest.mark.parametrize(("direction", "base"), [(1, 1.10007), (-1, 1.1)])
def test_limited_slippage_is_a_market_range_around_the_quote(direction: int, base: float) -> None:
    found = request(direction=direction, max_slippage_points=12.7)
    assert (found.orderType, found.baseSlippagePrice, found.slippageInPoints) == (model.MARKET_RANGE, base, 12)
    with pytest.raises(ValueError, match="needs a quote"):
        request(quote=None, max_slippage_points=1)


def test_accounts_of_limited_risk_get_guaranteed_stops() -> None:
    assert request(limited_risk=True, stop_relative=500).guaranteedStopLoss
    assert not request(limited_risk=True).HasField("guaranteedStopLoss")


@pytest.mark.parametrize(
    ("name", "text"), [("label", "x" * 101), ("comment", "x" * 513), ("intent_id", "x" * 51)], ids=["l", "c", "i"]
)
def test_texts_that_the_broker_would_not_take_are_not_sent(tmp_path: Path, name: str, text: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await found.broker.execute([replace(entry(), **{name: text})], open_gate)
            assert (ack.status, ack.reason) == ("FAIL", "INVALID_ORDER")
            assert found.requests("NewOrderReq") == 0

    run(scenario())


def test_an_amendment_always_sends_both_sides() -> None:
    amend = AmendIntent("a", "m", 9, "EURUSD", 1.09, 1.12, 0.0, "double_opposite")
    found = translate.amend_request(amend, 7)
    assert (found.stopLoss, found.takeProfit, found.stopLossTriggerMethod) == (1.09, 1.12, model.DOUBLE_OPPOSITE)
    cleared = translate.amend_request(replace(amend, stop_loss=None), 7)
    assert not cleared.HasField("stopLoss")
    assert cleared.takeProfit == 1.12


def test_a_market_range_order_is_filled_within_its_range(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found, entry(max_slippage_points=50.0))
            assert ack.slippage is not None
            assert ack.slippage <= 0.0005

    run(scenario())


def test_a_range_without_a_quote_and_an_unknown_symbol_are_not_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = {"EURUSD": flat(1.1), "GBPUSD": bars([(1.3,)] * 5, T0 + 10**6)}
        async with lab(tmp_path, series) as found:
            legs = [entry(1, "GBPUSD", max_slippage_points=5.0), entry(2, "NOPE")]
            acks = await found.broker.execute(legs, open_gate)
            assert [(ack.status, ack.reason) for ack in acks] == [("FAIL", "NO_QUOTES"), ("FAIL", "UNKNOWN_SYMBOL")]
            assert found.requests("NewOrderReq") == 0

    run(scenario())


def test_another_trigger_of_the_stop_is_set_once_the_position_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found, entry(stop_relative=500, target_relative=700, stop_trigger="opposite"))
            [position] = found.exchange.reconcile(found.account)[0]
            assert position.stop_trigger == "opposite"
            assert position.stop_loss == pytest.approx((ack.price or 0) - 0.005)
            assert position.take_profit == pytest.approx((ack.price or 0) + 0.007)

    run(scenario())


@pytest.mark.parametrize("code", ["RET_ACCOUNT_DISABLED", "TRADING_NOT_ALLOWED", "CHANNEL_IS_BLOCKED"])
def test_what_stops_everything_holds_back_what_has_not_left(tmp_path: Path, code: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.faults(
                {"fault": "refuse", "on": "NewOrderReq", "code": code},
                {"fault": "delay", "on": "ClosePositionReq", "seconds": 0.2},
            )
            legs = [
                entry(1, "GBPUSD"),
                exit_of(ack.position_id or 0),
                entry(2, direction=-1, after_close=ack.position_id),
            ]
            acks = await found.broker.execute(legs, open_gate)
            assert [(one.status, one.reason) for one in acks] == [("FAIL", code), ("OK", None), ("FAIL", code)]
            assert found.orders(entry(2).intent_id) == 0

    run(scenario())


def test_orders_that_cannot_leave_are_refused_for_certain(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            await found.broker.close()
            acks = await found.broker.execute([entry(2), exit_of(ack.position_id or 0)], open_gate)
            assert [(one.status, one.reason) for one in acks] == [("FAIL", "NO_CONNECTION")] * 2
            assert len(found.deals()) == 1

    run(scenario())


def test_without_a_connection_an_entry_that_waits_for_its_close_does_not_leave_either(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [held] = await opened(found)
            await found.broker.close()
            legs = [exit_of(held.position_id or 0), entry(2, direction=-1, after_close=held.position_id)]
            acks = await found.broker.execute(legs, open_gate)
            assert [(one.status, one.reason) for one in acks] == [
                ("FAIL", "NO_CONNECTION"),
                ("FAIL", "CLOSE_NOT_CONFIRMED"),
            ]

    run(scenario())


def test_deposits_withdrawals_and_the_rest_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            flows = [
                {"operationType": kind, "balanceHistoryId": number, "balance": 1, "delta": delta,
                 "changeBalanceTimestamp": (T0 + number) * 1000, "moneyDigits": 2}
                for number, (kind, delta) in enumerate(
                    [("BALANCE_DEPOSIT", 1000), ("BALANCE_WITHDRAW", 250), ("BALANCE_WITHDRAW_INACTIVITY_FEE", -30)]
                )
            ]  # fmt: skip
            fields = {"ctidTraderAccountId": found.account, "depositWithdraw": flows}
            fault = {"fault": "replace", "on": "CashFlowHistoryListRes", "message": "CashFlowHistoryListRes"}
            found.faults(fault | {"fields": fields, "times": 0})
            told = [(one.kind, one.amount, one.time) for one in await found.broker.cash_flows(T0)]
            assert told == [("deposit", 10.0, T0), ("withdrawal", -2.5, T0 + 1), ("other", -0.3, T0 + 2)]

    run(scenario())


def test_closing_deals_name_their_cause() -> None:
    def of(**fields: Any) -> reports.OrderView:
        data = model.ProtoOATradeData(symbolId=1, volume=1, tradeSide="SELL")
        return reports.order(model.ProtoOAOrder(orderId=1, tradeData=data, orderStatus="ORDER_STATUS_FILLED", **fields))

    protection = {"orderType": "STOP_LOSS_TAKE_PROFIT", "closingOrder": True}
    cases = [
        (of(**protection, stopPrice=1.0, limitPrice=2.0), 1.01, "stop_loss"),
        (of(**protection, stopPrice=1.0, limitPrice=2.0), 1.99, "take_profit"),
        (of(**protection, stopLoss=1.0), 0.9, "stop_loss"),
        (of(**protection, takeProfit=2.0), 2.1, "take_profit"),
        (of(orderType="MARKET", closingOrder=True, isStopOut=True), 1.0, "stop_out"),
        (of(orderType="MARKET", closingOrder=True), 1.0, "order"),
        (None, 1.0, "order"),
    ]
    for view, price, cause in cases:
        assert reports.reason(view, price) == cause


def test_deals_that_traded_nothing_are_none() -> None:
    wire = api.ProtoOADealListRes(ctidTraderAccountId=1, hasMore=False)
    wire.deal.add(
        dealId=1, orderId=2, positionId=3, volume=100, filledVolume=0, symbolId=1, createTimestamp=1,
        executionTimestamp=1, tradeSide="BUY", dealStatus="REJECTED",
    )  # fmt: skip
    assert reports.deal(wire.deal[0], "EURUSD", None, "", 2) is None
    wire.deal[0].dealStatus, wire.deal[0].filledVolume = model.PARTIALLY_FILLED, 50
    found = reports.deal(wire.deal[0], "EURUSD", None, "", 2)
    assert found is not None
    assert found.volume_cents == 50
