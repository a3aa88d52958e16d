"""Fills, money and margin, with numbers worked by hand. EURUSD costs: 7 points spread, 2 slippage, 7.00 a lot."""

from __future__ import annotations

import pytest

from oracle_batch.market.engine import Engine
from oracle_batch.market.fills import Fill, Refusal
from oracle_batch.market.orders import Order
from oracle_batch.market.spec_file import SymbolSettings
from tests.market.build import M15, T0, bars, market

FX_LOT = 10_000_000
"""Hundredths of a unit in a lot of 100,000."""


def bought(engine: Engine, symbol: str, volume: int, at: float = T0, **more: object) -> Fill:
    return entered(engine, symbol, 1, volume, at, **more)


def entered(engine: Engine, symbol: str, direction: int, volume: int, at: float = T0, **more: object) -> Fill:
    found = engine.open(Order(symbol, direction, volume, decided_at=at, **more))  # type: ignore[arg-type]
    assert isinstance(found, Fill), found
    return found


def closed(engine: Engine, position_id: int, volume: int, at: float) -> Fill:
    engine.advance(at)
    found = engine.close(position_id, volume, decided_at=at)
    assert isinstance(found, Fill), found
    return found


def refused(found: object) -> str:
    assert isinstance(found, Refusal), found
    return found.code


def test_a_long_euro_round_turn_on_a_dollar_account() -> None:
    engine = market({"EURUSD": bars([(1.10000, 1.10100, 1.09990, 1.10100), (1.10109,)])})
    fill = bought(engine, "EURUSD", FX_LOT // 10)
    assert (fill.price, fill.slippage) == (1.10009, 0.00002)
    assert engine.book.balance == 1_000_000 - 35
    assert engine.book.margin_used == 11_000  # 10,000 EUR · 1.1 / 100
    exit_fill = closed(engine, fill.position_id, FX_LOT // 10, T0 + M15)
    assert exit_fill.price == 1.10107
    assert exit_fill.deals[0].profit == 980
    assert engine.book.balance == 1_000_000 + 980 - 70
    assert (engine.book.positions, engine.book.margin_used) == ((), 0)


def test_a_short_yen_position_converts_at_the_pair_itself() -> None:
    engine = market({"USDJPY": bars([(150.0,), (149.5,)])})
    fill = entered(engine, "USDJPY", -1, FX_LOT // 10)
    assert fill.price == 149.998
    assert engine.book.margin_used == 10_000  # the base asset is the account's
    deal = closed(engine, fill.position_id, FX_LOT // 10, T0 + M15).deals[0]
    assert deal.price == 149.509
    assert deal.rate_source == "pair:1/USDJPY"
    assert deal.profit == 3271  # 0.489 · 10,000 = 4,890 JPY / 149.5 = 32.709
    assert deal.direction == 1


def test_gold_counts_ounces_and_points_of_a_cent() -> None:
    gold = replace_costs(spread_points=20)
    engine = market({"XAUUSD": bars([(2000.0,), (2001, 2012, 2000.5, 2011)])}, settings={"XAUUSD": gold})
    fill = bought(engine, "XAUUSD", 500, take_profit=2010.0)  # 0.05 lots = 5 ounces
    assert fill.price == 2000.22
    assert engine.book.margin_used == 10_000  # 5 · 2000 / 100
    (deal,) = engine.advance(T0 + 2 * M15)
    assert (deal.price, deal.reason, deal.profit) == (2010.0, "take_profit", 4890)
    assert engine.book.balance == 1_000_000 + 4890 - 35  # 0.18 at the opening, 0.17 at the close


def test_a_cross_converts_over_the_quote_currency_and_rounds_half_away_from_zero() -> None:
    pound = bars([(1.25,), (1.25,)])
    win = market({"EURGBP": bars([(0.85,), (0.851,)]), "GBPUSD": pound})
    fill = bought(win, "EURGBP", FX_LOT // 10)
    deal = closed(win, fill.position_id, FX_LOT // 10, T0 + M15).deals[0]
    assert (deal.profit, deal.rate_source) == (1113, "pair:GBPUSD")  # 8.90 GBP · 1.25 = 11.125
    loss = market({"EURGBP": bars([(0.85,), (0.84922,)]), "GBPUSD": pound})
    fill = bought(loss, "EURGBP", FX_LOT // 10)
    assert closed(loss, fill.position_id, FX_LOT // 10, T0 + M15).deals[0].profit == -1113


def test_an_index_in_euro_has_lots_of_one_unit() -> None:
    index = SymbolSettings(spread_points=100, slippage_points=10, commission_per_lot=0)
    engine = market({"GER40": bars([(15000,), (15100,)]), "EURUSD": bars([(1.1,), (1.1,)])}, settings={"GER40": index})
    fill = bought(engine, "GER40", 100)
    assert fill.price == 15001.1
    assert engine.book.margin_used == 16501  # 15001.1 · 1.1 / 100
    deal = closed(engine, fill.position_id, 100, T0 + M15).deals[0]
    assert (deal.price, deal.profit, deal.rate_source) == (15099.9, 10868, "pair:EURUSD")


def test_a_euro_account_is_paid_in_euro() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.10109,)])}, currency="EUR")
    fill = bought(engine, "EURUSD", FX_LOT // 10)
    assert engine.book.margin_used == 10_000
    deal = closed(engine, fill.position_id, FX_LOT // 10, T0 + M15).deals[0]
    assert deal.profit == 890  # 9.80 USD / 1.10109 = 8.9003
    assert deal.rate_source == "pair:1/EURUSD"


def test_floating_profit_marks_at_the_exit_quote_without_slippage_or_commission() -> None:
    engine = market({"EURUSD": bars([(1.1,)])})
    long = bought(engine, "EURUSD", FX_LOT)
    short = entered(engine, "EURUSD", -1, FX_LOT)
    value = engine.valuation()
    assert value.floating == {long.position_id: -900, short.position_id: -900}
    assert value.equity == engine.book.balance - 1800


def test_a_decision_at_the_close_fills_at_the_next_bars_open_even_a_moment_later() -> None:
    engine = market({"EURUSD": bars([(1.1, 1.2, 1.0, 1.15), (1.2,)])}, clock=T0 + M15 + 1)
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15).price == 1.20009


def test_after_the_last_bar_the_last_close_fills() -> None:
    engine = market({"EURUSD": bars([(1.1, 1.2, 1.0, 1.15)])}, clock=T0 + M15 + 1)
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15).price == 1.15009


def test_a_weekend_decision_fills_at_the_open_after_it_but_a_hole_of_weeks_does_not_count() -> None:
    friday = bars([(1.1,)])
    engine = market({("EURUSD", "M15"): friday, ("EURUSD", "M5"): bars([(1.3,)], T0 + 2 * 86400, 300)})
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15).price == 1.30009
    late = market({("EURUSD", "M15"): friday, ("EURUSD", "M5"): bars([(1.3,)], T0 + 30 * 86400, 300)})
    assert bought(late, "EURUSD", FX_LOT // 10, T0 + M15).price == 1.10009


def test_the_finest_bar_fills_unless_a_coarser_one_is_nearer() -> None:
    series = {
        ("EURUSD", "M1"): bars([(1.5,), (1.6,)], T0 + M15, 60),
        ("EURUSD", "M15"): bars([(1.1,), (1.2,), (1.3,)]),
    }
    engine = market(series)
    assert bought(engine, "EURUSD", FX_LOT // 10, T0).price == 1.10009
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15).price == 1.50009
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15 + 30).price == 1.60009
    assert bought(engine, "EURUSD", FX_LOT // 10, T0 + M15 + 90).price == 1.30009


def test_commission_of_a_round_turn_is_exact_however_the_halves_round() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.1,)])})
    fill = bought(engine, "EURUSD", FX_LOT // 100)  # 0.01 lots: 0.035 a side
    assert fill.deals[0].commission == 4
    assert closed(engine, fill.position_id, FX_LOT // 100, T0 + M15).deals[0].commission == 3


def test_a_partial_close_takes_its_share_and_leaves_the_rest_open() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.10109,)])})
    fill = bought(engine, "EURUSD", FX_LOT // 10, label="somebody", comment="why")
    deal = closed(engine, fill.position_id, FX_LOT * 3 // 100, T0 + M15).deals[0]
    assert (deal.profit, deal.commission) == (294, 10)  # 3,000 · 0.00098; 0.21 less the 0.11 paid at the opening
    (left,) = engine.book.positions
    assert (left.volume_cents, left.entry_price, left.label, left.comment) == (
        FX_LOT * 7 // 100,
        1.10009,
        "somebody",
        "why",
    )
    assert (left.commission, left.margin) == (24, 7700)
    assert refused(engine.close(left.position_id, left.volume_cents + 1, decided_at=T0)) == "TRADING_BAD_VOLUME"
    assert refused(engine.close(left.position_id, 1500, decided_at=T0)) == "TRADING_BAD_VOLUME"


def test_orders_that_the_market_does_not_take_change_nothing() -> None:
    engine = market({"EURUSD": bars([(1.1,)])}, balance=50)
    before = engine.book
    spec = FX_LOT // 100
    assert refused(engine.open(Order("EURUSD", 1, 0, decided_at=T0))) == "TRADING_BAD_VOLUME"
    assert refused(engine.open(Order("EURUSD", 1, spec - 1, decided_at=T0))) == "TRADING_BAD_VOLUME"
    assert refused(engine.open(Order("EURUSD", 1, spec + 1, decided_at=T0))) == "TRADING_BAD_VOLUME"
    assert refused(engine.open(Order("EURUSD", 1, 101 * FX_LOT, decided_at=T0))) == "TRADING_BAD_VOLUME"
    assert refused(engine.open(Order("NOSUCH", 1, spec, decided_at=T0))) == "SYMBOL_NOT_FOUND"
    assert refused(engine.open(Order("GBPUSD", 1, spec, decided_at=T0))) == "BAD_DATA"  # nobody knows its costs
    assert refused(engine.open(Order("EURUSD", 1, spec, decided_at=T0 - M15 * 900))) == "NO_QUOTES"
    assert refused(engine.open(Order("EURUSD", 1, spec, decided_at=T0, stop_loss=1.1))) == "TRADING_BAD_STOPS"
    assert refused(engine.open(Order("EURUSD", -1, spec, decided_at=T0, take_profit=1.2))) == "TRADING_BAD_STOPS"
    assert refused(engine.open(Order("EURUSD", 1, FX_LOT // 10, decided_at=T0))) == "NOT_ENOUGH_MONEY"  # 110 of 50
    assert refused(engine.close(1, spec, decided_at=T0)) == "POSITION_NOT_FOUND"
    assert refused(engine.amend(1, None, None)) == "POSITION_NOT_FOUND"
    assert engine.book == before


def test_margin_of_open_positions_is_not_free_and_commission_needs_money_too() -> None:
    series = {"EURUSD": bars([(1.1,)])}
    exactly = market(series, balance=110.35)
    bought(exactly, "EURUSD", FX_LOT // 10)
    assert refused(exactly.open(Order("EURUSD", 1, FX_LOT // 100, decided_at=T0))) == "NOT_ENOUGH_MONEY"
    assert (
        refused(market(series, balance=110.34).open(Order("EURUSD", 1, FX_LOT // 10, decided_at=T0)))
        == "NOT_ENOUGH_MONEY"
    )


def test_a_client_order_id_may_come_twice() -> None:
    engine = market({"EURUSD": bars([(1.1,)])})
    first = bought(engine, "EURUSD", FX_LOT // 100, client_order_id="x")
    second = bought(engine, "EURUSD", FX_LOT // 100, client_order_id="x")
    assert first.position_id != second.position_id
    assert [deal.client_order_id for deal in engine.book.deals] == ["x", "x"]


def test_a_netted_account_merges_reduces_and_flips() -> None:
    engine = market({"EURUSD": bars([(1.1,), (1.2,), (1.3,)])}, hedged=False)
    first = bought(engine, "EURUSD", FX_LOT // 10, label="one")
    engine.advance(T0 + M15)
    more = bought(engine, "EURUSD", FX_LOT * 3 // 10, T0 + M15, label="two")
    (position,) = engine.book.positions
    assert more.position_id == first.position_id == position.position_id
    assert (position.volume_cents, position.label) == (FX_LOT * 4 // 10, "one")
    assert position.entry_price == pytest.approx(1.17509, abs=1e-12)  # (1.10009 + 3 · 1.20009) / 4
    engine.advance(T0 + 2 * M15)
    less = entered(engine, "EURUSD", -1, FX_LOT // 10, T0 + 2 * M15)
    assert (less.position_id, less.deals[0].closing) == (first.position_id, True)
    assert less.deals[0].profit == 124_890  # (1.29998 − 1.17509) · 10,000
    flip = entered(engine, "EURUSD", -1, FX_LOT * 5 // 10, T0 + 2 * M15)
    assert [deal.closing for deal in flip.deals] == [True, False]
    (position,) = engine.book.positions
    assert (position.position_id, position.direction, position.volume_cents) == (flip.position_id, -1, FX_LOT * 2 // 10)
    assert flip.position_id != first.position_id


def replace_costs(**changes: float) -> SymbolSettings:
    return SymbolSettings(**({"spread_points": 7, "slippage_points": 2, "commission_per_lot": 7} | changes))  # type: ignore[arg-type]
