"""What things are worth at an instant: quotes, conversion, floating profit, equity, margin level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oracle_batch.broker.base import Quote
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.protection import Terms
from oracle_batch.market import fills
from oracle_batch.market.book import Book, OpenPosition
from oracle_batch.market.rates import Rate, Rates
from oracle_batch.market.specs import Contract, Contracts
from oracle_batch.market.tape import Mark, Reach, Tape

RATE_RESERVE = 1.5
"""How much worse than at constant conversion rates a day's losses are taken to be when a stop-out is ruled out."""


@dataclass(frozen=True, slots=True)
class Valuation:
    """Floating profit by position id, swap included, and the equity: balance plus their sum. Minor units."""

    floating: dict[int, int]
    equity: int


class Pricing:
    """Prices of one account's positions. ``problems`` names symbols that could not be priced lately, and why."""

    def __init__(self, tape: Tape, contracts: Contracts, currency: str) -> None:
        self.problems: dict[str, str] = {}
        self.rates = Rates(tape, currency)
        self._tape = tape
        self._contracts = contracts

    def contract(self, symbol: str) -> Contract | None:
        """See ``Contracts.find``."""
        return self._contracts.find(symbol)

    def is_open(self, symbol: str, at: float) -> bool:
        """Whether the symbol's schedule lets it trade; without one it always may."""
        schedule = self._contracts.schedule(symbol)
        return schedule is None or schedule.is_open(at)

    def margin(
        self, contract: Contract, volume_cents: int, price: float, at: float, leverage: float, money_digits: int
    ) -> int:
        """Margin of a volume at a price, in minor units."""
        unit = self.rates.margin_rate(contract, price, at).value
        return fills.margin_minor(volume_cents, unit, leverage, money_digits)

    def terms(self, symbol: str, at: float) -> Terms | None:
        """What the symbol costs at an instant, None when nobody knows it.

        Raises:
            BarError, ConfigError, DataError: a cost or the conversion rate is not known or wrong.
        """
        contract = self._contracts.find(symbol)
        if contract is None:
            return None
        return Terms(
            contract.spec,
            self.rates.profit_rate(contract, at).value,
            contract.spread,
            contract.slippage,
            contract.commission_per_lot,
            contract.min_stop,
            contract.min_target,
        )

    def quote(self, symbol: str, at: float) -> Quote | None:
        """Bid and ask at an instant, None when the symbol or its price is unknown.

        Raises:
            BarError, ConfigError: a bar, or a cost that the symbol needs, is wrong.
        """
        contract = self._contracts.find(symbol)
        mark = self._tape.last(symbol, at) if contract is not None else None
        if contract is None or mark is None:
            return None
        return Quote(mark.bid, fills.exit_quote(contract, -1, mark.bid), mark.time)

    def fill_mark(self, symbol: str, decided_at: float) -> Mark | None:
        """The bid that a market order meets: the next open, else the last close."""
        return self._tape.next_open(symbol, decided_at) or self._tape.last(symbol, decided_at)

    def valuation(self, book: Book, at: float, *, by_marks: bool = False) -> Valuation:
        """Every position at its exit quote, gross but with its swap, each rounded by itself.

        A price or rate that cannot be read is named in ``problems``, and the last one seen stands, as a broker's last
        quote does when its source falls silent. ``by_marks`` values at the positions' own marks.
        """
        bids = {} if by_marks else self._bids(book.positions, at)
        floating = {
            position.position_id: self.floating(
                position, bids.get(position.symbol, position.mark), at, book.money_digits
            )
            for position in book.positions
        }
        return Valuation(floating, book.balance + sum(floating.values()))

    def floating(self, position: OpenPosition, bid: float, at: float, money_digits: int) -> int:
        """What a position would bring in minor units at this bid: gross profit and swap."""
        price = fills.exit_quote(position.contract, position.direction, bid)
        rate = self.rate(position, at).value
        return fills.profit_minor(position, price, position.volume_cents, rate, money_digits) + position.swap

    def rate(self, position: OpenPosition, at: float) -> Rate:
        """The conversion rate of a position's profit; the last one seen when none can be read."""
        try:
            return self.rates.profit_rate(position.contract, at)
        except OracleBatchError as error:
            self.problems[position.symbol] = str(error)
            return Rate(position.rate, "last")

    def stop_out_possible(self, book: Book, reach: Mapping[str, Reach], at: float, level_pct: float) -> bool:
        """False only when the margin level holds at the worst price of every symbol at once."""
        loss = 0
        for position in book.positions:
            stretch = reach.get(position.symbol)
            worst = position.mark if stretch is None else stretch.low if position.direction > 0 else stretch.high
            loss += min(0, self.floating(position, worst, at, book.money_digits))
        return level_broken(book, book.balance + round(loss * RATE_RESERVE), level_pct)

    def _bids(self, positions: Iterable[OpenPosition], at: float) -> Mapping[str, float]:
        bids = {}
        for symbol in {position.symbol for position in positions}:
            try:
                mark = self._tape.last(symbol, at)
            except OracleBatchError as error:
                self.problems[symbol] = str(error)
                continue
            if mark is not None:
                bids[symbol] = mark.bid
        return bids


def level_broken(book: Book, equity: int, level_pct: float) -> bool:
    """Whether equity / margin used (in per cent) is at or below a level; never without margin used."""
    return book.margin_used > 0 and equity * 100 <= level_pct * book.margin_used
