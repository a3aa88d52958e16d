"""The paper broker's engine and the exchange trade the same day: every deal and every cent must be the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.market.book import BookedDeal, new_book
from oracle_batch.market.engine import Engine
from oracle_batch.market.feed import Feed
from oracle_batch.market.fills import Fill
from oracle_batch.market.orders import Order
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.tape import Tape
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.symbols import simulated_contracts
from oracle_batch.sim.values import DealView, OrderRequest, Rejection

ROOT = Path(__file__).resolve().parents[2]
M15, H1, DAY = 900, 3600, 86400
COSTS = SymbolSettings(
    spread_points=12, slippage_points=3, commission_per_lot=7, swap_long_points=-5.5, swap_short_points=1.5
)


class Twins:
    """Both sides, given the same orders at the same instants: one second after a close."""

    def __init__(
        self, data: Path, symbols: list[str], start: int, *, hedged: bool, balance: float, leverage: float = 100
    ) -> None:
        settings = dict.fromkeys(symbols, COSTS)
        feed = Feed(data)
        book = new_book("paper", "USD", balance, leverage, clock=float(start), hedged=hedged)
        self.paper = Engine(book, Tape(feed), simulated_contracts(feed.symbols(), settings, (), "USD"))
        terms: dict[str, Any] = {"hedged": hedged, "balance": balance, "leverage": leverage, "settings": settings}
        self.exchange = Exchange(data, symbols, ["M15"], start, **terms)
        self.account = self.exchange.account_ids[0]
        self.close = start
        self.orders = 0
        self.valued = self.quiet_minutes = 0

    def advance(self, close: int) -> None:
        self.close = close
        self.paper.advance(close + 1)
        self.exchange.advance(close + 1)

    def open(self, symbol: str, direction: int, volume: int, stop: int, target: int) -> None:
        symbol_id = self.exchange.symbol_id(symbol)
        assert symbol_id is not None
        request = OrderRequest(
            symbol_id, "MARKET", direction, volume, relative_stop_loss=stop, relative_take_profit=target
        )
        asked: dict[str, Any] = {"stop_relative": stop, "target_relative": target, "decided_at": float(self.close)}
        self._same(
            self.paper.open(Order(symbol, direction, volume, **asked)), self.exchange.place(self.account, request)
        )

    def shut(self, which: int, part: int) -> None:
        position = self.paper.book.positions[which % len(self.paper.book.positions)]
        volume = position.volume_cents // part // 100_000 * 100_000 or position.volume_cents
        found = self.paper.close(position.position_id, volume, decided_at=float(self.close))
        self._same(found, self.exchange.close(self.account, self._id(position.position_id), volume))

    def amend(self, which: int, distance: float) -> None:
        position = self.paper.book.positions[which % len(self.paper.book.positions)]
        stop = round(position.mark - position.direction * distance * position.mark, position.contract.spec.digits)
        refusal = self.paper.amend(position.position_id, stop, None)
        found = self.exchange.amend_position(self.account, self._id(position.position_id), stop, None)
        assert isinstance(found, Rejection) == (refusal is not None)

    def check(self) -> None:
        book, trader = self.paper.book, self.exchange.trader(self.account)
        assert trader.balance == book.balance
        quotes = [self.exchange.quote(symbol_id) for symbol_id in self.exchange.symbols]
        if all(quote is not None and quote.time >= self.close // H1 * H1 for quote in quotes):
            # else a minute without a tick: the exchange shows the last quote, on paper the coarse bar's open is known
            self.valued += 1
            assert trader.equity == self.paper.valuation().equity
            assert abs(trader.used_margin - book.margin_used) <= self.quiet_minutes
        else:
            self.quiet_minutes += 1
        held = [(p.position_id - 1, p.volume_cents, p.entry_price, p.stop_loss, p.swap) for p in book.positions]
        shown, _ = self.exchange.reconcile(self.account)
        assert held == [(p.position_id - 10_000_000, p.volume_cents, p.entry_price, p.stop_loss, p.swap) for p in shown]

    def deals(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        ours = sorted(_paper(deal) for deal in self.paper.book.deals)
        theirs = sorted(_view(deal) for deal in self.exchange.deals(self.account, 0, self.exchange.now))
        return ours, theirs

    def _id(self, position_id: int) -> int:
        return position_id - 1 + 10_000_000

    def _same(self, paper: object, exchange: object) -> None:
        self.orders += 1
        assert isinstance(paper, Fill) == (not isinstance(exchange, Rejection)), (paper, exchange)


def _paper(deal: BookedDeal) -> tuple[Any, ...]:
    money = (deal.profit, deal.swap, deal.commission)
    return (deal.position_id - 1, deal.closing, deal.volume_cents, deal.direction, deal.price, *money)


def _view(deal: DealView) -> tuple[Any, ...]:
    close = deal.close
    money = (close.gross_profit if close else 0, close.swap if close else 0, deal.commission)
    return (deal.position_id - 10_000_000, deal.closing, deal.filled_cents, deal.direction, deal.price, *money)


def trade(twins: Twins, start: int, closes: int, symbols: dict[str, int], seed: int) -> None:
    """Random orders at every close; a symbol trades where its own bars close."""
    chance = random.Random(seed)
    for number in range(closes):
        close = start + number * M15
        twins.advance(close)
        for symbol, seconds in symbols.items():
            if close % seconds:
                continue
            for _ in range(chance.choice([0, 1, 2])):
                stop, target = (chance.choice([0, 50, 150, 400]) * (100 if "JPY" in symbol else 1) for _ in range(2))
                twins.open(symbol, chance.choice([1, -1]), chance.choice([1, 3, 17]) * 100_000, stop, target)
        if close % H1 == 0:
            if twins.paper.book.positions and chance.random() < 0.6:
                twins.shut(chance.randrange(9), chance.choice([1, 1, 2]))
            if twins.paper.book.positions:
                twins.amend(chance.randrange(9), chance.choice([0.0005, 0.002]))
            twins.check()


@pytest.mark.parametrize("hedged", [True, False])
def test_a_day_of_many_orders_makes_the_same_deals_on_paper_and_on_the_exchange(hedged: bool) -> None:
    symbols = {"EURUSD": M15, "GBPUSD": H1, "USDJPY": H1}
    start = 1784160000  # Thursday 2026-07-16 00:00 UTC
    twins = Twins(ROOT / "data", list(symbols), start, hedged=hedged, balance=10_000)
    trade(twins, start, 97, symbols, seed=4)
    ours, theirs = twins.deals()
    assert ours == theirs
    assert twins.orders > 100
    assert (twins.valued, twins.quiet_minutes) == (25, 0)
    assert sum(closing for _, closing, *_ in ours) > 30


def test_minute_bars_refine_both_alike() -> None:
    start = 1399885200  # Monday 2014-05-12 09:00 UTC
    twins = Twins(ROOT / "tests/data/lean", ["EURUSD"], start, hedged=True, balance=10_000)
    trade(twins, start, 97, {"EURUSD": M15}, seed=7)
    ours, theirs = twins.deals()
    assert ours == theirs
    assert twins.orders > 60
    assert twins.valued > 10
    assert {deal.reason for deal in twins.paper.book.deals} >= {"stop_loss", "take_profit"}


def test_a_stop_out_takes_the_same_positions_at_the_same_prices() -> None:
    start = 1784160000
    twins = Twins(ROOT / "data", ["EURUSD"], start, hedged=True, balance=100, leverage=500)
    for number in range(193):
        twins.advance(start + number * M15)
        if number < 4:
            twins.open("EURUSD", 1, (6 + number) * 100_000, 0, 0)
    ours, theirs = twins.deals()
    assert ours == theirs
    assert [deal.reason for deal in twins.paper.book.deals].count("stop_out") > 0
