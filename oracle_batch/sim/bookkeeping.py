"""The bookkeeping of one account: what happens in its engine becomes records and events."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from oracle_batch.market.book import Book, BookedDeal, exact
from oracle_batch.market.fills import Fill, exit_quote
from oracle_batch.market.live import LiveEngine
from oracle_batch.sim.events import Event, Execution, ExecutionKind, MarginChanged, TrailingStopMoved
from oracle_batch.sim.ledger import Ledger
from oracle_batch.sim.symbols import Listing
from oracle_batch.sim.values import OrderRequest, OrderStatus, OrderView, PositionView, Rejection, SymbolInfo


class Bookkeeping:
    """An engine and its ledger. Methods change both and tell what changed."""

    def __init__(self, account_id: int, engine: LiveEngine, listing: Listing) -> None:
        self.account_id = account_id
        self.engine = engine
        self.ledger = Ledger(listing, engine.book.balance)
        self.listing = listing

    def position_view(self, position_id: int) -> PositionView | None:
        """An open position as it looks from outside."""
        position = self.engine.book.position(position_id)
        if position is None:
            return None
        return self.ledger.position(position, trailing=position_id in self.engine.trailing)

    @property
    def now(self) -> float:
        return self.engine.book.clock

    def event(
        self,
        kind: ExecutionKind,
        order: OrderView | None = None,
        position: PositionView | None = None,
        *,
        server: bool = False,
        code: str = "",
    ) -> Execution:
        """An event of this account, now."""
        return Execution(self.account_id, kind, self.now, order, position, server=server, code=code)

    def accept(self, request: OrderRequest, order_id: int | None = None) -> OrderView:
        """Note a new order; it has an id already where the engine has carried it out."""
        order_id = self.engine.new_order_id() if order_id is None else order_id
        view = OrderView(order_id, request, "ACCEPTED", self.now, self.now, position_id=request.position_id)
        return self.ledger.keep(view)

    def rejected(self, request: OrderRequest, rejection: Rejection) -> Rejection:
        """Note an order that was not taken."""
        view = replace(self.accept(request), status="REJECTED")
        return replace(rejection, order=self.ledger.keep(view), order_id=view.order_id)

    def ended(
        self, order_id: int, status: OrderStatus, kind: ExecutionKind, *, server: bool = False, code: str = ""
    ) -> Event:
        """Note that an order goes no further."""
        view = self.ledger.ended(order_id, status, self.now)
        position = self.position_view(view.position_id) if view.position_id is not None else None
        return self.event(kind, view, position, server=server, code=code)

    def answer(self, request: OrderRequest, fill: Fill, before: Book, info: SymbolInfo) -> list[Event]:
        """ACCEPTED, then what was filled; less than asked for ends in a cancellation."""
        closing = fill.deals[-1].closing
        held = before.position(fill.position_id)
        held_view = self.ledger.position(held, trailing=held.position_id in self.engine.trailing) if held else None
        view = replace(self.accept(request, fill.order_id), position_id=fill.position_id, closing=closing)
        events: list[Event] = [self.event("ORDER_ACCEPTED", self.ledger.keep(view), held_view)]
        filled = sum(deal.volume_cents for deal in fill.deals)
        events += self.filled(view, fill, before, info, server=False, whole=filled == request.volume_cents)
        if filled < request.volume_cents:
            events.append(self.ended(view.order_id, "CANCELLED", "ORDER_CANCELLED"))
        return events

    def filled(
        self, view: OrderView, fill: Fill, before: Book, info: SymbolInfo, *, server: bool, whole: bool = True
    ) -> list[Event]:
        """The deals of an order that came to the market, and the protection of what it opened."""
        opened = self.engine.book.position(fill.position_id) if not fill.deals[-1].closing else None
        if opened is not None and before.position(fill.position_id) is None:
            rate = self.engine.pricing.rates.margin_rate(info.contract, opened.entry_price, self.now).value
            self.ledger.opened(fill.position_id, rate)
        events = self.executed(view, fill.deals, before, server=server, whole=whole)
        if opened is not None:
            if view.request.trailing_stop:
                self.set_trailing(fill.position_id, True)
            events += self.protect(fill.position_id, server=True)
        return events

    def executed(
        self, view: OrderView, deals: Sequence[BookedDeal], before: Book, *, server: bool, whole: bool = True
    ) -> list[Event]:
        """The deals of an order, one event each; only the last of a whole fill says FILLED."""
        events: list[Event] = []
        for number, deal in enumerate(deals, 1):
            last = whole and number == len(deals)
            view = self.ledger.keep(
                replace(
                    view,
                    status="FILLED" if last else "ACCEPTED",
                    execution_price=deal.price,
                    executed_cents=view.executed_cents + deal.volume_cents,
                    updated_at=self.now,
                    position_id=deal.position_id,
                )
            )
            kind: ExecutionKind = "ORDER_FILLED" if last else "ORDER_PARTIAL_FILL"
            booked = self.ledger.book(deal, before, view.request.volume_cents, view.created_at)
            position = self.position_after(deal.position_id, before)
            events.append(Execution(self.account_id, kind, self.now, view, position, booked, server=server))
            margin = position.used_margin if position is not None else 0
            events.append(MarginChanged(self.account_id, deal.position_id, margin, self.now))
            if deal.closing:
                events += self.protect(deal.position_id, server=True)
        return events

    def position_after(self, position_id: int, before: Book) -> PositionView | None:
        """A position after a deal; one that is gone without volume."""
        held = self.position_view(position_id)
        gone = before.position(position_id)
        return held if held is not None or gone is None else self.ledger.position(gone, trailing=False, is_open=False)

    def closed_by_market(self, deal: BookedDeal, before: Book) -> list[Event]:
        """A deal that nobody asked for: a protection order's, or a stop-out."""
        view = self.ledger.orders.get(deal.order_id)
        if view is None:
            request = OrderRequest(
                symbol_id=self.listing.info(deal.symbol).symbol_id,
                order_type="MARKET",
                direction=deal.direction,
                volume_cents=deal.volume_cents,
                position_id=deal.position_id,
                label=deal.label,
            )
            view = OrderView(
                deal.order_id,
                request,
                "ACCEPTED",
                self.now,
                self.now,
                position_id=deal.position_id,
                closing=True,
                stop_out=deal.reason == "stop_out",
            )
        return self.executed(view, [deal], before, server=True)

    def set_trailing(self, position_id: int, wanted: bool) -> None:
        """A trailing stop keeps the distance that it has from the market now."""
        self.engine.trailing.pop(position_id, None)
        position = self.engine.book.position(position_id)
        if wanted and position is not None and position.stop_loss is not None:
            quote = self.engine.quote(position.symbol)
            bid = quote.bid if quote is not None else position.mark
            market = exit_quote(position.contract, position.direction, bid)
            self.engine.trailing[position_id] = abs(float(exact(market) - exact(position.stop_loss)))

    def protect(self, position_id: int, *, server: bool) -> list[Event]:
        """Bring the protection order of a position in line with it."""
        position, orders = self.engine.book.position(position_id), self.engine.protection_orders
        if position is None or (position.stop_loss is None and position.take_profit is None):
            order_id = orders.pop(position_id, None)
            self.engine.trailing.pop(position_id, None)
            if order_id is None or self.ledger.orders[order_id].status != "ACCEPTED":
                return []
            return [self.ended(order_id, "CANCELLED", "ORDER_CANCELLED", server=server)]
        known = position_id in orders
        if not known:
            orders[position_id] = self.engine.new_order_id()
        order_id = orders[position_id]
        trailing = position_id in self.engine.trailing
        before = self.ledger.orders.get(order_id)
        view = self.ledger.protection(position, order_id, self.now, trailing=trailing)
        if server and before is not None and before.request == view.request:
            return []
        kind: ExecutionKind = "ORDER_REPLACED" if known else "ORDER_ACCEPTED"
        return [self.event(kind, view, self.position_view(position_id), server=server)]

    def trailed(self, position_id: int) -> Event:
        """A stop that followed the price."""
        position = self.engine.book.position(position_id)
        assert position is not None
        assert position.stop_loss is not None
        order_id = self.engine.protection_orders[position_id]
        self.ledger.protection(position, order_id, self.now, trailing=True)
        self.ledger.touch(position_id, self.now)
        return TrailingStopMoved(self.account_id, position_id, order_id, position.stop_loss, self.now)
