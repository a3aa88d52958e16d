"""A market of the sample bars, and requests that most scenarios need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.exchange import Exchange
from tests.sim.serving import Client

DATA = Path(__file__).parents[2] / "data"
START = 1_784_808_000.0
"""Thursday 2026-07-23 12:00 UTC."""
ACCOUNT = 1_000_001
EURUSD, USDJPY = 1, 2
LOT = 10_000_000
MILLION = 1_000_000.0


def exchange(**options: Any) -> Exchange:
    return Exchange(DATA, ("EURUSD", "USDJPY"), ("M15", "H1"), START, **options)


def on_account(kind: type[Any], **fields: Any) -> Any:
    return kind(ctidTraderAccountId=ACCOUNT, **fields)


def new_order(kind: str = "MARKET", side: str = "BUY", **fields: Any) -> Any:
    fields = {"symbolId": EURUSD, "volume": 100_000} | fields
    return on_account(api.ProtoOANewOrderReq, orderType=kind, tradeSide=side, **fields)


async def trade(client: Client, request: Any) -> Any:
    """Carry out a request that is filled at once; the event of the fill."""
    accepted, filled = await client.answers(client.send(request), 2)
    assert accepted.executionType == model.ORDER_ACCEPTED, accepted
    assert filled.executionType == model.ORDER_FILLED, filled
    return filled


async def reconcile(client: Client) -> Any:
    return await client.get(on_account(api.ProtoOAReconcileReq))


async def subscribe(client: Client, *symbols: int) -> None:
    await client.get(on_account(api.ProtoOASubscribeSpotsReq, symbolId=symbols or (EURUSD,)))
