"""What nobody asked for at that moment: quotes, executions and other events, told to those whom they concern."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from oracle_batch.broker.base import Quote
from oracle_batch.openapi.messages import api, model
from oracle_batch.openapi.scales import relative
from oracle_batch.sim.events import (
    Event,
    Execution,
    MarginCalled,
    MarginChanged,
    Spot,
    SymbolChanged,
    TrailingStopMoved,
)
from oracle_batch.sim.views import depth
from oracle_batch.sim.wire import Wire

if TYPE_CHECKING:
    from oracle_batch.sim.line import Line
    from oracle_batch.sim.server import Server


def tell(server: Server, event: Event, origin: Line | None, client_msg_id: str) -> None:
    """Send an event to every line that it concerns.

    Executions that answer a request carry its id on the line that it came on.
    """
    if isinstance(event, Spot):
        _tell_spot(server, event)
    elif isinstance(event, SymbolChanged):
        for line in server.lines:
            for account in line.session.accounts:
                line.send(api.ProtoOASymbolChangedEvent(ctidTraderAccountId=account, symbolId=event.symbol_ids))
    else:
        answered = isinstance(event, Execution) and not event.server
        message = _account_event(server.wire, event)
        for line in server.lines_of(event.account_id):
            line.send(message, client_msg_id if answered and line is origin else "")


def first_spot(server: Server, line: Line, account: int, symbol_id: int) -> None:
    """The newest quote, for a new subscription; nothing where there is none yet."""
    quote = server.exchange.quote(symbol_id)
    if quote is not None:
        spot = Spot(symbol_id, quote.bid, quote.ask, quote.time)
        line.send(_spot(server.wire, spot, account, line.session.spots[account, symbol_id], frozenset()))


def first_depth(server: Server, line: Line, account: int, symbol_id: int) -> None:
    """The whole book, for a new subscription; nothing where there is no quote yet."""
    quote = server.exchange.quote(symbol_id)
    if quote is not None:
        _tell_depth(server, line, account, symbol_id, quote)


def _tell_spot(server: Server, spot: Spot) -> None:
    for line in server.lines:
        session = line.session
        for account in session.accounts:
            stamped = session.spots.get((account, spot.symbol_id))
            if stamped is None:
                continue
            line.send(_spot(server.wire, spot, account, stamped, session.periods(account, spot.symbol_id)))
            if (account, spot.symbol_id) in session.depth:
                _tell_depth(server, line, account, spot.symbol_id, Quote(spot.bid, spot.ask, spot.time))


def _tell_depth(server: Server, line: Line, account: int, symbol_id: int, quote: Quote) -> None:
    """What is new in the book since this line was told last, and what is gone."""
    told = line.session.depth[account, symbol_id]
    levels = depth(server.exchange.symbols[symbol_id], quote)
    here = frozenset(level.quote_id for level in levels)
    if here == told:
        return
    line.session.depth[account, symbol_id] = here
    event = api.ProtoOADepthEvent(ctidTraderAccountId=account, symbolId=symbol_id, deletedQuotes=sorted(told - here))
    for level in levels:
        if level.quote_id not in told:
            side = "bid" if level.direction > 0 else "ask"
            event.newQuotes.add(id=level.quote_id, size=level.volume_cents, **{side: relative(level.price)})
    line.send(event)


def _spot(wire: Wire, spot: Spot, account: int, stamped: bool, periods: frozenset[int]) -> Any:
    event = api.ProtoOASpotEvent(
        ctidTraderAccountId=account, symbolId=spot.symbol_id, bid=relative(spot.bid), ask=relative(spot.ask)
    )
    if stamped:
        event.timestamp = wire.ms(spot.time)
    if periods:
        wanted = {model.ProtoOATrendbarPeriod.Name(period) for period in periods}
        event.trendbar.extend(wire.bar(bar) for bar in spot.bars if bar.period in wanted)
    return event


def _account_event(wire: Wire, event: Execution | TrailingStopMoved | MarginChanged | MarginCalled) -> Any:
    if isinstance(event, Execution):
        return _execution(wire, event)
    if isinstance(event, TrailingStopMoved):
        return api.ProtoOATrailingSLChangedEvent(
            ctidTraderAccountId=event.account_id,
            positionId=event.position_id,
            orderId=event.order_id,
            stopPrice=event.stop_price,
            utcLastUpdateTimestamp=wire.ms(event.time),
        )
    if isinstance(event, MarginChanged):
        return api.ProtoOAMarginChangedEvent(
            ctidTraderAccountId=event.account_id,
            positionId=event.position_id,
            usedMargin=event.used_margin,
            moneyDigits=wire.money_digits,
        )
    return api.ProtoOAMarginCallTriggerEvent(
        ctidTraderAccountId=event.account_id, marginCall=wire.margin_call(event.call)
    )


def _execution(wire: Wire, event: Execution) -> Any:
    message = api.ProtoOAExecutionEvent(
        ctidTraderAccountId=event.account_id, executionType=event.kind, isServerEvent=event.server
    )
    for field, part in _parts(wire, event):
        getattr(message, field).CopyFrom(part)
    if event.code:
        message.errorCode = event.code
    return message


def _parts(wire: Wire, event: Execution) -> Iterator[tuple[str, Any]]:
    if event.position is not None:
        yield "position", wire.position(event.position)
    if event.order is not None:
        yield "order", wire.order(event.order)
    if event.deal is not None:
        yield "deal", wire.deal(event.deal)
    if event.cash is not None:
        yield "depositWithdraw", wire.cash_flow(event.cash)
