"""The market side of the simulator, without network or wire types: accounts that trade on a folder of real bars.

The virtual clock stands still until ``advance``. Orders fill on arrival, at the price of the moment, by the engine that
the paper broker uses: orders that arrive before a bar's first price after its open get that open, as on paper.
"""

from __future__ import annotations

import time as real_time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from oracle_batch.bars import Bars
from oracle_batch.broker.base import Quote, StopTrigger
from oracle_batch.market.specs import Contracts
from oracle_batch.sim.events import Event, LiveBar
from oracle_batch.sim.market_faults import MarketFaults
from oracle_batch.sim.values import (
    Asset,
    CashFlow,
    DealView,
    DepthQuote,
    MarginCall,
    OrderChange,
    OrderRequest,
    OrderView,
    PositionView,
    Rejection,
    SymbolInfo,
    TickData,
    TraderView,
    TradingMode,
    Unrealised,
)


class Exchange:
    """One market and its accounts.

    ``data`` is a folder as the paper broker reads it, with quote ticks (``ticks_SYMBOL_*.parquet``) where there are any.
    ``symbols`` trade, in this order (ids 1, 2, …); pairs of the folder that convert into ``currency`` follow.
    ``timeframes`` are the periods of live bars. Terms and costs come from ``contracts``, else from the simulator's own
    table. ``closing_update`` sends each bar once more at its end.

    Every account is named by its ctidTraderAccountId, one of ``account_ids``.

    Raises:
        ConfigError, BarError: a symbol has no bars, no terms, or no way into the account currency.
    """

    now: float
    """The virtual clock, Unix seconds. Event times are of this clock; ``faults.skew_s`` is for the wire to add."""
    account_ids: tuple[int, ...]
    symbols: Mapping[int, SymbolInfo]
    assets: Mapping[int, Asset]
    timeframes: tuple[str, ...]
    money_digits: int
    watched: set[int] | None
    """Symbols whose spots ``advance`` reports; None: all of them."""
    faults: MarketFaults

    def __init__(
        self,
        data: Path,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: float,
        *,
        accounts: int = 1,
        hedged: bool = True,
        balance: float = 10_000.0,
        currency: str = "USD",
        leverage: float = 100.0,
        contracts: Contracts | None = None,
        money_digits: int = 2,
        closing_update: bool = False,
        monotonic: Callable[[], float] = real_time.monotonic,
    ) -> None:
        raise NotImplementedError

    # Time

    def advance(self, to: float) -> list[Event]:
        """Play the market up to an instant; an earlier one changes nothing."""
        raise NotImplementedError

    # Orders

    def place(self, account_id: int, request: OrderRequest) -> list[Event] | Rejection:
        """Take an order. Of a market order the answer holds ACCEPTED and FILLED, of a pending one ACCEPTED."""
        raise NotImplementedError

    def amend_order(self, account_id: int, order_id: int, change: OrderChange) -> list[Event] | Rejection:
        """Change a pending order; the answer holds REPLACED."""
        raise NotImplementedError

    def cancel(self, account_id: int, order_id: int) -> list[Event] | Rejection:
        """Cancel a pending order; the answer holds CANCELLED."""
        raise NotImplementedError

    def amend_position(
        self,
        account_id: int,
        position_id: int,
        stop_loss: float | None,
        take_profit: float | None,
        *,
        trailing_stop: bool = False,
        guaranteed_stop: bool = False,
        stop_trigger: StopTrigger = "trade",
    ) -> list[Event] | Rejection:
        """Set both protection prices; None clears. The answer holds REPLACED with the protection order."""
        raise NotImplementedError

    def close(self, account_id: int, position_id: int, volume_cents: int) -> list[Event] | Rejection:
        """Close a volume of a position at market; the answer holds ACCEPTED and FILLED."""
        raise NotImplementedError

    # Accounts

    def trader(self, account_id: int) -> TraderView:
        raise NotImplementedError

    def reconcile(self, account_id: int) -> tuple[list[PositionView], list[OrderView]]:
        """Open positions and pending orders (without protection), by id."""
        raise NotImplementedError

    def protection_orders(self, account_id: int) -> list[OrderView]:
        """The ``STOP_LOSS_TAKE_PROFIT`` orders of the open positions."""
        raise NotImplementedError

    def deals(self, account_id: int, start: float, end: float) -> list[DealView]:
        """Deals with ``start <= time <= end``, oldest first."""
        raise NotImplementedError

    def orders(self, account_id: int, start: float, end: float) -> list[OrderView]:
        """Orders of every status last changed within ``start … end``, by id."""
        raise NotImplementedError

    def order(self, account_id: int, order_id: int) -> tuple[OrderView, list[DealView]] | None:
        """An order and its deals, None when the account never had it."""
        raise NotImplementedError

    def cash_flows(self, account_id: int, start: float, end: float) -> list[CashFlow]:
        raise NotImplementedError

    def expected_margin(self, account_id: int, symbol_id: int, volume_cents: int) -> tuple[int, int] | Rejection:
        """Margin of a purchase and of a sale by themselves."""
        raise NotImplementedError

    def unrealised(self, account_id: int) -> list[Unrealised]:
        raise NotImplementedError

    def margin_calls(self, account_id: int) -> list[MarginCall]:
        raise NotImplementedError

    def update_margin_call(self, account_id: int, number: int, level_pct: float) -> MarginCall | Rejection:
        raise NotImplementedError

    # The market

    def symbol_id(self, name: str) -> int | None:
        raise NotImplementedError

    def conversion_chain(self, first_asset_id: int, last_asset_id: int) -> list[SymbolInfo] | None:
        """Symbols that lead from one asset to another, None when none do; the same asset needs none."""
        raise NotImplementedError

    def quote(self, symbol_id: int) -> Quote | None:
        raise NotImplementedError

    def live_bar(self, symbol_id: int, period: str) -> LiveBar | None:
        """The bar in progress, None in an interval without a price so far."""
        raise NotImplementedError

    def trendbars(self, symbol_id: int, period: str, start: float, end: float, count: int | None = None) -> Bars:
        """Bid bars that open within ``start … end`` (both included), oldest first, the last ``count`` of them. The bar
        in progress is among them. A period without a file is made from the finer ones."""
        raise NotImplementedError

    def ticks(self, symbol_id: int, direction: int, start: float, end: float) -> list[TickData]:
        """Prices of a side (1 bid, -1 ask) within ``start … end``, newest first."""
        raise NotImplementedError

    def depth(self, symbol_id: int) -> list[DepthQuote]:
        """The book now: three levels a side around the quote."""
        raise NotImplementedError

    # What the control port may do

    def cash(self, account_id: int, amount: float, note: str = "") -> list[Event]:
        """Pay money in (positive) or out."""
        raise NotImplementedError

    def set_trading_mode(self, symbol_id: int, mode: TradingMode) -> list[Event]:
        raise NotImplementedError
