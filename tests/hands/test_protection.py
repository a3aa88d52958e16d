"""Money into distances: by hand, on the grid, never beyond the money asked for."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.prices import exact
from oracle_batch.hands.protection import Distances, ProtectionRefused, StopTrigger, Terms, initial, loss_at_stop
from tests.hands.protection_build import (
    EURGBP,
    EURUSD,
    GER40,
    JPN225,
    SPY,
    USDJPY,
    XAUUSD,
    Settings,
    spec,
    terms,
)

FAR = 1e9
"""A price so high that no distance of these tests reaches zero."""


def found(
    settings: Settings,
    market: Terms,
    volume_cents: int,
    *,
    direction: int = 1,
    atr: float | None = None,
    balance: float = 10_000.0,
    entry_price: float = FAR,
) -> Distances | ProtectionRefused:
    return initial(
        settings,
        market,
        direction=direction,
        volume_cents=volume_cents,
        atr=atr,
        balance=balance,
        entry_price=entry_price,
    )


def placed(
    settings: Settings,
    market: Terms,
    volume_cents: int,
    *,
    direction: int = 1,
    atr: float | None = None,
    entry_price: float = FAR,
) -> Distances:
    result = found(settings, market, volume_cents, direction=direction, atr=atr, entry_price=entry_price)
    assert isinstance(result, Distances), result
    return result


def refused(
    settings: Settings,
    market: Terms,
    volume_cents: int,
    *,
    atr: float | None = None,
    balance: float = 10_000.0,
    entry_price: float = FAR,
) -> ProtectionRefused:
    result = found(settings, market, volume_cents, atr=atr, balance=balance, entry_price=entry_price)
    assert isinstance(result, ProtectionRefused), result
    return result


# What a currency distance is, worked by hand: (contract, rate, volume in cents, money, stop, target)
VECTORS = [
    # USD account, 1,000 EUR: 10 / 1,000 = 0.01
    ("EURUSD", EURUSD, 1.0, 100_000, 10.0, 0.01, 0.01),
    # 3,000 EUR: 10 / 3,000 = 0.0033333…
    ("EURUSD, thirds", EURUSD, 1.0, 300_000, 10.0, 0.00333, 0.00334),
    # GBPUSD 1.25, 5,000 EUR: a move of 1.0 is 6,250 USD; 10 / 6,250 = 0.0016
    ("EURGBP on USD", EURGBP, 1.25, 500_000, 10.0, 0.0016, 0.0016),
    # USDJPY 150, 1,000 USD: a move of 1.0 is 6.6667 USD; 10 / 6.6667 = 1.5, whatever 1/150 is in binary
    ("USDJPY on USD", USDJPY, 1 / 150, 100_000, 10.0, 1.5, 1.5),
    # USDJPY 155.1: 10 · 155.1 / 1,000 = 1.551
    ("USDJPY, dust", USDJPY, 1 / 155.1, 100_000, 10.0, 1.551, 1.551),
    # 1 ounce: 10; 3 ounces: 3.333…
    ("XAUUSD", XAUUSD, 1.0, 100, 10.0, 10.0, 10.0),
    ("XAUUSD, thirds", XAUUSD, 1.0, 300, 10.0, 3.33, 3.34),
    # EURUSD 1.08, 0.05 of an index of 1 EUR a point: a point is 0.054 USD; 10 / 0.054 = 185.185…
    ("GER40 on USD", GER40, 1.08, 5, 10.0, 185.1, 185.2),
    # 10 index, USDJPY 150: a point is 1/15 USD; 25 · 15 = 375, no decimals
    ("JPN225 on USD", JPN225, 1 / 150, 1000, 25.0, 375.0, 375.0),
    ("JPN225, rounded", JPN225, 1 / 150, 1000, 25.05, 375.0, 376.0),
    # EUR account, EURUSD 1.08, 1,000 EUR: a move of 1.0 is 1,000 / 1.08 EUR; 10 · 1.08 / 1,000 = 0.0108
    ("EURUSD on EUR", EURUSD, 1 / 1.08, 100_000, 10.0, 0.0108, 0.0108),
    # EUR account, GER40 one lot: a point is a euro
    ("GER40 on EUR", GER40, 1.0, 100, 12.34, 12.3, 12.4),
    # EUR account, EURJPY 162, USDJPY: 10 · 162 / 1,000 = 1.62
    ("USDJPY on EUR", USDJPY, 1 / 162, 100_000, 10.0, 1.62, 1.62),
]


@pytest.mark.parametrize(("contract", "rate", "volume", "money", "stop", "target"), [v[1:] for v in VECTORS])
@pytest.mark.parametrize("direction", [1, -1])
def test_money_becomes_the_distance_worked_by_hand(
    contract: SymbolSpec, rate: float, volume: int, money: float, stop: float, target: float, direction: int
) -> None:
    result = placed(Settings(sl_usd=money, tp_usd=money), terms(contract, rate), volume, direction=direction)
    assert (result.stop, result.target) == (stop, target)
    assert result.stop_relative == round(stop * 100_000)
    assert result.target_relative == round(target * 100_000)


@pytest.mark.parametrize(
    ("digits", "stop", "relative"),
    # 100 units, money 1,234.56789: a distance of 12.3456789
    [
        (0, 12.0, 1_200_000),
        (1, 12.3, 1_230_000),
        (2, 12.34, 1_234_000),
        (3, 12.345, 1_234_500),
        (4, 12.3456, 1_234_560),
        (5, 12.34567, 1_234_567),
        (6, 12.34567, 1_234_567),  # relative prices have no sixth decimal
    ],
)
def test_a_stop_is_cut_to_the_digits_of_its_symbol(digits: int, stop: float, relative: int) -> None:
    result = placed(Settings(sl_usd=1234.56789), terms(spec("ABCUSD", digits, 100)), 10_000)
    assert (result.stop, result.stop_relative) == (stop, relative)


def test_absolute_prices_lie_on_the_grid_around_an_entry_that_does_not() -> None:
    # an average of partial fills: the stop is rounded towards it, the target away from it
    distances = placed(Settings(sl_usd=10, tp_usd=20), terms(), 100_000)
    assert distances.prices(1, 1.100004, 5) == (1.09001, 1.12001)
    assert distances.prices(-1, 1.100004, 5) == (1.11, 1.08)
    assert distances.prices(1, 1.1, 5) == (1.09, 1.12)
    assert Distances().prices(1, 1.1, 5) == (None, None)


def test_nothing_asked_for_is_no_protection() -> None:
    assert placed(Settings(), terms(rate=math.nan), 100_000) == Distances()
    assert placed(Settings(tp_usd=10), terms(), 100_000) == Distances(None, 0.01, None, 1000, None)


def test_of_two_stops_and_two_targets_the_nearer_counts() -> None:
    # 10 USD on 1,000 EUR are 0.01; 2 · 0.003 = 0.006, 2 · 0.007 = 0.014
    both = Settings(sl_usd=10, sl_atr=2, tp_usd=10, tp_atr=2)
    calm, wild = placed(both, terms(), 100_000, atr=0.003), placed(both, terms(), 100_000, atr=0.007)
    assert (calm.stop, calm.target) == (0.006, 0.006)
    assert (wild.stop, wild.target) == (0.01, 0.01)


def test_multiples_of_the_true_range_are_rounded_like_money() -> None:
    # 1.5 · 0.00123456 = 0.00185184
    result = placed(Settings(sl_atr=1.5, tp_atr=1.5), terms(), 100_000, atr=0.00123456)
    assert (result.stop, result.target) == (0.00185, 0.00186)


@pytest.mark.parametrize("atr", [None, 0.0, math.nan, math.inf])
def test_without_a_true_range_a_multiple_of_it_is_refused(atr: float | None) -> None:
    assert refused(Settings(sl_usd=10, sl_atr=2), terms(), 100_000, atr=atr).reason == "NO_ATR"
    assert refused(Settings(sl_usd=10, tp_atr=2), terms(), 100_000, atr=atr).reason == "NO_ATR"


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_without_a_rate_money_is_refused(rate: float) -> None:
    assert refused(Settings(sl_usd=10), terms(rate=rate), 100_000).reason == "NO_RATE"


def test_the_trailing_distance_is_the_first_stop_where_there_is_no_other() -> None:
    assert placed(Settings(trailing_usd=5, require_stop=True), terms(), 100_000).stop == 0.005
    assert placed(Settings(trailing_usd=5, sl_usd=10), terms(), 100_000).stop == 0.01


def test_a_required_stop_that_nobody_configured_is_refused() -> None:
    assert refused(Settings(require_stop=True), terms(), 100_000).reason == "REQUIRE_STOP"
    assert refused(Settings(require_stop=True, tp_usd=10), terms(), 100_000).reason == "REQUIRE_STOP"


def test_a_stop_inside_the_spread_or_the_brokers_minimum_is_refused() -> None:
    # 5,000 EUR, 1 USD: 0.0002. Spread 0.0001, slippage 0.00002, minimum 0.00008: exactly enough
    fits = terms(spread=0.0001, slippage=0.00002, min_stop_distance=0.00008)
    assert placed(Settings(sl_usd=1), fits, 500_000).stop == 0.0002
    tight = terms(spread=0.0001, slippage=0.00002, min_stop_distance=0.00009)
    refusal = refused(Settings(sl_usd=1), tight, 500_000)
    assert refusal.reason == "STOP_TOO_CLOSE"
    # 0.00021 · 5,000 = 1.05 would do
    assert refusal.numbers == {"asked": 0.0002, "least": 0.00021, "least_money": 1.05}


def test_a_stop_of_no_distance_is_refused() -> None:
    # 10,000,000 EUR, 1 USD: 0.0000001 is below the grid
    assert refused(Settings(sl_usd=1), terms(), 1_000_000_000).reason == "STOP_TOO_CLOSE"


def test_a_target_too_near_is_moved_away() -> None:
    assert placed(Settings(tp_usd=1), terms(min_target_distance=0.00031), 500_000).target == 0.00031
    assert placed(Settings(tp_usd=1), terms(), 1_000_000_000).target == 0.00001


def test_the_limit_on_the_stop_counts_the_closing_commission() -> None:
    # 10,000 EUR, 50 USD: 0.005; commission 7 · 0.1 / 2 = 0.35. 0.5 % of 10,000 are 50; of 10,070, 50.35
    settings, market = Settings(sl_usd=50, max_stop_pct=0.5), terms(commission_per_lot=7)
    refusal = refused(settings, market, 1_000_000)
    assert refusal.reason == "MAX_STOP_PCT"
    assert refusal.numbers == {"loss": 50.35, "balance": 10_000.0, "max_stop_pct": 0.5}
    enough = found(settings, market, 1_000_000, balance=10_070)
    assert isinstance(enough, Distances)
    assert enough.loss == 50.35
    assert refused(settings, market, 1_000_000, balance=0).reason == "MAX_STOP_PCT"


def test_a_limit_on_the_stop_cannot_be_held_without_one() -> None:
    assert refused(Settings(max_stop_pct=1), terms(), 100_000).reason == "MAX_STOP_PCT"


def test_nothing_lies_below_zero() -> None:
    # 0.01 shares at 500 USD are worth 5: a stop for 10 USD would lie at −500
    long = placed(Settings(sl_usd=10, tp_usd=10), terms(SPY), 1, entry_price=500)
    assert (long.stop, long.target, long.loss) == (495.0, 1000.0, 4.95)
    short = placed(Settings(sl_usd=10, tp_usd=10), terms(SPY), 1, direction=-1, entry_price=500)
    assert (short.stop, short.target) == (1000.0, 495.0)


def test_a_stop_that_fills_a_spread_beyond_its_price_is_put_nearer() -> None:
    market = terms(spread=0.0001)
    assert placed(Settings(sl_usd=10, stop_trigger_method="opposite"), market, 100_000).stop == 0.0099
    double = placed(Settings(sl_usd=10, stop_trigger_method="double_opposite"), market, 100_000)
    assert (double.stop, double.loss) == (0.0099, 10.0)
    assert placed(Settings(sl_usd=10, stop_trigger_method="double_trade"), market, 100_000).stop == 0.01


@pytest.mark.parametrize(
    ("direction", "entry", "stop", "volume", "market", "loss"),
    [
        # 1,000 EUR · 0.01 + 7 · 0.01 / 2
        (1, 1.1, 1.09, 100_000, terms(commission_per_lot=7), 10.035),
        (-1, 1.1, 1.11, 100_000, terms(commission_per_lot=7), 10.035),
        # a stop in profit: −1,000 · 0.01 + 0.035
        (1, 1.1, 1.11, 100_000, terms(commission_per_lot=7), -9.965),
        # 1,000 USD · 1.5 JPY / 150
        (-1, 150.0, 151.5, 100_000, terms(USDJPY, 1 / 150), 10.0),
        # 0.05 · 185.1 EUR · 1.08
        (1, 18_000.0, 17_814.9, 5, terms(GER40, 1.08), 9.9954),
    ],
)
def test_the_loss_at_a_stop(direction: int, entry: float, stop: float, volume: int, market: Terms, loss: float) -> None:
    assert loss_at_stop(direction, entry, stop, volume, market) == pytest.approx(loss, abs=1e-9)


CONTRACTS = st.builds(
    spec,
    st.just("ABCUSD"),
    st.integers(0, 5),
    st.sampled_from([1, 10, 100, 1000, 100_000]),
)
TRIGGERS = st.sampled_from(["trade", "opposite", "double_trade", "double_opposite"])


@given(
    contract=CONTRACTS,
    lots_cents=st.integers(1, 5000),
    money=st.floats(0.01, 10_000),
    target=st.floats(0.01, 10_000),
    rate=st.floats(0.001, 500),
    spread_steps=st.integers(0, 30),
    minimum=st.floats(0, 50),
    direction=st.sampled_from([1, -1]),
    entry_steps=st.integers(100, 10_000_000),
    trigger=TRIGGERS,
)
@hypothesis_settings(max_examples=400)
def test_a_stop_never_loses_more_than_asked_and_everything_is_on_the_grid(
    contract: SymbolSpec,
    lots_cents: int,
    money: float,
    target: float,
    rate: float,
    spread_steps: int,
    minimum: float,
    direction: int,
    entry_steps: int,
    trigger: StopTrigger,
) -> None:
    step = Decimal(1).scaleb(-contract.digits)
    market = terms(
        contract,
        rate,
        spread=float(spread_steps * step),
        min_stop_distance=minimum * float(step),
        min_target_distance=minimum * float(step),
    )
    entry = float(entry_steps * step)
    volume = lots_cents * contract.step_volume_cents
    settings = Settings(sl_usd=money, tp_usd=target, stop_trigger_method=trigger)
    result = found(settings, market, volume, direction=direction, entry_price=entry)
    assume(isinstance(result, Distances))
    assert isinstance(result, Distances)
    assert result.stop is not None
    assert result.target is not None
    assert result.loss is not None
    assert result.loss <= money * (1 + 1e-11)
    for distance, relative in ((result.stop, result.stop_relative), (result.target, result.target_relative)):
        assert relative is not None
        assert relative > 0
        assert relative % 10 ** (5 - contract.digits) == 0
        assert exact(distance) * 100_000 == relative
    assert exact(result.stop) >= exact(market.spread) + exact(market.min_stop_distance)
    stop, limit = result.prices(direction, entry, contract.digits)
    assert stop is not None
    assert limit is not None
    assert stop > 0
    assert limit > 0
    assert (entry - stop) * direction > 0
    assert (limit - entry) * direction > 0
    assert exact(stop) % step == 0
    assert exact(limit) % step == 0
    assert loss_at_stop(direction, entry, stop, volume, market, trigger) <= money * (1 + 1e-11)


@given(
    entry=st.floats(0.5, 2.0),
    money=st.floats(1, 100),
    direction=st.sampled_from([1, -1]),
)
def test_a_fill_off_the_grid_does_not_lose_more_either(entry: float, money: float, direction: int) -> None:
    result = placed(Settings(sl_usd=money), terms(), 1_000_000, direction=direction, entry_price=entry)
    stop, _ = result.prices(direction, entry, 5)
    assert stop is not None
    assert exact(stop) % Decimal("0.00001") == 0
    assert loss_at_stop(direction, entry, stop, 1_000_000, terms()) <= money * (1 + 1e-11)
