"""Spotware's own client sends 20 orders as soon as it can; a child process, because its reactor is the process's own.

Arguments: host, port, client id, secret, access token, account, symbol id, orders. Prints the monotonic nanosecond at
which the first order was handed to the client.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from ctrader_open_api import Client, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import (
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOANewOrderReq,
)
from twisted.internet import reactor

HOST, PORT, CLIENT_ID, SECRET, TOKEN, ACCOUNT, SYMBOL, ORDERS = sys.argv[1:]


def trade(client: Any) -> None:
    """Hand all orders over at once; the client queues them."""
    print(time.monotonic_ns(), flush=True)
    for number in range(int(ORDERS)):
        order = ProtoOANewOrderReq(
            ctidTraderAccountId=int(ACCOUNT),
            symbolId=int(SYMBOL),
            orderType="MARKET",
            tradeSide="BUY",
            volume=100_000,
            label="bench",
            clientOrderId=f"spotware-{number}",
        )
        client.send(order, responseTimeoutInSeconds=60).addErrback(lambda failure: print(failure, file=sys.stderr))


def connected(client: Any) -> None:
    """Application, account, orders."""
    done = client.send(ProtoOAApplicationAuthReq(clientId=CLIENT_ID, clientSecret=SECRET))
    account = ProtoOAAccountAuthReq(ctidTraderAccountId=int(ACCOUNT), accessToken=TOKEN)
    done.addCallback(lambda _: client.send(account))
    done.addCallback(lambda _: trade(client))


client = Client(HOST, int(PORT), TcpProtocol)
client.setConnectedCallback(connected)
client.startService()
reactor.callLater(60, reactor.stop)
reactor.run()
