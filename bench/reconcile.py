"""Adds an account up in another way than the market engine, the books and the journal do, to the cent.

Everything is recomputed from three things alone: prices of the bars, the contracts, and which deals there were at which
price and instant. Money is in integer cents; amounts are rounded once each, half away from zero.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.broker.base import CloseIntent, OpenIntent
from oracle_batch.market.book import Book, BookedDeal
from oracle_batch.market.specs import Contract
from oracle_batch.store import executor as executor_file
from oracle_batch.store.executor import Executor
from oracle_batch.store.lines import Entry
from oracle_batch.store.reading import read_journal
from oracle_batch.store.records import AckRecord, Close, Event, Fill
from oracle_batch.types import LABEL_PREFIX

NEW_YORK = ZoneInfo("America/New_York")
CENT = Decimal("0.01")


def read_book(path: Path) -> Book | None:
    """The paper account's file, None before its first trade."""
    return msgspec.json.decode(path.read_bytes(), type=Book) if path.exists() else None


def read_books(path: Path, account: str) -> Executor:
    """The executor's file."""
    found = executor_file.load(path, account)
    assert found is not None
    return found


@dataclass
class Deals:
    """All deals of a run; the account's file keeps the newest 2,000 alone."""

    found: dict[int, BookedDeal] = field(default_factory=dict)

    def take(self, book: Book | None) -> None:
        """Add what is new.

        Raises:
            AssertionError: a deal is missing between the last look and this one, or has changed.
        """
        for deal in reversed(book.deals if book is not None else ()):
            if deal.deal_id in self.found:
                assert self.found[deal.deal_id] == deal, f"deal {deal.deal_id} has changed"
                break
            self.found[deal.deal_id] = deal
        assert sorted(self.found) == list(range(1, len(self.found) + 1)), "a deal is missing"

    def by_position(self) -> dict[int, list[BookedDeal]]:
        found: dict[int, list[BookedDeal]] = defaultdict(list)
        for number in sorted(self.found):
            found[self.found[number].position_id].append(self.found[number])
        return found


class Prices:
    """Bids by symbol at an instant: the open of the bar in progress, else the last close."""

    def __init__(self, bars: Mapping[str, Bars], seconds: Mapping[str, int]) -> None:
        self._bars, self._seconds = bars, seconds

    def bid(self, symbol: str, at: float) -> float | None:
        bars = self._bars.get(symbol)
        row = -1 if bars is None else int(np.searchsorted(bars.time, at, "right")) - 1
        if bars is None or row < 0:
            return None
        closed = bars.time[row] + self._seconds[symbol] <= at
        return float(bars.close[row] if closed else bars.open[row])

    def next_open(self, symbol: str, at: float) -> float:
        """What a market order meets: the next open within a week, else the last price."""
        bars = self._bars[symbol]
        row = int(np.searchsorted(bars.time, at, "left"))
        if row < len(bars) and bars.time[row] <= at + 7 * 86400:
            return float(bars.open[row])
        last = self.bid(symbol, at)
        assert last is not None
        return last

    def rate(self, quote: str, currency: str, at: float) -> Decimal | None:
        """Account currency per unit of a quote asset; None where no pair of the two is there."""
        if quote == currency:
            return Decimal(1)
        direct, inverse = self.bid(quote + currency, at), self.bid(currency + quote, at)
        if direct is not None:
            return number(direct)
        return None if inverse is None else number(1.0 / inverse)


def number(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def cents(amount: Decimal) -> int:
    return int((amount / CENT).quantize(Decimal(1), ROUND_HALF_UP))


def of_float(amount: float) -> int:
    """Cents of money as the journal has it: a float that was two decimals."""
    return cents(number(round(amount, 6)))


def nights(after: float, until: float) -> Iterable[tuple[float, int]]:
    """Every 17:00 New York of a weekday with ``after < instant < until``, and how often it counts.

    A position that the market ends in the bar up to that very second has not stayed the night.
    """
    day = datetime.fromtimestamp(after, UTC).astimezone(NEW_YORK).date()
    while True:
        instant = datetime(day.year, day.month, day.day, 17, tzinfo=NEW_YORK).timestamp()
        if instant >= until:
            return
        if instant > after and day.isoweekday() <= 5:
            yield instant, 3 if day.isoweekday() == 3 else 1
        day += timedelta(days=1)


@dataclass
class Expected:
    """What the arithmetic says of one closed position, in cents."""

    profit: int
    opening: int
    closing: int
    swap: int


def expect(
    opened: BookedDeal, closed: BookedDeal, contract: Contract, prices: Prices, currency: str, rated_at: float
) -> Expected | None:
    """The money of a position from its two deals; None where no pair tells the conversion rate."""
    units, lots = Decimal(opened.volume_cents) / 100, Decimal(opened.volume_cents) / contract.spec.lot_size_cents
    quote, points = contract.spec.quote_asset, contract.swap(opened.direction)
    rate = prices.rate(quote, currency, rated_at)
    if rate is None:
        return None
    profit = cents((number(closed.price) - number(opened.price)) * opened.direction * units * rate)
    whole = number(contract.commission_per_lot) * lots
    opening = cents(whole / 2)
    swap = 0
    for instant, count in nights(opened.time, closed.time):
        at = prices.rate(quote, currency, instant)
        assert at is not None
        swap += cents(number(points) * units * at * count)
    return Expected(profit, opening, cents(whole) - opening, swap)


@dataclass
class Sums:
    """What everything came to, in cents, by three tellers that must agree."""

    balance: int
    initial: int
    deals: int
    profit: int
    commission: int
    swap: int
    journal: int
    positions: int
    recomputed: int


def reconcile(
    book: Book, books: Executor, journal: Path, deals: Deals, contracts: Mapping[str, Contract], prices: Prices
) -> Sums:
    """Hold account, deals, journal and books against each other and against the arithmetic of the bars.

    Raises:
        AssertionError: naming what differs.
    """
    everything = [deals.found[key] for key in sorted(deals.found)]
    profit, commission = sum(one.profit for one in everything), sum(one.commission for one in everything)
    swap = sum(one.swap for one in everything)
    assert book.balance - book.initial_balance == profit + swap - commission
    by_position = deals.by_position()
    told = _journalled(journal, deals)
    _same_positions(book, books, told)
    assert told.money == book.balance - book.initial_balance, (told.money, book.balance - book.initial_balance)
    assert (told.profit, told.commission, told.swap) == (profit, commission, swap)
    recomputed, wrong = 0, []
    for position_id, mine in by_position.items():
        assert [one.closing for one in mine] in ([False], [False, True]), position_id
        _filled_at_market(mine, contracts[mine[0].symbol], prices, told.decided)
        if len(mine) < 2:
            continue
        opened, closed = mine
        rated_at = told.decided.get(closed.client_order_id, closed.time)
        found = expect(opened, closed, contracts[opened.symbol], prices, book.currency, rated_at)
        if found is None:
            continue
        recomputed += 1
        has = Expected(closed.profit, opened.commission, closed.commission, closed.swap)
        if has != found:
            wrong.append((position_id, opened, closed, found))
    assert not wrong, (len(wrong), wrong[:3])
    return Sums(
        book.balance,
        book.initial_balance,
        len(everything),
        profit,
        commission,
        swap,
        told.money,
        len(by_position),
        recomputed,
    )


def _filled_at_market(
    mine: Iterable[BookedDeal], contract: Contract, prices: Prices, decided: Mapping[str, float]
) -> None:
    """Every order of ours is a fill at the first open after its decision, spread and slippage against us."""
    for deal in mine:
        if deal.reason != "order":
            continue
        bid = number(prices.next_open(deal.symbol, decided[deal.client_order_id]))
        ask = bid + number(contract.spread)
        slip = number(contract.slippage)
        expected = ask + slip if deal.direction > 0 else bid - slip
        assert deal.price == float(expected), (deal, expected)


@dataclass
class _Told:
    money: int = 0
    profit: int = 0
    commission: int = 0
    swap: int = 0
    open_ids: set[int] = field(default_factory=set)
    decided: dict[str, float] = field(default_factory=dict)


def _journalled(folder: Path, deals: Deals) -> _Told:
    """What the journal says of money: opening fills cost commission, ends bring the rest, each once."""
    told, ended, by_position = _Told(), set(), deals.by_position()
    filled: set[int] = set()
    for entry in read_journal(folder):
        assert isinstance(entry, Entry), entry
        record = entry.record
        if isinstance(record, Fill):
            assert record.deal.deal_id not in filled, record
            filled.add(record.deal.deal_id)
            deal = deals.found[record.deal.deal_id]
            seen = (of_float(record.deal.profit), of_float(record.deal.commission), of_float(record.deal.swap))
            assert seen == (deal.profit, deal.commission, deal.swap), record
            if not deal.closing:
                told.commission += deal.commission
                told.open_ids.add(deal.position_id)
        elif isinstance(record, Close):
            assert record.position_id not in ended, record
            ended.add(record.position_id)
            told.open_ids.remove(record.position_id)
            told.profit += of_float(record.profit)
            told.commission += of_float(record.commission)
            told.swap += of_float(record.swap)
            opening = next(one for one in by_position[record.position_id] if not one.closing)
            assert of_float(record.opening_commission) == opening.commission, record
            net = of_float(record.profit) + of_float(record.swap) - of_float(record.commission) - opening.commission
            assert of_float(float(record.wire.split("|")[3])) == net, record
        elif isinstance(record, OpenIntent | CloseIntent):
            told.decided[record.intent_id] = record.decided_at
        elif isinstance(record, AckRecord):
            assert record.status != "UNKNOWN", record
    told.money = told.profit + told.swap - told.commission
    return told


def _same_positions(book: Book, books: Executor, told: _Told) -> None:
    """Account, books and journal know the same open positions, one a model at most."""
    held = {name: one.position for name, one in books.models.items() if one.position is not None}
    by_label = {one.label: one for one in book.positions}
    assert len(by_label) == len(book.positions)
    assert {LABEL_PREFIX + name for name in held} == set(by_label)
    for name, position in held.items():
        real = by_label[LABEL_PREFIX + name]
        assert (position.position_id, position.direction, position.volume_cents) == (
            real.position_id,
            real.direction,
            real.volume_cents,
        )
    assert told.open_ids == {one.position_id for one in book.positions}


def streaks(deals: Deals) -> dict[str, int]:
    """Losing trades in a row by model, from the deals; the opening commission is the position's, not the trade's."""
    found: dict[str, int] = {}
    for deal in sorted((one for one in deals.found.values() if one.closing), key=lambda one: one.deal_id):
        name = deal.label.removeprefix(LABEL_PREFIX)
        net = deal.profit + deal.swap - deal.commission
        found[name] = found.get(name, 0) + 1 if net < 0 else 0
    return found


def summary(sums: Sums, **more: Any) -> dict[str, Any]:
    """For people: money with its cents."""
    money = {
        name: getattr(sums, name) / 100 for name in ("initial", "balance", "profit", "commission", "swap", "journal")
    }
    return money | {"deals": sums.deals, "positions": sums.positions, "recomputed": sums.recomputed} | more


def events(folder: Path) -> dict[str, int]:
    """How often each event stands in a journal, refusals by their code."""
    found: Counter[str] = Counter()
    for entry in read_journal(folder):
        record = entry.record if isinstance(entry, Entry) else None
        if isinstance(record, Event) and record.name not in ("plan", "decision"):
            found[" ".join([record.name, str(record.detail.get("code", ""))]).strip()] += 1
    return dict(found.most_common())
