"""The market side of the simulator, without network or wire types: accounts that trade on a folder of real bars.

The virtual clock stands still until ``advance``. Orders fill on arrival, at the price of the moment, by the engine that
the paper broker uses: orders that arrive before a bar's first price after its open get that open, as on paper.
"""

from __future__ import annotations

import time as real_time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from oracle_batch.broker.base import StopTrigger
from oracle_batch.bundle.model import Model
from oracle_batch.errors import BarError, ConfigError
from oracle_batch.market.book import exact, new_book, to_minor
from oracle_batch.market.engine import STOP_OUT_PCT
from oracle_batch.market.feed import Feed
from oracle_batch.market.holidays import on_holiday
from oracle_batch.market.live import LiveEngine
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.track import Track
from oracle_batch.sim import checks
from oracle_batch.sim.account import AccountDesk
from oracle_batch.sim.board import PERIOD_SECONDS, Board
from oracle_batch.sim.events import Event, SymbolChanged
from oracle_batch.sim.history import History
from oracle_batch.sim.market_faults import GappedSource, GappedTicks, MarketFaults, OrderFault
from oracle_batch.sim.playing import Playing
from oracle_batch.sim.reading import Reading
from oracle_batch.sim.symbols import Listing, simulated_contracts
from oracle_batch.sim.values import (
    MarginCall,
    OrderChange,
    OrderRequest,
    Rejection,
    SymbolInfo,
    TradingMode,
)
from oracle_batch.sim.waiting import changed_request

_ACCOUNTS: Final = 1_000_001
_IDS: Final = 10_000_000
"""Ids of an account's orders, positions and deals start at a multiple of it, so that no two accounts share one."""
_NO_SETTINGS: Final[Mapping[str, SymbolSettings]] = MappingProxyType({})


class Exchange(Reading):
    """One market and its accounts.

    ``data`` is a folder as the paper broker reads it, and may hold quote ticks (``ticks_SYMBOL_….parquet``).
    ``symbols`` trade, in this order (ids 1, 2, …); pairs of the folder that convert into ``currency`` follow.
    ``timeframes`` are the periods of live bars. Terms and costs are the paper broker's: ``settings`` are the entries of
    ``config/symbols.json``, ``models`` lend theirs; where neither tells, the simulator's own costs stand.
    ``closing_update`` sends each bar once more at its end.

    Every account is named by its ctidTraderAccountId, one of ``account_ids``; another is a KeyError.

    Raises:
        ConfigError, BarError: a symbol has no bars, no terms, or no way into the account currency.
    """

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
        settings: Mapping[str, SymbolSettings] = _NO_SETTINGS,
        models: Sequence[Model] = (),
        money_digits: int = 2,
        closing_update: bool = False,
        monotonic: Callable[[], float] = real_time.monotonic,
    ) -> None:
        unknown = [period for period in timeframes if period not in PERIOD_SECONDS]
        if unknown:
            fix = f"use some of {', '.join(PERIOD_SECONDS)}"
            raise ConfigError(f"{unknown[0]} is no timeframe", field="--timeframes", fix=fix)
        feed = Feed(data)
        for name in symbols:
            if not feed.timeframes(name):
                raise BarError(
                    f"no bars of {name}", file=data, fix=f"put {name}_M15.parquet or the like into the folder"
                )
        self.timeframes = tuple(timeframes)
        self.money_digits = money_digits
        self.faults = MarketFaults(self, monotonic)
        self._source = GappedSource(feed, self.faults)
        self._track = Track(self._source, GappedTicks(data, self.faults))
        self._history = History(self._source, self._track, self.faults)
        folder = feed.symbols()
        contracts = simulated_contracts(folder, settings, models, currency)
        self._listing = Listing(symbols, folder, contracts, currency)
        self._currency = currency
        self._desks: dict[int, AccountDesk] = {}
        for index in range(accounts):
            first = (index + 1) * _IDS
            name = str(_ACCOUNTS + index)
            book = new_book(name, currency, balance, leverage, clock=start, hedged=hedged, money_digits=money_digits)
            book = replace(book, next_position_id=first, next_order_id=first, next_deal_id=first)
            engine = LiveEngine(book, self._track, contracts)
            self._desks[_ACCOUNTS + index] = AccountDesk(_ACCOUNTS + index, engine, self._listing, STOP_OUT_PCT)
        self._boards = {
            symbol_id: Board(symbol_id, info.contract, timeframes, self._track, start)
            for symbol_id, info in self._listing.infos.items()
        }
        self._playing = Playing(
            start,
            self._track,
            self.faults,
            self._listing.infos,
            self._boards,
            tuple(self._desks.values()),
            closing_update=closing_update,
        )

    # Time

    @property
    def watched(self) -> set[int] | None:
        """Symbols whose spots ``advance`` reports; None: all of them."""
        return self._playing.watched

    @watched.setter
    def watched(self, symbol_ids: set[int] | None) -> None:
        self._playing.watched = symbol_ids

    def follow(self, symbol_id: int, period: str) -> None:
        """Let the symbol's spots carry the live bars of one more period, as far as its files tell them."""
        self._playing.follow(symbol_id, period)

    def advance(self, to: float) -> list[Event]:
        """Play the market up to an instant; an earlier one changes nothing."""
        return list(self._playing.advance(to))

    # Orders

    def place(self, account_id: int, request: OrderRequest) -> list[Event] | Rejection:
        """Take an order. Of a market order the answer holds ACCEPTED and FILLED, of a pending one ACCEPTED."""
        desk, info = self._desks[account_id], self.symbols.get(request.symbol_id)
        if info is None:
            return Rejection("SYMBOL_NOT_FOUND", f"no symbol {request.symbol_id}")
        rejection = checks.order_rejection(request, self.now)
        if rejection is not None:
            return rejection
        fault = self.faults.next_order()
        at_market = request.order_type in checks.AT_MARKET
        rejection = (
            _refused(fault)
            or self._locked(account_id, request.position_id)
            or self._mode_rejection(info, closing=desk.would_close(request))
            or (self._closed(info) if at_market else None)
        )
        if rejection is not None:
            return desk.rejected(request, rejection)
        return desk.at_market(request, info, fault) if at_market else desk.pend(request, info, fault)

    def amend_order(self, account_id: int, order_id: int, change: OrderChange) -> list[Event] | Rejection:
        """Change a pending order; the answer holds REPLACED."""
        desk = self._desks[account_id]
        view = desk.pending_order(order_id)
        if view is None:
            return Rejection("ORDER_NOT_FOUND", f"no pending order {order_id}", order_id=order_id)
        info, changed = self.symbols[view.request.symbol_id], changed_request(view.request, change)
        rejection = checks.order_rejection(changed, self.now)
        if rejection is not None:
            return replace(rejection, order_id=order_id)
        return desk.amend_order(order_id, changed, info)

    def cancel(self, account_id: int, order_id: int) -> list[Event] | Rejection:
        """Cancel a pending order; the answer holds CANCELLED."""
        desk = self._desks[account_id]
        if desk.pending_order(order_id) is None:
            return Rejection("ORDER_NOT_FOUND", f"no pending order {order_id}", order_id=order_id)
        return desk.cancel(order_id)

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
        desk = self._desks[account_id]
        view = desk.position_view(position_id)
        if view is None:
            return Rejection("POSITION_NOT_FOUND", f"no open position {position_id}", position_id=position_id)
        rejection = checks.stop_rejection(
            stopped=stop_loss is not None, trailing=trailing_stop, guaranteed=guaranteed_stop
        ) or self._locked(account_id, position_id)
        if rejection is not None:
            return replace(rejection, position_id=position_id)
        return desk.amend_position(position_id, stop_loss, take_profit, stop_trigger, trailing_stop=trailing_stop)

    def close(self, account_id: int, position_id: int, volume_cents: int) -> list[Event] | Rejection:
        """Close a volume of a position at market; the answer holds ACCEPTED and FILLED."""
        desk = self._desks[account_id]
        view = desk.position_view(position_id)
        if view is None:
            return Rejection("POSITION_NOT_FOUND", f"no open position {position_id}", position_id=position_id)
        if volume_cents <= 0:
            return replace(checks.volume_rejection(volume_cents), position_id=position_id)
        fault, info = self.faults.next_order(), self.symbols[view.symbol_id]
        rejection = (
            _refused(fault)
            or self._locked(account_id, position_id)
            or self._mode_rejection(info, closing=True)
            or self._closed(info)
        )
        if rejection is not None:
            return replace(rejection, position_id=position_id)
        return desk.close(position_id, volume_cents, fault)

    def update_margin_call(self, account_id: int, number: int, level_pct: float) -> MarginCall | Rejection:
        """Set one of the levels."""
        calls = self._desks[account_id].margin_calls
        if not 1 <= number <= len(calls) or level_pct <= STOP_OUT_PCT:
            return Rejection("INVALID_REQUEST", f"margin call {number} at {level_pct:g} %")
        calls[number - 1] = MarginCall(number, level_pct, self.now)
        return calls[number - 1]

    # What the control port may do

    def cash(self, account_id: int, amount: float, note: str = "") -> list[Event]:
        """Pay money in (positive) or out."""
        return self._desks[account_id].pay(to_minor(exact(amount), self.money_digits), note)

    def set_trading_mode(self, symbol_id: int, mode: TradingMode) -> list[Event]:
        """Let a symbol trade, be closed only, or not at all."""
        self._listing.infos[symbol_id] = replace(self.symbols[symbol_id], trading_mode=mode)
        return [SymbolChanged((symbol_id,), self.now)]

    # What the fault hooks ask

    def bar_in_progress(self, symbol: str, period: str) -> int:
        """Where the bar starts that the present lies in."""
        return self._boards[self._listing.info(symbol).symbol_id].slot(period, self.now)

    def forget(self) -> None:
        """Read prices to come anew."""
        self._track.forget()

    # What keeps an order from the market

    def _locked(self, account_id: int, position_id: int | None) -> Rejection | None:
        if position_id is None or not self.faults.is_locked(account_id, position_id):
            return None
        return Rejection("POSITION_LOCKED", f"position {position_id} is locked", position_id=position_id)

    def _mode_rejection(self, info: SymbolInfo, *, closing: bool) -> Rejection | None:
        allowed = info.trading_mode == "ENABLED" and info.tradable
        if allowed or (closing and info.trading_mode == "CLOSE_ONLY_MODE"):
            return None
        return Rejection("TRADING_DISABLED", f"{info.name} is {info.trading_mode}")

    def _closed(self, info: SymbolInfo) -> Rejection | None:
        if self._playing.is_open(info):
            return None
        code = "SYMBOL_HAS_HOLIDAY" if on_holiday(info.schedule, self.now) else "MARKET_CLOSED"
        return Rejection(code, f"{info.name} at {self.now:.0f}")


def _refused(fault: OrderFault | None) -> Rejection | None:
    return (
        Rejection(fault.code, "refused by the fault script", late=True)
        if fault is not None and fault.kind == "refuse"
        else None
    )
