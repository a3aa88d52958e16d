"""Commissions of every kind the API has, and distances in points and in per cent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oracle_batch.broker.base import Quote
from oracle_batch.broker.ctrader.terms import Conditions, least_distance
from oracle_batch.openapi.messages import model

USD, EUR, JPY, BASE = 1, 2, 3, 4
RATES = {(USD, EUR): 0.9, (JPY, EUR): 0.006, (BASE, USD): 1.25}
QUOTE = Quote(150.0, 150.02, 0.0)


class Rates:
    """Conversion rates from a table."""

    async def rate(self, first: int, last: int) -> float | None:
        return 1.0 if first == last else RATES.get((first, last))


class Assets:
    async def asset_id(self, name: str) -> int | None:
        return USD if name == "USD" else None


def commission(contract: Any, rate: float | None = RATES[JPY, EUR]) -> float | None:
    rates = Rates()
    conditions = Conditions(None, 1, Assets(), rates, EUR)  # type: ignore[arg-type]
    return asyncio.run(conditions._commission(contract, QUOTE, BASE, rate, rates.rate))


def symbol(kind: str, **fields: Any) -> Any:
    return model.ProtoOASymbol(symbolId=1, digits=3, pipPosition=2, lotSize=10_000_000, commissionType=kind, **fields)


@pytest.mark.parametrize(
    ("kind", "precise", "expected"),
    [
        ("USD_PER_LOT", 350_000_000, 2 * 3.5 * 0.9),
        ("USD_PER_MILLION_USD", 3_000_000_000, 2 * 30 * 100_000 * 1.25 / 1e6 * 0.9),
        ("PERCENTAGE_OF_VALUE", 500_000, 2 * 0.005 / 100 * 100_000 * 150.0 * 0.006),
        ("QUOTE_CCY_PER_LOT", 50_000_000_000, 2 * 500 * 0.006),
        ("USD_PER_LOT", 0, 0.0),
    ],
)
def test_a_round_turn_costs_twice_the_side(kind: str, precise: int, expected: float) -> None:
    assert commission(symbol(kind, preciseTradingCommissionRate=precise)) == pytest.approx(expected)


def test_the_older_field_has_other_scales() -> None:
    assert commission(symbol("USD_PER_LOT", commission=350)) == pytest.approx(2 * 3.5 * 0.9)
    percent = commission(symbol("PERCENTAGE_OF_VALUE", commission=500))
    assert percent == pytest.approx(2 * 0.005 / 100 * 100_000 * 150.0 * 0.006)
    assert commission(symbol("USD_PER_LOT")) == 0.0


@pytest.mark.parametrize("kind", ["PERCENTAGE_OF_VALUE", "QUOTE_CCY_PER_LOT"])
def test_without_a_rate_the_cost_is_unknown(kind: str) -> None:
    assert commission(symbol(kind, preciseTradingCommissionRate=10**8), rate=None) is None


@pytest.mark.parametrize(
    ("unit", "distance", "expected"),
    [("SYMBOL_DISTANCE_IN_POINTS", 30, 0.03), ("SYMBOL_DISTANCE_IN_PERCENTAGE", 50, 0.005 * 150.02)],
)
def test_distances_are_in_points_or_hundredths_of_a_per_cent(unit: str, distance: int, expected: float) -> None:
    contract = symbol("USD_PER_LOT", distanceSetIn=unit)
    assert least_distance(contract, distance, QUOTE) == pytest.approx(expected)
