"""Columns of whole numbers come to what decimals come to one by one."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oracle_batch.hands.prices import down, exact, grid, up
from oracle_batch.market.book import to_minor
from oracle_batch.training.backtest.whole import InexactError, Scale, in_minor, onto, scale_of

USUAL = 5


@st.composite
def prices(draw: st.DrawFn, least: int = 1) -> list[float]:
    """Prices of one market: on the grid, on it but for binary dust, and with all the digits that a double has."""
    level = draw(st.sampled_from([0.6, 1.1, 150.0, 60_000.0]))
    points = st.integers(round(level * 95_000), round(level * 105_000))
    one = st.one_of(
        points.map(lambda count: count / 10**5),
        points.map(lambda count: count * 0.00001),
        st.floats(level * 0.95, level * 1.05),
    )
    return draw(st.lists(one, min_size=least, max_size=8))


@given(prices(), st.sampled_from([0.0, 0.00007, 7.5e-05, 0.3]))
def test_sums_of_prices_are_those_of_decimals(bids: list[float], cost: float) -> None:
    scale = scale_of(np.array([*bids, cost]), USUAL)
    units, (more,) = scale.units(np.array(bids)), scale.units(np.array([cost]))
    assert units.tolist() == [int(exact(bid).scaleb(scale.digits)) for bid in bids]
    sums = [float(exact(bid) + exact(cost)) for bid in bids]
    found, again = scale.rounded(units + more)
    assert found.tolist() == sums
    assert again.tolist() == [int(exact(one).scaleb(scale.digits)) for one in sums]


@given(
    prices(least=2),
    st.sampled_from([100, 100_000, 2_100_000, 1_000_000_000]),
    st.sampled_from([1.0, 0.5, 1.27, 0.00667, 0.0067114093959731544]),
    st.sampled_from([0, 2, 3]),
)
def test_money_is_rounded_as_the_market_engine_rounds_it(
    bids: list[float], volume_cents: int, rate: float, money_digits: int
) -> None:
    scale = scale_of(np.array(bids), USUAL)
    units = np.diff(scale.units(np.array(bids)))
    try:
        money = in_minor(units, scale, volume_cents, rate, money_digits)
    except InexactError:
        assume(False)
    for found, (one, other) in zip(money.tolist(), pairwise(bids), strict=True):
        amount = (exact(other) - exact(one)) * Decimal(volume_cents) / 100 * exact(rate)
        assert found == to_minor(amount, money_digits)


def test_half_a_cent_goes_away_from_zero() -> None:
    plain = Scale(USUAL, USUAL)
    assert in_minor(np.array([5, -5, 4, -4, 15]), plain, 10_000, 1.0, 2).tolist() == [1, -1, 0, 0, 2]


def test_money_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InexactError):
        in_minor(np.array([10**15]), Scale(USUAL, 17), 1_000_000_000, 0.0067114093959731544, 2)


@given(st.integers(-(10**9), 10**9), st.sampled_from([-1, 1]))
def test_the_grid_is_the_hands_one(units: int, side: int) -> None:
    price, step = Decimal(units).scaleb(-8), grid(5)
    expected = up(price, step) if side > 0 else down(price, step)
    assert onto(np.array([units]), 1000, up=np.array([side])).tolist() == [int(expected.scaleb(8))]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e-19, 3e14])
def test_what_has_no_exact_form_is_said(odd: float) -> None:
    with pytest.raises(InexactError):
        scale_of(np.array([1.1, odd]), USUAL).units(np.array([1.1, odd]))
