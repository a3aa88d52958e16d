"""The market engine: one account that trades on real bars, on a virtual clock, without I/O of its own.

It knows orders, positions and money, and nothing of ticks, models or networks: labels, comments and client order ids
are opaque text, and a client order id may come twice, since the real broker promises no more.

The rules (DESIGN §7): bars are bid bars, ask = bid + spread. A market order fills at the open of the finest bar that
starts at or after the decision, else at the last close, plus spread and slippage. Stops and targets trigger on the
exit side (bid for longs, ask for shorts) along each bar's path; reached inside a bar they fill at their own price,
jumped over by a bar's open they fill at that open. At or below the stop-out level the position with the largest loss
is closed first, until the level holds. Orders are taken while the symbol's schedule, if it has one, says open;
protection may be amended at any time.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from oracle_batch.broker.base import CashKind, CloseReason, Quote, StopTrigger
from oracle_batch.errors import OracleBatchError
from oracle_batch.market import fills, protection, swaps
from oracle_batch.market.book import (
    Book,
    BookedDeal,
    BookedFlow,
    OpenPosition,
    with_deal,
    with_flow,
    with_position,
    without_position,
)
from oracle_batch.market.fills import Fill, OrderIds, Refusal
from oracle_batch.market.orders import Order, protection_prices, protection_refusal, range_refusal, volume_refusal
from oracle_batch.market.pricing import Pricing, Valuation, level_broken
from oracle_batch.market.specs import Contract, Contracts
from oracle_batch.market.tape import Step, Tape, reach_of

STOP_OUT_PCT: Final = 50.0
"""Margin level (equity / margin used, in per cent) at or below which positions are closed."""
_CHUNK_S: Final = 86400.0


class Engine:
    """Holds a book and moves it. ``book`` is a frozen value: keep it, and put it back to undo what came after.

    ``problems`` names symbols that could not be priced or played lately, with the reason.
    """

    def __init__(self, book: Book, tape: Tape, contracts: Contracts, *, stop_out_pct: float = STOP_OUT_PCT) -> None:
        self.book = book
        self.pricing = Pricing(tape, contracts, book.currency)
        self.problems = self.pricing.problems
        self._tape = tape
        self._stop_out_pct = stop_out_pct

    # Time

    def advance(self, to: float) -> list[BookedDeal]:
        """Play the market up to an instant and return the deals that it caused. An earlier instant changes nothing.

        A symbol whose bars cannot be read is left behind at the instant it was played to, and is caught up by a later
        call.
        """
        first_deal = self.book.next_deal_id
        while self.book.clock < to:
            until = min(to, self.book.clock + _CHUNK_S) if self.book.positions else to
            if any(position.contract.swap(position.direction) for position in self.book.positions):
                rollover, nights = swaps.next_rollover(self.book.clock)
                self._play_until(min(until, rollover))
                if self.book.clock == rollover:
                    self._book_nights(nights)
            else:
                self._play_until(until)
        if self.book.next_deal_id == first_deal:
            return []
        return [deal for deal in self.book.deals if deal.deal_id >= first_deal]

    def valuation(self) -> Valuation:
        """Floating profits and equity now."""
        return self.pricing.valuation(self.book, self.book.clock)

    def quote(self, symbol: str) -> Quote | None:
        """Bid and ask now; see ``Pricing.quote``."""
        return self.pricing.quote(symbol, self.book.clock)

    def _play_until(self, until: float) -> None:
        steps: list[Step] = []
        behind: dict[str, float] = {}
        for symbol in sorted({position.symbol for position in self.book.positions}):
            after = self.book.behind.get(symbol, self.book.clock)
            try:
                steps += self._tape.steps(symbol, after, until)
                self.problems.pop(symbol, None)
            except OracleBatchError as error:
                behind[symbol] = after
                self.problems[symbol] = str(error)
        reach = reach_of(steps)
        stop_out = self.pricing.stop_out_possible(self.book, reach, until, self._stop_out_pct)
        if stop_out or any(protection.in_reach(position, reach) for position in self.book.positions):
            for step in sorted(steps):
                self._play(step)
                if stop_out:
                    self._stop_out(step.time)
        seen = tuple(
            replace(
                position,
                mark=reach[position.symbol].last if position.symbol in reach else position.mark,
                rate=self.pricing.rate(position, until).value,
            )
            for position in self.book.positions
        )
        self.book = replace(self.book, clock=until, behind=behind, positions=seen)

    def _book_nights(self, nights: int) -> None:
        digits = self.book.money_digits
        held = (swaps.with_nights(one, nights, one.rate, digits) for one in self.book.positions)
        self.book = replace(self.book, positions=tuple(held))

    def _play(self, step: Step) -> None:
        for position in self.book.positions:
            if position.symbol != step.symbol:
                continue
            position = replace(position, mark=step.bid)
            trigger = protection.trigger(position, step)
            if trigger is None:
                self.book = with_position(self.book, position)
            else:
                self._close_at(position, position.volume_cents, *trigger, step.time)

    def _stop_out(self, at: float) -> None:
        while self.book.positions:
            value = self.pricing.valuation(self.book, at, by_marks=True)
            if not level_broken(self.book, value.equity, self._stop_out_pct):
                return
            worst = min(self.book.positions, key=lambda position: value.floating[position.position_id])
            price = fills.deal_price(worst.contract, -worst.direction, worst.mark)
            self._close_at(worst, worst.volume_cents, price, "stop_out", at)

    # Orders

    def open(self, order: Order) -> Fill | Refusal:
        """Carry out an order. On a netted account it merges with, reduces or flips the symbol's position.

        A refusal changes nothing.
        """
        before = self.book
        try:
            found = self._enter(order)
        except OracleBatchError as error:
            self.problems[order.symbol] = str(error)
            found = Refusal("BAD_DATA", str(error))
        if isinstance(found, Refusal):
            self.book = before
        return found

    def close(
        self,
        position_id: int,
        volume_cents: int,
        *,
        decided_at: float,
        client_order_id: str = "",
        reason: CloseReason = "order",
    ) -> Fill | Refusal:
        """Close a position, or a part of it, at market. Never refused for want of money."""
        position = self.book.position(position_id)
        if position is None:
            return Refusal("POSITION_NOT_FOUND", f"no open position {position_id}")
        partial = volume_cents != position.volume_cents
        if volume_cents > position.volume_cents or (partial and not fills.volume_fits(position.contract, volume_cents)):
            return Refusal("TRADING_BAD_VOLUME", f"{volume_cents} of {position.volume_cents} hundredths of a unit")
        refusal = self._closed(position.symbol)
        if refusal is not None:
            return refusal
        try:
            mark = self.pricing.fill_mark(position.symbol, decided_at)
        except OracleBatchError as error:
            self.problems[position.symbol] = str(error)
            return Refusal("BAD_DATA", str(error))
        if mark is None:
            return Refusal("NO_QUOTES", f"{position.symbol} has no price at {decided_at:.0f}")
        price = fills.deal_price(position.contract, -position.direction, mark.bid)
        order = (self._next_order(), client_order_id)
        deal = self._close_at(position, volume_cents, price, reason, decided_at, order)
        return Fill(deal.order_id, position_id, price, position.contract.slippage, (deal,))

    def amend(
        self,
        position_id: int,
        stop_loss: float | None,
        take_profit: float | None,
        stop_trigger: StopTrigger = "trade",
    ) -> Refusal | None:
        """Set or clear (None) both absolute protection prices of a position, and what triggers the stop."""
        position = self.book.position(position_id)
        if position is None:
            return Refusal("POSITION_NOT_FOUND", f"no open position {position_id}")
        try:
            mark = self._tape.last(position.symbol, self.book.clock)
        except OracleBatchError as error:
            return Refusal("BAD_DATA", str(error))
        if mark is None:
            return Refusal("NO_QUOTES", f"{position.symbol} has no price")
        refusal = protection_refusal(position.contract, position.direction, mark.bid, stop_loss, take_profit)
        if refusal is None:
            protected = replace(position, stop_loss=stop_loss, take_profit=take_profit, stop_trigger=stop_trigger)
            self.book = with_position(self.book, protected)
        return refusal

    def move_cash(self, amount: int, kind: CashKind) -> Refusal | None:
        """Put money in (positive, minor units) or take it out; what margin holds cannot be taken."""
        free = self.valuation().equity - self.book.margin_used
        if amount < 0 and -amount > min(free, self.book.balance):
            return Refusal("NOT_ENOUGH_MONEY", f"{-amount} minor units wanted, free are {free}")
        self.book = with_flow(self.book, BookedFlow(self.book.clock, amount, kind))
        return None

    def _closed(self, symbol: str) -> Refusal | None:
        at = self.book.clock
        return None if self.pricing.is_open(symbol, at) else Refusal("MARKET_CLOSED", f"{symbol} at {at:.0f}")

    def _enter(self, order: Order) -> Fill | Refusal:
        symbol, direction, at = order.symbol, order.direction, order.decided_at
        contract = self.pricing.contract(symbol)
        if contract is None:
            return Refusal("SYMBOL_NOT_FOUND", f"{symbol} is in no contract source")
        refusal = self._closed(symbol) or volume_refusal(order, contract)
        if refusal is not None:
            return refusal
        mark, quoted = self.pricing.fill_mark(symbol, at), self._tape.last(symbol, at)
        if mark is None or (quoted is None and order.max_slippage_points):
            return Refusal("NO_QUOTES", f"{symbol} has no price at {at:.0f}")
        price = fills.deal_price(contract, direction, mark.bid)
        protection_found = protection_prices(order, contract, price)
        if isinstance(protection_found, Refusal):
            return protection_found
        stop_loss, take_profit = protection_found
        refusal = range_refusal(order, contract, price, (quoted or mark).bid) or protection_refusal(
            contract, direction, mark.bid, stop_loss, take_profit
        )
        if refusal is not None:
            return refusal
        return self._book_entry(order, contract, price, mark.bid, protection_found)

    def _book_entry(
        self,
        order: Order,
        contract: Contract,
        price: float,
        bid: float,
        protected: tuple[float | None, float | None],
        order_id: int | None = None,
    ) -> Fill | Refusal:
        """Book an order that fills at a price, if there is money for it; a refusal leaves the book to the caller."""
        direction, volume_cents, at = order.direction, order.volume_cents, order.decided_at
        placed = (self._next_order() if order_id is None else order_id, order.client_order_id)
        old = self._joined(order)
        deals: tuple[BookedDeal, ...] = ()
        if old is not None and old.direction != direction:
            reduced = min(volume_cents, old.volume_cents)
            deals = (self._close_at(old, reduced, price, "order", at, placed),)
            volume_cents -= reduced
            if volume_cents == 0:
                return Fill(placed[0], old.position_id, price, contract.slippage, deals)
            old = None
        book, rate = self.book, self.pricing.rates.profit_rate(contract, at)
        fresh = OpenPosition(
            position_id=book.next_position_id,
            contract=contract,
            direction=direction,
            volume_cents=volume_cents,
            entry_price=price,
            opened_at=book.clock,
            label=order.label,
            comment=order.comment,
            stop_loss=protected[0],
            take_profit=protected[1],
            margin=self.pricing.margin(contract, volume_cents, price, at, book.leverage, book.money_digits),
            commission=fills.round_turn_minor(contract, volume_cents, book.money_digits, half=True),
            mark=bid,
            rate=rate.value,
            stop_trigger=order.stop_trigger,
        )
        free = self.valuation().equity - book.margin_used
        if fresh.margin + fresh.commission > free:
            return Refusal("NOT_ENOUGH_MONEY", f"needs {fresh.margin + fresh.commission}, free are {free} minor units")
        position = fresh if old is None else fills.merged(old, fresh)
        ids = OrderIds(placed[0], book.next_deal_id, order.client_order_id, book.clock)
        deal = fills.opening(position, volume_cents, price, fresh.commission, rate, ids)
        next_position = max(book.next_position_id, position.position_id + 1)
        self.book = with_deal(with_position(replace(book, next_position_id=next_position), position), deal)
        return Fill(placed[0], position.position_id, price, contract.slippage, (*deals, deal))

    def _joined(self, order: Order) -> OpenPosition | None:
        """The position that an order adds to or reduces, None where it opens one of its own."""
        if self.book.hedged:
            return None
        return next((position for position in self.book.positions if position.symbol == order.symbol), None)

    def _close_at(
        self,
        position: OpenPosition,
        volume_cents: int,
        price: float,
        reason: CloseReason,
        at: float,
        order: tuple[int, str] | None = None,
    ) -> BookedDeal:
        """Book a close. One that the market caused has no client order and happened at ``at``."""
        order_id, client_order_id = order or (self._next_order(), "")
        time = at if order is None else self.book.clock
        ids = OrderIds(order_id, self.book.next_deal_id, client_order_id, time)
        rate = self.pricing.rate(position, at)
        deal, left = fills.closing(position, volume_cents, price, rate, reason, ids, self.book.money_digits)
        gone = without_position(self.book, position.position_id)
        self.book = with_deal(gone if left is None else with_position(gone, left), deal)
        return deal

    def _next_order(self) -> int:
        order_id = self.book.next_order_id
        self.book = replace(self.book, next_order_id=order_id + 1)
        return order_id
