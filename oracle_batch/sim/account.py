"""One account: its orders against the market, and what becomes of them, told as events."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from oracle_batch.broker.base import StopTrigger
from oracle_batch.hands.prices import grid
from oracle_batch.market.book import exact
from oracle_batch.market.fills import Refusal, deal_price
from oracle_batch.market.live import LiveEngine
from oracle_batch.market.pending import Pending, entry_quote, met
from oracle_batch.market.track import Point
from oracle_batch.sim.bookkeeping import Bookkeeping
from oracle_batch.sim.events import Event, Execution, ExecutionKind, MarginCalled
from oracle_batch.sim.market_faults import OrderFault
from oracle_batch.sim.symbols import Listing
from oracle_batch.sim.values import MarginCall, OrderRequest, OrderStatus, OrderView, Rejection, SymbolInfo
from oracle_batch.sim.waiting import Waiting, order_of, pending_of, pending_rejection

MARGIN_CALLS: Final = (100.0, 75.0, 60.0)
"""Margin levels in per cent at which the account is warned."""
_AT_ONCE: Final = ("IMMEDIATE_OR_CANCEL", "FILL_OR_KILL")


class AccountDesk(Bookkeeping):
    """Requests must have passed ``checks``; the desk answers what the market says to them."""

    def __init__(self, account_id: int, engine: LiveEngine, listing: Listing, stop_out_pct: float) -> None:
        super().__init__(account_id, engine, listing)
        self.registered_at = engine.book.clock
        self.margin_calls = [
            MarginCall(number, level, engine.book.clock) for number, level in enumerate(MARGIN_CALLS, 1)
        ]
        self._stop_out_pct = stop_out_pct
        self._called: set[int] = set()
        self._waiting: dict[int, Waiting] = {}

    # What the market does

    @property
    def next_expiry(self) -> float:
        ends = (one.view.request.expires_at for one in self._waiting.values())
        return min((end for end in ends if end is not None), default=float("inf"))

    def is_idle(self) -> bool:
        """Whether prices can do nothing to it."""
        return not self._waiting and not self.engine.book.positions

    def waits_for(self, symbol: str) -> bool:
        """Whether an order is pending in a symbol."""
        return any(one.info.name == symbol for one in self._waiting.values())

    def would_close(self, request: OrderRequest) -> bool:
        """Whether an order only reduces what is held."""
        held = self.engine.book.position(request.position_id) if request.position_id is not None else None
        return held is not None and held.direction != request.direction

    def expire(self, at: float) -> list[Event]:
        """End the orders whose time is over."""
        self.engine.pass_time(at)
        over = [one.view for one in self._waiting.values() if (one.view.request.expires_at or at + 1) <= at]
        return [self.ended(view.order_id, "EXPIRED", "ORDER_EXPIRED", server=True) for view in over]

    def meet(self, point: Point, *, pending: bool) -> list[Event]:
        """Let a price happen; with ``pending`` it fills pending orders too."""
        step = point.step
        self.engine.pass_time(point.shown)
        events: list[Event] = []
        if pending:
            for waiting in [one for one in self._waiting.values() if one.info.name == step.symbol]:
                events += self._reached(waiting, point)
        if not any(position.symbol == step.symbol for position in self.engine.book.positions):
            return events
        before = self.engine.book
        for deal in self.engine.meet(step):
            events += self.closed_by_market(deal, before)
        for position in self.engine.trail(step):
            events.append(self.trailed(position.position_id))
        return events + self._watch_margin(step.time)

    def pass_nights(self, at: float, nights: int) -> list[Event]:
        """Book swaps."""
        self.engine.pass_time(at)
        before = {one.position_id: one.swap for one in self.engine.book.positions}
        self.engine.book_nights(at, nights)
        changed = [one for one in self.engine.book.positions if one.swap != before[one.position_id]]
        for position in changed:
            self.ledger.touch(position.position_id, at)
        return [self.event("SWAP", position=self.position_view(one.position_id), server=True) for one in changed]

    # What is asked of it

    def at_market(self, request: OrderRequest, info: SymbolInfo, fault: OrderFault | None) -> list[Event] | Rejection:
        """A market or market-range order."""
        joined = self.engine.book.position(request.position_id) if request.position_id is not None else None
        if request.position_id is not None and joined is None:
            return self.rejected(request, Rejection("POSITION_NOT_FOUND", f"no open position {request.position_id}"))
        if joined is not None and joined.direction != request.direction:
            return self.close(joined.position_id, request.volume_cents, fault, request)
        if request.order_type == "MARKET_RANGE" and self._out_of_range(request, info):
            view = self.accept(request)
            return [self.event("ORDER_ACCEPTED", view), self.ended(view.order_id, "CANCELLED", "ORDER_CANCELLED")]
        order = order_of(_bare(request, fault), info, self.now, _part(request.volume_cents, info, fault))
        before = self.engine.book
        found = self.engine.open(order) if joined is None else self.engine.open_into(order, joined.position_id)
        if isinstance(found, Refusal):
            return self.rejected(request, _rejection(found))
        return self.answer(request, found, before, info)

    def close(
        self, position_id: int, volume_cents: int, fault: OrderFault | None, request: OrderRequest | None = None
    ) -> list[Event] | Rejection:
        """Close a volume of a position; ``request`` is the order that asked for it, where one did."""
        position = self.engine.book.position(position_id)
        if position is None:
            return Rejection("POSITION_NOT_FOUND", f"no open position {position_id}", position_id=position_id)
        info = self.listing.info(position.symbol)
        request = request or OrderRequest(
            symbol_id=info.symbol_id,
            order_type="MARKET",
            direction=-position.direction,
            volume_cents=volume_cents,
            position_id=position_id,
            label=position.label,
            comment=position.comment,
        )
        before, part = self.engine.book, _part(volume_cents, info, fault)
        found = self.engine.close(position_id, part, decided_at=self.now, client_order_id=request.client_order_id)
        if isinstance(found, Refusal):
            return replace(self.rejected(request, _rejection(found)), position_id=position_id)
        return self.answer(request, found, before, info)

    def pend(self, request: OrderRequest, info: SymbolInfo, fault: OrderFault | None) -> list[Event] | Rejection:
        """A limit, stop or stop-limit order; a limit that the market has reached already fills."""
        quote = self.engine.quote(info.name)
        if quote is None:
            return self.rejected(request, Rejection("NO_QUOTES", f"{info.name} has no price"))
        refusal = pending_rejection(request, info, quote.bid)
        if refusal is not None:
            return self.rejected(request, refusal)
        view = self.accept(_bare(request, fault))
        waiting = self._waiting[view.order_id] = Waiting(view, pending_of(request, info), info)
        events: list[Event] = [self.event("ORDER_ACCEPTED", view)]
        ahead = entry_quote(info.contract, request.direction, quote.bid)
        if waiting.pending.kind == "LIMIT" and (ahead - waiting.pending.price) * request.direction <= 0:
            return events + self._fill_pending(waiting, ahead, server=False)
        if request.time_in_force in _AT_ONCE:
            events.append(self.ended(view.order_id, "CANCELLED", "ORDER_CANCELLED"))
        return events

    def amend_order(self, order_id: int, changed: OrderRequest, info: SymbolInfo) -> list[Event] | Rejection:
        """Give a pending order other terms."""
        waiting, quote = self._waiting[order_id], self.engine.quote(info.name)
        if quote is None:
            return Rejection("NO_QUOTES", f"{info.name} has no price", order_id=order_id)
        refusal = pending_rejection(changed, info, quote.bid)
        if refusal is not None:
            return replace(refusal, order_id=order_id)
        view = self.ledger.keep(replace(waiting.view, request=changed, updated_at=self.now))
        self._waiting[order_id] = Waiting(view, pending_of(changed, info), info)
        return [self.event("ORDER_REPLACED", view)]

    def cancel(self, order_id: int) -> list[Event]:
        """Take a pending order back."""
        return [self.ended(order_id, "CANCELLED", "ORDER_CANCELLED")]

    def pending_order(self, order_id: int) -> OrderView | None:
        waiting = self._waiting.get(order_id)
        return waiting.view if waiting is not None else None

    def pending_orders(self) -> list[OrderView]:
        return [self._waiting[order_id].view for order_id in sorted(self._waiting)]

    def amend_position(
        self,
        position_id: int,
        stop_loss: float | None,
        take_profit: float | None,
        stop_trigger: StopTrigger,
        *,
        trailing_stop: bool,
    ) -> list[Event] | Rejection:
        """Set both protection prices of a position."""
        refusal = self.engine.amend(position_id, stop_loss, take_profit, stop_trigger)
        if refusal is not None:
            return replace(_rejection(refusal), position_id=position_id)
        self.set_trailing(position_id, trailing_stop)
        self.ledger.touch(position_id, self.now)
        answer = self.protect(position_id, server=False)
        return answer or [self.event("ORDER_REPLACED", position=self.position_view(position_id))]

    def pay(self, amount: int, note: str) -> list[Event]:
        """Cash in or out."""
        self.engine.pay(amount)
        flow = self.ledger.pay(amount, self.engine.valuation().equity, self.now, note)
        return [Execution(self.account_id, "DEPOSIT_WITHDRAW", self.now, cash=flow, server=True)]

    def ended(
        self, order_id: int, status: OrderStatus, kind: ExecutionKind, *, server: bool = False, code: str = ""
    ) -> Event:
        self._waiting.pop(order_id, None)
        return super().ended(order_id, status, kind, server=server, code=code)

    def _watch_margin(self, at: float) -> list[Event]:
        """Warn at the thresholds, then close what can no longer be held."""
        highest = max(self._stop_out_pct, *(call.level_pct for call in self.margin_calls))
        if self.engine.margin_level_surely_above(highest):
            self._called.clear()
            return []
        level = self.engine.margin_level(at)
        events: list[Event] = []
        for call in self.margin_calls:
            if level is None or level > call.level_pct:
                self._called.discard(call.number)
            elif call.number not in self._called:
                self._called.add(call.number)
                events.append(MarginCalled(self.account_id, call, self.now))
        before = self.engine.book
        return [*events, *(one for deal in self.engine.stop_out(at) for one in self.closed_by_market(deal, before))]

    def _reached(self, waiting: Waiting, point: Point) -> list[Event]:
        found = met(waiting.pending, waiting.info.contract, point.step)
        if isinstance(found, Pending):
            self._waiting[waiting.view.order_id] = Waiting(waiting.view, found, waiting.info)
            return []
        return [] if found is None else self._fill_pending(waiting, found, server=True)

    def _fill_pending(self, waiting: Waiting, price: float, *, server: bool) -> list[Event]:
        view, info = waiting.view, waiting.info
        del self._waiting[view.order_id]
        before = self.engine.book
        found = self.engine.enter_at(order_of(view.request, info, self.now), price, view.order_id)
        if isinstance(found, Refusal):
            code = _rejection(found).code
            return [self.ended(view.order_id, "REJECTED", "ORDER_REJECTED", server=server, code=code)]
        return self.filled(view, found, before, info, server=server)

    def _out_of_range(self, request: OrderRequest, info: SymbolInfo) -> bool:
        mark = self.engine.pricing.fill_mark(info.name, self.now)
        if mark is None or request.base_slippage_price is None:
            return False
        price = deal_price(info.contract, request.direction, mark.bid)
        worse = (exact(price) - exact(request.base_slippage_price)) * request.direction
        return worse > request.slippage_points * grid(info.digits)


def _bare(request: OrderRequest, fault: OrderFault | None) -> OrderRequest:
    """The order, without its protection where a fault takes it away."""
    if fault is None or fault.kind != "no_protection":
        return request
    return replace(
        request, relative_stop_loss=0, relative_take_profit=0, stop_loss=None, take_profit=None, trailing_stop=False
    )


def _part(volume_cents: int, info: SymbolInfo, fault: OrderFault | None) -> int:
    """What of a volume is filled before the rest is cancelled: a part on the symbol's step, at least its least."""
    spec = info.contract.spec
    if fault is None or fault.kind != "partial_then_cancel":
        return volume_cents
    steps = int(volume_cents * fault.fraction) // spec.step_volume_cents
    return min(volume_cents, max(spec.min_volume_cents, steps * spec.step_volume_cents))


def _rejection(refusal: Refusal) -> Rejection:
    """A refusal in the broker's words; it has none for data that its operator got wrong."""
    return Rejection("NO_QUOTES" if refusal.code == "BAD_DATA" else refusal.code, refusal.text)
