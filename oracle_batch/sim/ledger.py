"""What an account remembers: orders of every status, deals, cash, and what its positions look like from outside."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from msgspec.structs import replace

from oracle_batch.market.book import Book, BookedDeal, OpenPosition
from oracle_batch.sim.symbols import Listing
from oracle_batch.sim.values import CashFlow, CloseDetail, DealView, OrderRequest, OrderStatus, OrderView, PositionView


class Ledger:
    """Records of one account. ``balance`` and ``version`` are the account's after the newest of them."""

    def __init__(self, listing: Listing, balance: int) -> None:
        self.orders: dict[int, OrderView] = {}
        self.deals: list[DealView] = []
        self.flows: list[CashFlow] = []
        self.balance = balance
        self.version = 1
        self._listing = listing
        self._margin_rates: dict[int, float] = {}
        self._updated: dict[int, float] = {}
        self._deals_of: dict[int, list[DealView]] = {}

    def keep(self, order: OrderView) -> OrderView:
        """Remember an order as it is now."""
        self.orders[order.order_id] = order
        return order

    def touch(self, position_id: int, at: float) -> None:
        """Note that a position changed."""
        self._updated[position_id] = at

    def opened(self, position_id: int, margin_rate: float) -> None:
        self._margin_rates[position_id] = margin_rate

    def book(self, deal: BookedDeal, before: Book, asked_cents: int, created_at: float) -> DealView:
        """Remember a deal; ``before`` is the book that held the position it closes."""
        self.balance += deal.profit + deal.swap - deal.commission
        self.version += 1
        close = None
        if deal.closing:
            closed = before.position(deal.position_id)
            assert closed is not None
            close = CloseDetail(
                entry_price=closed.entry_price,
                gross_profit=deal.profit,
                swap=deal.swap,
                commission=deal.commission,
                balance=self.balance,
                rate=deal.rate,
                closed_cents=deal.volume_cents,
                balance_version=self.version,
            )
        view = DealView(
            deal_id=deal.deal_id,
            order_id=deal.order_id,
            position_id=deal.position_id,
            symbol_id=self._id(deal.symbol),
            direction=deal.direction,
            volume_cents=asked_cents,
            filled_cents=deal.volume_cents,
            price=deal.price,
            created_at=created_at,
            time=deal.time,
            status="FILLED" if deal.volume_cents == asked_cents else "PARTIALLY_FILLED",
            commission=deal.commission,
            margin_rate=self._margin_rates.get(deal.position_id, 1.0),
            client_order_id=deal.client_order_id,
            label=deal.label,
            close=close,
        )
        self.deals.append(view)
        self._deals_of.setdefault(deal.order_id, []).append(view)
        self.touch(deal.position_id, deal.time)
        return view

    def pay(self, delta: int, equity: int, at: float, note: str) -> CashFlow:
        """Remember cash that came or went."""
        self.balance += delta
        self.version += 1
        flow = CashFlow(len(self.flows) + 1, delta, self.balance, equity, at, self.version, note)
        self.flows.append(flow)
        return flow

    def position(self, position: OpenPosition, *, trailing: bool, is_open: bool = True) -> PositionView:
        """A position as it looks from outside; one that is gone keeps its terms, without volume."""
        return PositionView(
            position_id=position.position_id,
            symbol_id=self._id(position.symbol),
            direction=position.direction,
            volume_cents=position.volume_cents if is_open else 0,
            entry_price=position.entry_price,
            opened_at=position.opened_at,
            updated_at=self._updated.get(position.position_id, position.opened_at),
            label=position.label,
            comment=position.comment,
            stop_loss=position.stop_loss,
            take_profit=position.take_profit,
            stop_trigger=position.stop_trigger,
            trailing_stop=trailing,
            swap=position.swap if is_open else 0,
            commission=position.commission if is_open else 0,
            used_margin=position.margin if is_open else 0,
            margin_rate=self._margin_rates.get(position.position_id, 1.0),
            open=is_open,
        )

    def protection(self, position: OpenPosition, order_id: int, at: float, *, trailing: bool) -> OrderView:
        """The order that a position's stop and target are."""
        request = OrderRequest(
            symbol_id=self._id(position.symbol),
            order_type="STOP_LOSS_TAKE_PROFIT",
            direction=-position.direction,
            volume_cents=position.volume_cents,
            stop_loss=position.stop_loss,
            take_profit=position.take_profit,
            position_id=position.position_id,
            label=position.label,
            comment=position.comment,
            trailing_stop=trailing,
            stop_trigger=position.stop_trigger,
        )
        known = self.orders.get(order_id)
        created = at if known is None else known.created_at
        return self.keep(
            OrderView(order_id, request, "ACCEPTED", created, at, position_id=position.position_id, closing=True)
        )

    def ended(self, order_id: int, status: OrderStatus, at: float) -> OrderView:
        """An order that goes no further."""
        return self.keep(replace(self.orders[order_id], status=status, updated_at=at))

    def deals_between(self, start: float, end: float) -> list[DealView]:
        times = [deal.time for deal in self.deals]
        return self.deals[bisect_left(times, start) : bisect_right(times, end)]

    def deals_of(self, order_id: int) -> list[DealView]:
        return list(self._deals_of.get(order_id, ()))

    def _id(self, symbol: str) -> int:
        symbol_id = self._listing.symbol_id(symbol)
        assert symbol_id is not None
        return symbol_id
