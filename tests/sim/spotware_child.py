"""Spotware's own client as a user would write with it: connect, authenticate, look, subscribe, trade, amend, close.

Arguments: host, port, client id, client secret, access token, account, the market's time. Prints every message that it
gets as one line of JSON: its class, its fields by their public names, and what it was the answer to. ``MARKET`` on
stdout asks whoever started it to let the market move.
"""

import itertools
import json
import sys

from ctrader_open_api import Client, Protobuf, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import (
    ProtoOAAccountAuthReq,
    ProtoOAAccountLogoutReq,
    ProtoOAAmendPositionSLTPReq,
    ProtoOAApplicationAuthReq,
    ProtoOAAssetListReq,
    ProtoOAClosePositionReq,
    ProtoOADealListReq,
    ProtoOAExecutionEvent,
    ProtoOAGetAccountListByAccessTokenReq,
    ProtoOAGetTrendbarsReq,
    ProtoOANewOrderReq,
    ProtoOAReconcileReq,
    ProtoOASpotEvent,
    ProtoOASubscribeLiveTrendbarReq,
    ProtoOASubscribeSpotsReq,
    ProtoOASymbolByIdReq,
    ProtoOASymbolsListReq,
    ProtoOATraderReq,
    ProtoOAVersionReq,
)
from ctrader_open_api.messages.OpenApiModelMessages_pb2 import ProtoOAExecutionType, ProtoOATrendbarPeriod
from google.protobuf.json_format import MessageToDict
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks

HOST, PORT, CLIENT_ID, SECRET, TOKEN, ACCOUNT, NOW = sys.argv[1:8]
ACCOUNT = int(ACCOUNT)
DAY = {"fromTimestamp": (int(NOW) - 86400) * 1000, "toTimestamp": (int(NOW) + 86400) * 1000}
waiting = []
numbers = itertools.count(1)
failed = []


def show(message, answered=""):
    fields = MessageToDict(message, preserving_proto_field_name=True)
    print(json.dumps({"class": type(message).__name__, "answered": answered, "fields": fields}), flush=True)
    return message


def on_message(client, message):
    found = show(Protobuf.extract(message), message.clientMsgId)
    for test, deferred in list(waiting):
        if test(found):
            waiting.remove((test, deferred))
            deferred.callback(found)


def until(test):
    deferred = Deferred()
    waiting.append((test, deferred))
    return deferred.addTimeout(60, reactor)


def send(client, request):
    """The answer to a request under an id of ours: the client's own is an object's address, which may be another's soon
    while a later message about that one is still to come."""
    return client.send(request, clientMsgId=f"m-{next(numbers)}")


@inlineCallbacks
def every(client, *requests):
    answers = yield DeferredList([send(client, request) for request in requests], fireOnOneErrback=True)
    return [Protobuf.extract(answer) for _, answer in answers]


def filled(found):
    return isinstance(found, ProtoOAExecutionEvent) and found.executionType == ProtoOAExecutionType.ORDER_FILLED


@inlineCallbacks
def session(client):
    account = {"ctidTraderAccountId": ACCOUNT}
    yield send(client, ProtoOAApplicationAuthReq(clientId=CLIENT_ID, clientSecret=SECRET))
    yield every(client, ProtoOAVersionReq(), ProtoOAGetAccountListByAccessTokenReq(accessToken=TOKEN))
    yield send(client, ProtoOAAccountAuthReq(accessToken=TOKEN, **account))
    _, symbols, _ = yield every(
        client, ProtoOAAssetListReq(**account), ProtoOASymbolsListReq(**account), ProtoOATraderReq(**account)
    )
    symbol = next(one.symbolId for one in symbols.symbol if one.symbolName == "EURUSD")
    yield every(
        client,
        ProtoOASymbolByIdReq(symbolId=[symbol], **account),
        ProtoOASubscribeSpotsReq(symbolId=[symbol], subscribeToSpotTimestamp=True, **account),
        ProtoOASubscribeLiveTrendbarReq(symbolId=symbol, period=ProtoOATrendbarPeriod.M15, **account),
        ProtoOAGetTrendbarsReq(symbolId=symbol, period=ProtoOATrendbarPeriod.M15, count=20, **DAY, **account),
    )
    live = until(lambda found: isinstance(found, ProtoOASpotEvent) and found.trendbar)
    print("MARKET", flush=True)
    yield live
    fill = until(filled)
    send(
        client,
        ProtoOANewOrderReq(
            symbolId=symbol,
            orderType="MARKET",
            tradeSide="BUY",
            volume=200_000,
            label="a-label",
            comment="a comment",
            clientOrderId="order-1",
            relativeStopLoss=500,
            **account,
        ),
    )
    bought = yield fill
    position = bought.position.positionId
    yield send(
        client,
        ProtoOAAmendPositionSLTPReq(
            positionId=position,
            stopLoss=round(bought.deal.executionPrice - 0.01, 5),
            takeProfit=round(bought.deal.executionPrice + 0.01, 5),
            **account,
        ),
    )
    yield send(client, ProtoOAReconcileReq(**account))
    fill = until(filled)
    send(client, ProtoOAClosePositionReq(positionId=position, volume=100_000, **account))
    yield fill
    fill = until(filled)
    send(client, ProtoOAClosePositionReq(positionId=position, volume=100_000, **account))
    yield fill
    yield every(client, ProtoOAReconcileReq(**account), ProtoOADealListReq(**DAY, **account))
    yield send(client, ProtoOAAccountLogoutReq(**account))


def on_connected(client):
    done = session(client)
    done.addErrback(lambda failure: failed.append(failure.getTraceback()))
    done.addBoth(lambda _: reactor.stop())


client = Client(HOST, int(PORT), TcpProtocol, numberOfMessagesToSendPerSecond=20)
client.setConnectedCallback(on_connected)
client.setMessageReceivedCallback(on_message)
client.startService()
reactor.callLater(120, reactor.stop)
reactor.run()
sys.exit("\n".join(failed) if failed else 0)
