"""Money in every currency: distances, sizes, profit, equity and margin against numbers worked by hand, and against an
independent calculation for price digits 0 to 5 and money digits 0 to 8.

The independent one counts in fractions of whole numbers: points, hundredths of a unit, minor units.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import pytest

from oracle_batch.broker.paper_views import position_view
from oracle_batch.config import SymbolSettings as Execution
from oracle_batch.hands.entries import size
from oracle_batch.hands.open_risk import position_risk
from oracle_batch.hands.protection import Sized, Terms
from oracle_batch.market.book import new_book
from oracle_batch.market.engine import Engine
from oracle_batch.market.fills import Fill
from oracle_batch.market.orders import Order
from oracle_batch.market.spec_file import SymbolSettings
from tests.market.build import M15, T0, bars, market

# by hand


@dataclass(frozen=True)
class Case:
    """A symbol on an account: lots wished and money at the stop, and what comes of it.

    ``profit`` is what the position makes in cents when the market rises from ``price`` to ``then``, ``margin`` what it
    takes at a leverage of 100.
    """

    symbol: str
    currency: str
    pairs: dict[str, float]
    price: float
    then: float
    lots: float
    sl_usd: float
    volume_cents: int
    stop: float
    profit: int
    margin: int


CASES = [
    # 10,000 EUR; a GBP is 1.25 USD: 25 / 12,500 = 0.00200. 0.003 are 30 GBP. Margin: 10,000 · 1.1 / 100.
    Case("EURGBP", "USD", {"GBPUSD": 1.25, "EURUSD": 1.1}, 0.85, 0.853, 0.1, 25.0, 1_000_000, 0.848, 3750, 11_000),
    # 10,000 USD; a JPY is 1/150: 20 · 150 / 10,000 = 0.300. At 150.6, 0.600 are 6,000 JPY: 39.84 USD.
    Case("USDJPY", "USD", {}, 150.0, 150.6, 0.1, 20.0, 1_000_000, 149.7, 3984, 10_000),
    # 10 ounces: 50 / 10 = 5.00; 12.50 more are 125 USD; 20,000 / 100.
    Case("XAUUSD", "USD", {}, 2000.0, 2012.5, 0.1, 50.0, 1000, 1995.0, 12_500, 20_000),
    # 3 times the index in EUR at 1.1: 33 / 3.3 = 10.00; 25 points are 75 EUR; 18,000 · 3 · 1.1 / 100.
    Case("GER40", "USD", {"EURUSD": 1.1}, 18_000.0, 18_025.0, 3.0, 33.0, 300, 17_990.0, 8250, 59_400),
    # An index in yen, 30 of it; a JPY is 1/160: 90 · 160 / 30 = 480. Margin 73.125.
    Case("JPN225", "USD", {"USDJPY": 160.0}, 39_000.0, 39_800.0, 30.0, 90.0, 3000, 38_520.0, 15_000, 7313),
    # An account in EUR: a USD is 1/1.25; 10,000 EUR: 16 · 1.25 / 10,000 = 0.002. At 1.28 it is 300 / 1.28.
    Case("EURUSD", "EUR", {}, 1.25, 1.28, 0.1, 16.0, 1_000_000, 1.248, 23_438, 10_000),
    # An account in EUR, gold in USD: 10 ounces, 40 · 1.25 / 10 = 5.00; 10.00 are 100 USD: 80 EUR; 20,000 · 0.8 / 100.
    Case("XAUUSD", "EUR", {"EURUSD": 1.25}, 2000.0, 2010.0, 0.1, 40.0, 1000, 1995.0, 8000, 16_000),
]
FREE = SymbolSettings(spread_points=0, slippage_points=0, commission_per_lot=0)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.symbol} {case.currency}" for case in CASES])
def test_a_position_in_each_currency_by_hand(case: Case) -> None:
    series = {case.symbol: bars([(case.price,), (case.price,), (case.then,)])}
    series |= {pair: bars([(price,)] * 3) for pair, price in case.pairs.items()}
    engine = market(series, currency=case.currency, balance=100_000, settings={case.symbol: FREE})
    terms, quote = engine.pricing.terms(case.symbol, T0), engine.quote(case.symbol)
    execution = Execution(lot_weak=case.lots, sl_usd=case.sl_usd)
    found = size(execution, terms, quote, action=1, atr=None, balance=1e5, equity=1e5)
    assert isinstance(found, Sized)
    assert found.volume_cents == case.volume_cents
    order = Order(case.symbol, 1, found.volume_cents, T0, stop_relative=found.distances.stop_relative or 0)
    assert isinstance(engine.open(order), Fill)
    (position,) = engine.book.positions
    assert (position.stop_loss, position.margin) == (case.stop, case.margin)
    engine.advance(T0 + 2 * M15)
    assert engine.valuation().equity == 10_000_000 + case.profit
    assert isinstance(engine.close(position.position_id, position.volume_cents, decided_at=T0 + 2 * M15), Fill)
    assert engine.book.balance == 10_000_000 + case.profit


# every number of digits

PRICES = {0: "39000", 1: "18500.5", 2: "2000.25", 3: "150.125", 4: "1.2575", 5: "0.85375"}
"""A price for each number of digits, and the market then moves by 137 points."""
LOTS = {0: 1, 1: 1, 2: 100, 3: 100_000, 4: 100_000, 5: 100_000}
ACCOUNTS = {
    "same": ("USD", {}, Fraction(1)),
    "direct": ("GBP", {"GBPUSD": 1.25}, Fraction("1.25")),
    "inverse": ("JPY", {"USDJPY": 160.0}, Fraction(repr(1 / 160.0))),
}
"""Quote asset, the pairs that tell its rate, and US dollars per unit of it."""
SPREAD, SLIPPAGE, COMMISSION = 12, 3, 7


def whole(value: float) -> Fraction:
    return Fraction(repr(value))


def nearest(value: Fraction) -> int:
    """Half away from zero."""
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def an_engine(digits: int, money_digits: int, account: str) -> Engine:
    quote, pairs, _ = ACCOUNTS[account]
    price, move = Fraction(PRICES[digits]), Fraction(137, 10**digits)
    series = {"THING": bars([(float(price),), (float(price),), (float(price + move),)])}
    series |= {pair: bars([(at,)] * 3) for pair, at in pairs.items()}
    settings = SymbolSettings(
        digits=digits,
        lot_size=LOTS[digits],
        base="THG",
        quote=quote,
        spread_points=SPREAD,
        slippage_points=SLIPPAGE,
        commission_per_lot=COMMISSION,
    )
    book = new_book("paper", "USD", 1_000_000, 100, clock=T0, money_digits=money_digits)
    return market(series, book=book, settings={"THING": settings})


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("digits", range(6))
@pytest.mark.parametrize("money_digits", range(9))
@pytest.mark.parametrize("direction", [1, -1])
def test_every_amount_for_every_number_of_digits(digits: int, money_digits: int, account: str, direction: int) -> None:
    engine, rate = an_engine(digits, money_digits, account), ACCOUNTS[account][2]
    point, unit = Fraction(1, 10**digits), 10**money_digits
    price = Fraction(PRICES[digits])
    units = LOTS[digits] * Fraction(3, 10)
    cost_of_point = units * rate * point

    # The money of 250.6 points: the stop lies 250 points away, never farther.
    terms, quote = engine.pricing.terms("THING", T0), engine.quote("THING")
    assert isinstance(terms, Terms)
    execution = Execution(lot_weak=0.3, sl_usd=float(cost_of_point * Fraction("250.6")))
    found = size(execution, terms, quote, action=1 if direction > 0 else 4, atr=None, balance=1e6, equity=1e6)
    assert isinstance(found, Sized)
    assert Fraction(found.volume_cents, 100) == units
    assert found.distances.stop_relative == 250 * 10 ** (5 - digits)
    half = Fraction(COMMISSION) * Fraction(3, 10) / 2
    assert whole(found.distances.loss or 0.0) == pytest.approx(250 * cost_of_point + half, rel=1e-12)

    # The fill: spread and slippage against us.
    order = Order("THING", direction, found.volume_cents, T0, stop_relative=found.distances.stop_relative or 0)
    assert isinstance(engine.open(order), Fill)
    (position,) = engine.book.positions
    entry = price + (SPREAD + SLIPPAGE) * point if direction > 0 else price - SLIPPAGE * point
    assert whole(position.entry_price) == entry
    assert whole(position.stop_loss or 0.0) == entry - direction * 250 * point
    assert engine.book.balance == 1_000_000 * unit - nearest(half * unit)
    assert position.margin == nearest(units * (entry * rate) / 100 * unit)

    # What it can still lose from here: half of the cost of its spread has been paid by the quote.
    risk = position_risk(position_view(position, money_digits), terms, quote, money_digits, ours=True)
    left = 250 - (SPREAD + SLIPPAGE)
    assert risk.to_stop == ceil(left * cost_of_point * unit)
    assert risk.closing_cost == ceil((half + SLIPPAGE * cost_of_point) * unit)

    # The market rises by 137 points: equity, and the same realised.
    engine.advance(T0 + 2 * M15)
    moved = 137 * direction - (SPREAD + SLIPPAGE)
    balance = engine.book.balance
    assert engine.valuation().equity == balance + nearest(moved * cost_of_point * unit)
    assert isinstance(engine.close(position.position_id, position.volume_cents, decided_at=T0 + 2 * M15), Fill)
    deal = engine.book.deals[-1]
    assert deal.profit == nearest((moved - SLIPPAGE) * cost_of_point * unit)
    assert deal.commission == nearest(2 * half * unit) - nearest(half * unit)
    assert engine.book.balance == balance + deal.profit - deal.commission
