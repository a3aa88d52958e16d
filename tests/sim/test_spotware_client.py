"""Spotware's own client, in a process of its own, trades with the simulator and finds what its documentation says."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.sim.market import ACCOUNT, EURUSD, START, exchange
from tests.sim.serving import CLIENT_ID, CLIENT_SECRET, run, serving

CHILD = Path(__file__).with_name("spotware_child.py")
MS = 1000

pytestmark = pytest.mark.slow


class Heard:
    """What the child told, by message class."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines = lines

    def every(self, name: str) -> list[dict[str, Any]]:
        return [line["fields"] for line in self.lines if line["class"] == f"ProtoOA{name}"]

    def one(self, name: str) -> dict[str, Any]:
        found = self.every(name)
        assert len(found) == 1, (name, found)
        return found[0]


@cache
def session() -> Heard:
    """One session of the child, told once for all tests."""
    lines: list[dict[str, Any]] = []

    async def scenario() -> None:
        async with serving(exchange()) as running:
            tokens = running.server.tokens
            arguments = (running.port, CLIENT_ID, CLIENT_SECRET, tokens.current.access_token, ACCOUNT, int(START))
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", str(CHILD), "127.0.0.1", *map(str, arguments)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=2**22,
            )
            assert child.stdout is not None
            assert child.stderr is not None
            async for line in child.stdout:
                if line.strip() == b"MARKET":
                    running.server.advance(running.server.exchange.now + 600)
                else:
                    lines.append(json.loads(line))
            errors = (await child.stderr.read()).decode()
            assert await child.wait() == 0, errors
            assert running.server.traffic.rates.max_per_second <= 50

    run(scenario)
    return Heard(lines)


def test_it_connects_authenticates_and_is_told_who_it_is() -> None:
    heard = session()
    assert heard.every("ApplicationAuthRes") == [{}]
    assert heard.one("VersionRes")["version"]
    assert heard.one("AccountAuthRes")["ctidTraderAccountId"] == str(ACCOUNT)
    accounts = heard.one("GetAccountListByAccessTokenRes")
    assert accounts["permissionScope"] == "SCOPE_TRADE"
    (account,) = accounts["ctidTraderAccount"]
    assert (account["ctidTraderAccountId"], account["isLive"]) == (str(ACCOUNT), False)
    trader = heard.one("TraderRes")["trader"]
    assert int(trader["balance"]) / 10 ** trader["moneyDigits"] == 10_000
    assert (trader["accountType"], trader["leverageInCents"]) == ("HEDGED", 10_000)


def test_it_never_meets_an_error() -> None:
    heard = session()
    assert not [line for line in heard.lines if "Error" in line["class"]]
    assert all(event["executionType"] != "ORDER_REJECTED" for event in heard.every("ExecutionEvent"))


def test_it_lists_symbols_and_reads_their_terms() -> None:
    heard = session()
    symbols = {one["symbolName"]: one for one in heard.one("SymbolsListRes")["symbol"]}
    assets = {one["assetId"]: one["name"] for one in heard.one("AssetListRes")["asset"]}
    euro = symbols["EURUSD"]
    assert (assets[euro["baseAssetId"]], assets[euro["quoteAssetId"]]) == ("EUR", "USD")
    (full,) = heard.one("SymbolByIdRes")["symbol"]
    assert (full["digits"], full["pipPosition"], full["lotSize"]) == (5, 4, "10000000")
    assert (full["minVolume"], full["stepVolume"]) == ("100000", "100000")
    assert full["schedule"]


def test_it_gets_spots_with_live_bars_in_hundred_thousandths() -> None:
    spots = session().every("SpotEvent")
    assert all(1.0 < int(spot["bid"]) / 1e5 < int(spot["ask"]) / 1e5 < 1.3 for spot in spots)
    assert all(int(spot["timestamp"]) >= (START - 900) * MS for spot in spots)
    bars = [bar for spot in spots for bar in spot.get("trendbar", [])]
    assert {bar["period"] for bar in bars} == {"M15"}
    assert {bar["utcTimestampInMinutes"] * 60 for bar in bars} == {int(START)}


def test_it_reads_bars_oldest_first() -> None:
    answer = session().one("GetTrendbarsRes")
    assert (answer["period"], answer["symbolId"]) == ("M15", str(EURUSD))
    bars = answer["trendbar"]
    assert len(bars) == 20
    times = [bar["utcTimestampInMinutes"] * 60 for bar in bars]
    assert times == [int(START) - 900 * step for step in reversed(range(20))]
    for bar in bars:
        assert int(bar["deltaHigh"]) >= max(int(bar["deltaOpen"]), int(bar["deltaClose"]))


def test_it_trades_amends_reconciles_and_closes() -> None:
    heard = session()
    events = heard.every("ExecutionEvent")
    mine = [event for event in events if event.get("order", {}).get("clientOrderId") == "order-1"]
    assert [event["executionType"] for event in mine] == ["ORDER_ACCEPTED", "ORDER_FILLED"]
    deal, position = mine[1]["deal"], mine[1]["position"]
    assert (deal["dealStatus"], deal["filledVolume"], deal["tradeSide"]) == ("FILLED", "200000", "BUY")
    assert (position["tradeData"]["label"], position["tradeData"]["comment"]) == ("a-label", "a comment")
    assert position["price"] == deal["executionPrice"]
    amended = [event for event in events if event["executionType"] == "ORDER_REPLACED"]
    assert amended[-1]["order"]["orderType"] == "STOP_LOSS_TAKE_PROFIT"
    before, after = heard.every("ReconcileRes")
    (held,) = before["position"]
    assert held["stopLoss"] == pytest.approx(deal["executionPrice"] - 0.01, abs=1e-6)
    assert held["takeProfit"] == pytest.approx(deal["executionPrice"] + 0.01, abs=1e-6)
    assert "position" not in after
    closes = [event["deal"] for event in events if "closePositionDetail" in event.get("deal", {})]
    assert [one["closePositionDetail"]["closedVolume"] for one in closes] == ["100000", "100000"]
    listed = heard.one("DealListRes")
    assert [one["dealId"] for one in listed["deal"]] == [deal["dealId"], *(one["dealId"] for one in closes)]
    assert listed["hasMore"] is False
    assert heard.one("AccountLogoutRes")["ctidTraderAccountId"] == str(ACCOUNT)


def test_answers_carry_the_id_of_their_request_and_events_of_the_server_none() -> None:
    heard = session()
    for line in heard.lines:
        name, fields = line["class"], line["fields"]
        if name.endswith("Res"):
            assert line["answered"], name
        if name in ("ProtoOASpotEvent", "ProtoOAAccountDisconnectEvent") or fields.get("isServerEvent"):
            assert not line["answered"], name
