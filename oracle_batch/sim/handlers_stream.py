"""Subscriptions: spots, the live bars that ride on them, depth."""

from __future__ import annotations

from typing import Final

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim import pushes
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.handlers_market import find_symbol
from oracle_batch.sim.refused import Refused


def subscribe_spots(call: Call) -> None:
    """Tell quotes from now on; the newest one comes at once, also while the market is closed."""
    account, wanted = call.account, list(call.message.symbolId)
    for symbol_id in wanted:
        find_symbol(call, symbol_id)
        if (account, symbol_id) in call.session.spots:
            raise Refused("ALREADY_SUBSCRIBED", f"Already subscribed to spots of symbol {symbol_id}")
    for symbol_id in wanted:
        call.session.spots[account, symbol_id] = call.message.subscribeToSpotTimestamp
    call.server.watch()
    call.reply(api.ProtoOASubscribeSpotsRes(ctidTraderAccountId=account))
    for symbol_id in wanted:
        pushes.first_spot(call.server, call.line, account, symbol_id)


def unsubscribe_spots(call: Call) -> None:
    """No quotes any more, nor what rides on them."""
    for symbol_id in call.message.symbolId:
        _need_spots(call, symbol_id)
    for symbol_id in call.message.symbolId:
        call.session.unsubscribe_spots(call.account, symbol_id)
    call.server.watch()
    call.reply(api.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=call.account))


def subscribe_bars(call: Call) -> None:
    """Let spot events carry the bar in progress of a period."""
    symbol_id, key = call.message.symbolId, _bars_key(call)
    find_symbol(call, symbol_id)
    _need_spots(call, symbol_id)
    if key in call.session.bars:
        raise Refused("ALREADY_SUBSCRIBED", f"Already subscribed to these trend bars of symbol {symbol_id}")
    call.session.bars.add(key)
    call.server.exchange.follow(symbol_id, model.ProtoOATrendbarPeriod.Name(call.message.period))
    call.reply(api.ProtoOASubscribeLiveTrendbarRes(ctidTraderAccountId=call.account))


def unsubscribe_bars(call: Call) -> None:
    """Let spot events carry them no more."""
    call.session.bars.discard(_bars_key(call))
    call.reply(api.ProtoOAUnsubscribeLiveTrendbarRes(ctidTraderAccountId=call.account))


def subscribe_depth(call: Call) -> None:
    """Tell the levels of the book from now on; those of now come at once."""
    account, wanted = call.account, list(call.message.symbolId)
    for symbol_id in wanted:
        find_symbol(call, symbol_id)
        _need_spots(call, symbol_id)
        if (account, symbol_id) in call.session.depth:
            raise Refused("ALREADY_SUBSCRIBED", f"Already subscribed to depth of symbol {symbol_id}")
    call.reply(api.ProtoOASubscribeDepthQuotesRes(ctidTraderAccountId=account))
    for symbol_id in wanted:
        call.session.depth[account, symbol_id] = frozenset()
        pushes.first_depth(call.server, call.line, account, symbol_id)


def unsubscribe_depth(call: Call) -> None:
    """No levels any more."""
    for symbol_id in call.message.symbolId:
        call.session.depth.pop((call.account, symbol_id), None)
    call.reply(api.ProtoOAUnsubscribeDepthQuotesRes(ctidTraderAccountId=call.account))


def _bars_key(call: Call) -> tuple[int, int, int]:
    return call.account, call.message.symbolId, call.message.period


def _need_spots(call: Call, symbol_id: int) -> None:
    if (call.account, symbol_id) not in call.session.spots:
        raise Refused("NOT_SUBSCRIBED_TO_SPOTS", f"Not subscribed to spots of symbol {symbol_id}")


ROUTES: Final[Routes] = {
    api.ProtoOASubscribeSpotsReq: Route(subscribe_spots),
    api.ProtoOAUnsubscribeSpotsReq: Route(unsubscribe_spots),
    api.ProtoOASubscribeLiveTrendbarReq: Route(subscribe_bars),
    api.ProtoOAUnsubscribeLiveTrendbarReq: Route(unsubscribe_bars),
    api.ProtoOASubscribeDepthQuotesReq: Route(subscribe_depth),
    api.ProtoOAUnsubscribeDepthQuotesReq: Route(unsubscribe_depth),
}
