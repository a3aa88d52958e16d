"""What an exchange can be asked without changing it: its accounts, its listing, its prices."""

from __future__ import annotations

from collections.abc import Mapping

from oracle_batch.bars import Bars
from oracle_batch.broker.base import Quote
from oracle_batch.market.track import Track
from oracle_batch.sim import views
from oracle_batch.sim.account import AccountDesk
from oracle_batch.sim.board import Board
from oracle_batch.sim.events import LiveBar, Spot
from oracle_batch.sim.history import History
from oracle_batch.sim.market_faults import MarketFaults
from oracle_batch.sim.playing import Playing
from oracle_batch.sim.symbols import Listing
from oracle_batch.sim.values import (
    Asset,
    CashFlow,
    DealView,
    DepthQuote,
    MarginCall,
    OrderView,
    PositionView,
    Rejection,
    SymbolInfo,
    TickData,
    TraderView,
    Unrealised,
)


class Reading:
    """The questions; ``Exchange`` builds the parts and answers the requests that change something."""

    faults: MarketFaults
    """Hooks for the fault script."""
    _currency: str
    _listing: Listing
    _track: Track
    _history: History
    _playing: Playing
    _boards: dict[int, Board]
    _desks: dict[int, AccountDesk]

    @property
    def now(self) -> float:
        """The virtual clock, Unix seconds. Event times are of this clock; ``faults.skew_s`` is for the wire to add."""
        return self._playing.now

    @property
    def problems(self) -> dict[str, str]:
        """Symbols whose bars could not be played lately, with the reason."""
        return dict(self._playing.problems)

    # Accounts

    def trader(self, account_id: int) -> TraderView:
        return views.trader(self._desks[account_id], self._listing.asset_id(self._currency))

    def reconcile(self, account_id: int) -> tuple[list[PositionView], list[OrderView]]:
        """Open positions and pending orders (without protection), by id."""
        desk = self._desks[account_id]
        return views.positions(desk), desk.pending_orders()

    def protection_orders(self, account_id: int) -> list[OrderView]:
        """The ``STOP_LOSS_TAKE_PROFIT`` orders of the open positions."""
        desk = self._desks[account_id]
        return [desk.ledger.orders[order_id] for order_id in sorted(desk.engine.protection_orders.values())]

    def deals(self, account_id: int, start: float, end: float) -> list[DealView]:
        """Deals with ``start <= time <= end``, oldest first."""
        return self._desks[account_id].ledger.deals_between(start, end)

    def orders(self, account_id: int, start: float, end: float) -> list[OrderView]:
        """Orders of every status last changed within ``start … end``, by id."""
        known = self._desks[account_id].ledger.orders
        return [known[order_id] for order_id in sorted(known) if start <= known[order_id].updated_at <= end]

    def order(self, account_id: int, order_id: int) -> tuple[OrderView, list[DealView]] | None:
        """An order and its deals, None when the account never had it."""
        ledger = self._desks[account_id].ledger
        view = ledger.orders.get(order_id)
        return None if view is None else (view, ledger.deals_of(order_id))

    def cash_flows(self, account_id: int, start: float, end: float) -> list[CashFlow]:
        """Money that came or went within ``start … end``, oldest first."""
        return [flow for flow in self._desks[account_id].ledger.flows if start <= flow.time <= end]

    def expected_margin(self, account_id: int, symbol_id: int, volume_cents: int) -> tuple[int, int] | Rejection:
        """Margin of a purchase and of a sale by themselves."""
        info = self.symbols.get(symbol_id)
        if info is None:
            return Rejection("SYMBOL_NOT_FOUND", f"no symbol {symbol_id}")
        found = views.margins(self._desks[account_id].engine, info, volume_cents)
        return found or Rejection("NO_QUOTES", f"{info.name} has no price")

    def unrealised(self, account_id: int) -> list[Unrealised]:
        """The floating result of every open position."""
        return views.unrealised(self._desks[account_id].engine)

    def margin_calls(self, account_id: int) -> list[MarginCall]:
        """The levels that the account is warned at."""
        return list(self._desks[account_id].margin_calls)

    # The market

    @property
    def account_ids(self) -> tuple[int, ...]:
        return tuple(self._desks)

    @property
    def symbols(self) -> Mapping[int, SymbolInfo]:
        """Everything listed, by id."""
        return self._listing.infos

    @property
    def assets(self) -> Mapping[int, Asset]:
        """Assets of the listed symbols, by id."""
        return self._listing.assets

    def symbol_id(self, name: str) -> int | None:
        return self._listing.symbol_id(name)

    def conversion_chain(self, first_asset_id: int, last_asset_id: int) -> list[SymbolInfo] | None:
        """Symbols that lead from one asset to another, None when none do; the same asset needs none."""
        return self._listing.chain(first_asset_id, last_asset_id)

    def quote(self, symbol_id: int) -> Quote | None:
        """Bid and ask now, None before the symbol's first price; for a spot with its live bars see ``spot``."""
        mark = self._track.last(self.symbols[symbol_id].name, self.now)
        return None if mark is None else views.quote(self.symbols[symbol_id], mark)

    def spot(self, symbol_id: int) -> Spot | None:
        """The quote and the bars in progress now, as a new subscriber gets them."""
        board = self._boards[symbol_id]
        return self._playing.visible(board.spot(self.now)) if board.is_quoted else None

    def live_bar(self, symbol_id: int, period: str) -> LiveBar | None:
        """The bar in progress, None in an interval without a price so far."""
        bar = self._boards[symbol_id].forming(period, self.now)
        return (
            None if bar is None or self.faults.is_muted(self.symbols[symbol_id].name, period, bar.time) else bar.view()
        )

    def trendbars(self, symbol_id: int, period: str, start: float, end: float, count: int | None = None) -> Bars:
        """Bid bars that open within ``start … end`` (both included), oldest first, the last ``count`` of them. The bar
        in progress is among them. A period without a file is made from the finer ones."""
        return self._history.trendbars(self._boards[symbol_id], period, start, end, count, self.now)

    def ticks(self, symbol_id: int, direction: int, start: float, end: float) -> list[TickData]:
        """Prices of a side (1 bid, -1 ask) within ``start … end``, newest first."""
        return self._history.ticks(self._boards[symbol_id], direction, start, end, self.now)

    def depth(self, symbol_id: int) -> list[DepthQuote]:
        """The book now: three levels a side around the quote."""
        quote = self.quote(symbol_id)
        return [] if quote is None else views.depth(self.symbols[symbol_id], quote)
