"""What the market does to accounts, over the wire: hours, least distances, stop-outs, swaps."""

from __future__ import annotations

from typing import Any

import pytest

from oracle_batch.market.spec_file import ScheduleSettings, SymbolSettings
from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.exchange import Exchange
from tests.sim.market import EURUSD, START, exchange, new_order, on_account, reconcile, subscribe, trade
from tests.sim.serving import Client, run, serving

NEW_YORK = "America/New_York"
WEEK = ("Sun 17:05-Fri 16:59",)


def market(*sessions: str, holidays: tuple[str, ...] = (), **terms: Any) -> Exchange:
    hours = ScheduleSettings(NEW_YORK, sessions, holidays) if sessions else None
    return exchange(settings={"EURUSD": SymbolSettings(schedule=hours, **terms)})


async def executions(client: Client, kind: str, amount: int = 1) -> list[Any]:
    number = model.ProtoOAExecutionType.Value(kind)

    def found() -> list[Any]:
        return [event for event in client.seen(api.ProtoOAExecutionEvent) if event.executionType == number]

    await client.until(lambda: len(found()) >= amount)
    return found()


@pytest.mark.parametrize(
    ("sessions", "holidays", "code"),
    [
        (("Mon 08:00-Mon 16:30",), (), "MARKET_CLOSED"),
        (WEEK, ("2026-07-23",), "SYMBOL_HAS_HOLIDAY"),
        (WEEK, ("07-23 07:00-09:00",), "SYMBOL_HAS_HOLIDAY"),
    ],
)
def test_a_closed_market_takes_neither_orders_nor_closes_and_still_quotes(
    sessions: tuple[str, ...], holidays: tuple[str, ...], code: str
) -> None:
    async def scenario() -> None:
        async with serving(market(*sessions, holidays=holidays)) as running:
            client = await running.client()
            assert await client.code(new_order()) == f"ProtoOAOrderErrorEvent {code}"
            await subscribe(client)
            await client.pushed(api.ProtoOASpotEvent)
            (symbol,) = (await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[EURUSD]))).symbol
            assert symbol.scheduleTimeZone == NEW_YORK
            assert len(symbol.holiday) == len(holidays)

    run(scenario)


def test_the_hours_told_are_those_that_are_kept() -> None:
    async def scenario() -> None:
        async with serving(market(*WEEK)) as running:
            client = await running.client()
            position = (await trade(client, new_order())).position.positionId
            close = on_account(api.ProtoOAClosePositionReq, positionId=position, volume=100_000)
            (symbol,) = (await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[EURUSD]))).symbol
            assert [(one.startSecond, one.endSecond) for one in symbol.schedule] == [
                (17 * 3600 + 300, 5 * 86400 + 16 * 3600 + 59 * 60)
            ]
            friday_evening = START + 86_400 + 9.5 * 3600
            running.server.advance(friday_evening)
            assert await client.code(close) == "ProtoOAOrderErrorEvent MARKET_CLOSED"
            assert len((await reconcile(client)).position) == 1

    run(scenario)


def test_protection_keeps_the_least_distance_that_the_symbol_tells() -> None:
    async def scenario() -> None:
        async with serving(market(min_stop_points=50, min_target_points=80)) as running:
            client = await running.client()
            (symbol,) = (await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[EURUSD]))).symbol
            assert (symbol.slDistance, symbol.tpDistance) == (50, 80)
            near = new_order(relativeStopLoss=20)
            assert await client.code(near) == "ProtoOAOrderErrorEvent PROTECTION_IS_TOO_CLOSE_TO_MARKET"
            assert not (await reconcile(client)).position
            await trade(client, new_order(relativeStopLoss=200, relativeTakeProfit=200))

    run(scenario)


def test_a_stop_out_is_the_servers_own_and_says_so() -> None:
    async def scenario() -> None:
        async with serving(exchange(leverage=1_000.0, balance=100.0)) as running:
            client = await running.client()
            await trade(client, new_order(volume=7_000_000))
            await trade(client, new_order(symbolId=2, side="SELL", volume=100_000))
            running.server.advance(START + 86_400)
            fills = await executions(client, "ORDER_FILLED")
            assert fills[0].isServerEvent
            assert fills[0].order.isStopOut
            assert fills[0].position.positionStatus == model.POSITION_STATUS_CLOSED
            assert not fills[0].order.HasField("clientOrderId")

    run(scenario)


def test_the_margin_of_a_position_is_told_when_it_changes() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            opened = await trade(client, new_order(volume=200_000))
            position = opened.position.positionId
            (first,) = await client.pushed(api.ProtoOAMarginChangedEvent)
            assert (first.positionId, first.usedMargin) == (position, opened.position.usedMargin)
            await trade(client, on_account(api.ProtoOAClosePositionReq, positionId=position, volume=100_000))
            changes = await client.pushed(api.ProtoOAMarginChangedEvent, 2)
            assert changes[1].usedMargin == pytest.approx(first.usedMargin / 2, abs=1)

    run(scenario)


def test_nights_are_charged_and_told() -> None:
    async def scenario() -> None:
        async with serving(market(swap_long_points=-8.0)) as running:
            client = await running.client()
            await trade(client, new_order(volume=1_000_000))
            running.server.advance(START + 86_400 - 3_600)
            (charged,) = await executions(client, "SWAP")
            assert charged.isServerEvent
            assert charged.position.swap < 0
            (held,) = (await reconcile(client)).position
            assert held.swap == charged.position.swap
            (symbol,) = (await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[EURUSD]))).symbol
            assert symbol.swapLong == pytest.approx(-0.8)

    run(scenario)
