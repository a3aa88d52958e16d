"""The engine played price by price: what a market does between bars, and orders that fill at a price of their own.

The money is ``Engine``'s. Added are pending fills, trailing stops, protection that is an order with an id, and cash.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from oracle_batch.broker.base import CloseReason
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.prices import down, grid, up
from oracle_batch.market import fills, protection
from oracle_batch.market.book import Book, BookedDeal, OpenPosition, exact, with_position
from oracle_batch.market.engine import STOP_OUT_PCT, Engine
from oracle_batch.market.fills import Fill, Refusal
from oracle_batch.market.orders import Order, protection_prices, protection_refusal, volume_refusal
from oracle_batch.market.pricing import RATE_RESERVE
from oracle_batch.market.specs import Contracts
from oracle_batch.market.tape import Step
from oracle_batch.market.track import Track

_NEAR: Final = 1e-6


class LiveEngine(Engine):
    """``protection_orders`` are the order ids that positions are stopped by, ``trailing`` the distances that stops
    keep, both by position id and held by the caller; a position in neither has neither."""

    def __init__(self, book: Book, track: Track, contracts: Contracts, *, stop_out_pct: float = STOP_OUT_PCT) -> None:
        super().__init__(book, track, contracts, stop_out_pct=stop_out_pct)
        self.protection_orders: dict[int, int] = {}
        self.trailing: dict[int, float] = {}
        self._joining: int | None = None

    def pass_time(self, to: float) -> None:
        """Let the clock stand at an instant; what the prices on the way do is for ``meet``."""
        if to != self.book.clock:
            self.book = replace(self.book, clock=to)

    def new_order_id(self) -> int:
        return self._next_order()

    def meet(self, step: Step) -> list[BookedDeal]:
        """Let the symbol's positions meet a price: stops and targets close them."""
        first = self.book.next_deal_id
        marked = tuple(replace(one, mark=step.bid) if one.symbol == step.symbol else one for one in self.book.positions)
        self.book = replace(self.book, positions=marked)
        for position in marked:
            if position.symbol == step.symbol and _may_reach(position, step.bid):
                found = protection.trigger(position, step)
                if found is not None:
                    self._close_at(position, position.volume_cents, *found, step.time)
        return self._deals_from(first)

    def trail(self, step: Step) -> list[OpenPosition]:
        """Positions whose stop a price has pulled behind it."""
        moved: list[OpenPosition] = []
        if not self.trailing:
            return moved
        for position in self.book.positions:
            distance = self.trailing.get(position.position_id)
            if distance is None or position.symbol != step.symbol or position.stop_loss is None:
                continue
            quote = fills.exit_quote(position.contract, position.direction, step.bid)
            rounded = down if position.direction > 0 else up
            level = exact(quote) - position.direction * exact(distance)
            stop = float(rounded(level, grid(position.contract.spec.digits)))
            if (stop - position.stop_loss) * position.direction > 0:
                position = replace(position, stop_loss=stop)
                self.book = with_position(self.book, position)
                moved.append(position)
        return moved

    def margin_level_surely_above(self, level_pct: float) -> bool:
        """A quick look that spares the exact one: False also where it cannot tell."""
        book = self.book
        loss, scale = 0.0, 10.0**book.money_digits / 100
        for position in book.positions:
            price = position.mark if position.direction > 0 else position.mark + position.contract.spread
            moved = (price - position.entry_price) * position.direction
            loss += min(0.0, moved * position.volume_cents * scale * position.rate + position.swap)
        return (book.balance + loss * RATE_RESERVE - len(book.positions)) * 100 > level_pct * book.margin_used

    def margin_level(self, at: float) -> float | None:
        """Equity over margin used in per cent, None without margin used."""
        used = self.book.margin_used
        equity = self.pricing.valuation(self.book, at, by_marks=True).equity
        return equity * 100 / used if used else None

    def stop_out(self, at: float) -> list[BookedDeal]:
        """Close the worst positions while the margin level is too low."""
        first = self.book.next_deal_id
        self._stop_out(at)
        return self._deals_from(first)

    def book_nights(self, at: float, nights: int) -> None:
        """Book the swap of nights that end at an instant."""
        seen = (replace(one, rate=self.pricing.rate(one, at).value) for one in self.book.positions)
        self.book = replace(self.book, positions=tuple(seen))
        self._book_nights(nights)

    def pay(self, amount: int) -> None:
        """Move money in or out, in minor units; the account then counts as started with it."""
        book = self.book
        self.book = replace(book, balance=book.balance + amount, initial_balance=book.initial_balance + amount)

    def open_into(self, order: Order, position_id: int) -> Fill | Refusal:
        """An order at market that adds to a position of its own side, on any kind of account."""
        self._joining = position_id
        try:
            return self.open(order)
        finally:
            self._joining = None

    def enter_at(self, order: Order, price: float, order_id: int) -> Fill | Refusal:
        """Fill an order at a price that was reached; a refusal changes nothing."""
        before = self.book
        try:
            found = self._enter_at(order, price, order_id)
        except OracleBatchError as error:
            self.problems[order.symbol] = str(error)
            found = Refusal("BAD_DATA", str(error))
        if isinstance(found, Refusal):
            self.book = before
        return found

    def _enter_at(self, order: Order, price: float, order_id: int) -> Fill | Refusal:
        contract = self.pricing.contract(order.symbol)
        if contract is None:
            return Refusal("SYMBOL_NOT_FOUND", f"{order.symbol} is in no contract source")
        bid = price if order.direction < 0 else float(exact(price) - exact(contract.spread))
        protected = protection_prices(order, contract, price)
        if isinstance(protected, Refusal):
            return protected
        refusal = volume_refusal(order, contract) or protection_refusal(contract, order.direction, bid, *protected)
        return refusal or self._book_entry(order, contract, price, bid, protected, order_id)

    def _joined(self, order: Order) -> OpenPosition | None:
        return self.book.position(self._joining) if self._joining is not None else super()._joined(order)

    def _close_at(
        self,
        position: OpenPosition,
        volume_cents: int,
        price: float,
        reason: CloseReason,
        at: float,
        order: tuple[int, str] | None = None,
    ) -> BookedDeal:
        if order is None:
            kept = self.protection_orders.get(position.position_id) if reason != "stop_out" else None
            order = (kept or self._next_order(), "")
        return super()._close_at(position, volume_cents, price, reason, at, order)

    def _deals_from(self, first: int) -> list[BookedDeal]:
        count = self.book.next_deal_id - first
        return list(self.book.deals[-count:]) if count else []


def _may_reach(position: OpenPosition, bid: float) -> bool:
    """Whether a price comes near a stop or a target: a quick look that spares the exact one."""
    spread = position.contract.spread
    quote = bid if position.direction > 0 else bid + spread
    stop, target = position.stop_loss, position.take_profit
    return (stop is not None and (quote - stop) * position.direction <= spread + _NEAR) or (
        target is not None and (target - quote) * position.direction <= _NEAR
    )
