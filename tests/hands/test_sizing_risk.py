"""Lots from risk: fewer than the fixed ones, never more; the loss at the stop within the percentage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.protection import ProtectionRefused, Sized, Terms, sized
from oracle_batch.hands.sizing import VolumeRefusedError, risk_volume_cents
from tests.hands.protection_build import EURGBP, EURUSD, GER40, USDJPY, XAUUSD, Settings, terms


def entry(
    settings: Settings, market: Terms, lots: float, risk: float, *, equity: float = 10_000.0, atr: float | None = None
) -> Sized | ProtectionRefused:
    return sized(
        settings,
        market,
        direction=1,
        lots=lots,
        risk_per_trade_pct=risk,
        equity=equity,
        atr=atr,
        balance=10_000.0,
        entry_price=1e6,
    )


@pytest.mark.parametrize(
    ("pct", "equity", "stop", "rate", "contract", "fixed", "volume"),
    [
        # 1 % of 10,000 = 100; 0.005 · 1 → 20,000 EUR = 0.2 lots, fixed 1 lot
        (1.0, 10_000, 0.005, 1.0, EURUSD, 10_000_000, 2_000_000),
        # 50 / 0.004 = 12,500 EUR: 0.125 lots, down to 0.12
        (0.5, 10_000, 0.004, 1.0, EURUSD, 10_000_000, 1_200_000),
        # the fixed lot caps
        (1.0, 10_000, 0.005, 1.0, EURUSD, 500_000, 500_000),
        # GBPUSD 1.25: 100 / (0.004 · 1.25) = 20,000 EUR
        (1.0, 10_000, 0.004, 1.25, EURGBP, 10_000_000, 2_000_000),
        # USDJPY 150: 100 · 150 / 0.75 = 20,000 USD exactly, whatever 1/150 is in binary
        (1.0, 10_000, 0.75, 1 / 150, USDJPY, 10_000_000, 2_000_000),
        # 100 / 20 = 5 ounces = 0.05 lots
        (1.0, 10_000, 20.0, 1.0, XAUUSD, 100_000, 500),
        # 100 / (150 · 1.08) = 0.617… of the index, step 0.01
        (1.0, 10_000, 150.0, 1.08, GER40, 1000, 61),
    ],
)
def test_lots_follow_the_stop_distance(
    pct: float, equity: float, stop: float, rate: float, contract: SymbolSpec, fixed: int, volume: int
) -> None:
    assert risk_volume_cents(pct, equity, stop, rate, fixed, contract) == volume


@pytest.mark.parametrize("equity", [900.0, 0.0, -50.0])
def test_too_little_equity_for_the_smallest_volume_is_refused(equity: float) -> None:
    # 1 % of 900 = 9; the smallest volume, 1,000 EUR, would risk 10
    with pytest.raises(VolumeRefusedError) as refusal:
        risk_volume_cents(1.0, equity, 0.01, 1.0, 10_000_000, EURUSD)
    assert refusal.value.reason == "VOLUME_BELOW_MIN"


def test_the_set_up_shrinks_as_a_whole() -> None:
    # fixed 0.05 lots: 50 USD are 0.01, 100 USD are 0.02. 0.1 % of 10,000 = 10: 1,000 EUR
    found = entry(Settings(sl_usd=50, tp_usd=100), terms(commission_per_lot=7), 0.05, 0.1)
    assert isinstance(found, Sized)
    assert (found.volume_cents, found.share) == (100_000, 0.2)
    assert (found.distances.stop, found.distances.target) == (0.01, 0.02)
    assert found.distances.loss == 10.035


def test_without_a_risk_the_fixed_lots_stand() -> None:
    found = entry(Settings(sl_usd=50), terms(), 0.05, 0.0, equity=0.0)
    assert isinstance(found, Sized)
    assert (found.volume_cents, found.share) == (500_000, 1.0)


def test_the_stop_limit_is_asked_of_the_volume_that_is_left() -> None:
    # 5 % at the fixed lots, 1 % after the risk took its share
    settings = Settings(sl_usd=500, max_stop_pct=1.0)
    assert entry(settings, terms(), 0.5, 0.0) == ProtectionRefused(
        "MAX_STOP_PCT", {"loss": 500.0, "balance": 10_000.0, "max_stop_pct": 1.0}
    )
    found = entry(settings, terms(), 0.5, 1.0)
    assert isinstance(found, Sized)
    assert found.distances.loss == 100.0


def test_risk_that_cannot_be_counted_is_refused() -> None:
    cases = [
        (Settings(), 1.0, 10_000.0, "REQUIRE_STOP"),
        (Settings(tp_usd=10), 1.0, 10_000.0, "REQUIRE_STOP"),
        (Settings(sl_atr=2), 1.0, 10_000.0, "NO_ATR"),
        (Settings(sl_usd=10), 0.001, 10_000.0, "VOLUME_BELOW_MIN"),
    ]
    for settings, risk, equity, reason in cases:
        found = entry(settings, terms(), 0.05, risk, equity=equity)
        assert isinstance(found, ProtectionRefused)
        assert found.reason == reason


def test_lots_outside_the_limits_are_refused_as_ever() -> None:
    for lots, reason in ((0.001, "VOLUME_BELOW_MIN"), (1000.0, "VOLUME_ABOVE_MAX")):
        found = entry(Settings(sl_usd=10), terms(), lots, 1.0)
        assert isinstance(found, ProtectionRefused)
        assert found.reason == reason


@given(
    pct=st.floats(0.01, 5),
    equity=st.floats(100, 1_000_000),
    stop=st.integers(1, 100_000),
    rate=st.floats(0.001, 500),
    fixed_steps=st.integers(1, 10_000),
)
def test_the_loss_stays_within_the_risk_and_the_volume_on_its_step(
    pct: float, equity: float, stop: int, rate: float, fixed_steps: int
) -> None:
    fixed = fixed_steps * EURUSD.step_volume_cents
    distance = stop / 100_000
    try:
        volume = risk_volume_cents(pct, equity, distance, rate, fixed, EURUSD)
    except VolumeRefusedError:
        smallest = EURUSD.min_volume_cents / 100 * distance * rate
        assert smallest > equity * pct / 100 * (1 - 1e-9)
        return
    assert volume % EURUSD.step_volume_cents == 0
    assert EURUSD.min_volume_cents <= volume <= fixed
    assert volume / 100 * distance * rate <= equity * pct / 100 * (1 + 1e-9)
