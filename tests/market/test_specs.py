"""Where contracts, costs and conversion rates come from, in which order, and what is refused."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from oracle_batch.bundle.model import Model, TrainingCosts
from oracle_batch.errors import ConfigError, DataError
from oracle_batch.hands.calendar import Holiday, Schedule
from oracle_batch.market.rates import Rate, Rates
from oracle_batch.market.schedules import parse_schedule
from oracle_batch.market.spec_file import SymbolSettings, load_settings
from oracle_batch.market.spec_table import shipped
from oracle_batch.market.specs import Contract, Contracts
from oracle_batch.market.tape import Tape
from tests.market.build import COSTS, FILE, T0, MemorySource, bars, contract_of


class BundleStub:
    """What contracts look at in a model."""

    def __init__(self, symbol: str, **costs: Any) -> None:
        self.broker_symbol = symbol
        self.model_id = f"{symbol}_M15"
        fields: dict[str, Any] = {
            "point": 1e-5,
            "digits": 5,
            "pip_value": 10.0,
            "spread_points": 7.0,
            "slippage_points": 2.0,
            "commission_per_lot": 7.0,
            "lot_sizes": (0.0, 0.01, 0.03, 0.05),
        }
        self.costs = TrainingCosts(**(fields | costs))


def model(symbol: str, **costs: Any) -> Model:
    return cast(Model, BundleStub(symbol, **costs))


def found(contracts: Contracts, symbol: str) -> Contract:
    contract = contracts.find(symbol)
    assert contract is not None
    return contract


@pytest.mark.parametrize(
    ("symbol", "digits", "lot", "quote"),
    [
        ("EURUSD", 5, 100_000, "USD"),
        ("USDJPY", 3, 100_000, "JPY"),
        ("EURGBP", 5, 100_000, "GBP"),
        ("XAUUSD", 2, 100, "USD"),
        ("XAGUSD", 3, 5000, "USD"),
        ("US30", 2, 1, "USD"),
        ("GER40", 2, 1, "EUR"),
        ("JP225", 2, 1, "JPY"),
        ("AAPL", 2, 1, "USD"),
        ("SPY", 2, 1, "USD"),
    ],
)
def test_the_shipped_table(symbol: str, digits: int, lot: int, quote: str) -> None:
    spec = contract_of(symbol).spec
    assert (spec.digits, spec.lot_size_cents, spec.quote_asset) == (digits, lot * 100, quote)
    assert (spec.min_volume_cents, spec.step_volume_cents, spec.max_volume_cents) == (lot, lot, lot * 10_000)


def test_unknown_symbols_are_unknown() -> None:
    assert shipped("EUREUR") is None
    assert shipped("BTCUSD") is None
    assert Contracts({}, (), "USD", FILE).find("BTCUSD") is None


def test_costs_come_from_the_bundle_in_its_own_points() -> None:
    contract = found(Contracts({}, [model("SPY")], "USD", FILE), "SPY")
    assert (contract.spec.digits, contract.source) == (2, "table")
    assert (contract.spread, contract.slippage, contract.commission_per_lot) == (0.00007, 0.00002, 7.0)
    assert contract.bundle_rate is None, "its pip value is for another contract"


def test_the_file_wins_key_by_key_and_counts_in_the_contracts_points() -> None:
    settings = {"SPY": SymbolSettings(spread_points=3, lot_size=10, min_lots=0.1, step_lots=0.1)}
    contract = found(Contracts(settings, [model("SPY")], "USD", FILE), "SPY")
    assert (contract.spread, contract.slippage) == (0.03, 0.00002)
    assert (contract.spec.lot_size_cents, contract.spec.min_volume_cents) == (1000, 100)
    assert contract.source == "symbols.json"


def test_an_unknown_symbol_takes_its_terms_from_the_bundle() -> None:
    contract = found(Contracts({}, [model("BTCUSD", point=0.01, digits=2, pip_value=0.01)], "EUR", FILE), "BTCUSD")
    assert contract.source == "bundle"
    spec = contract.spec
    assert (spec.digits, spec.lot_size_cents, spec.base_asset, spec.quote_asset) == (2, 100, "BTCUSD", "EUR")
    assert (spec.min_volume_cents, spec.step_volume_cents, spec.max_volume_cents) == (1, 1, 10_000)


def test_of_two_bundles_of_a_symbol_the_first_by_id_speaks() -> None:
    one, two = model("EURUSD"), model("EURUSD", spread_points=9.0)
    two.model_id = "EURUSD_H1"  # type: ignore[misc]
    assert found(Contracts({}, [one, two], "USD", FILE), "EURUSD").spread == 0.00009


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SymbolSettings(slippage_points=1, commission_per_lot=1), "EURUSD.spread_points: is not known"),
        (SymbolSettings(spread_points=1, commission_per_lot=1), "EURUSD.slippage_points: is not known"),
        (SymbolSettings(spread_points=1, slippage_points=1), "EURUSD.commission_per_lot: is not known"),
    ],
)
def test_a_cost_that_nobody_knows_is_an_error_that_names_the_file(settings: SymbolSettings, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Contracts({"EURUSD": settings}, (), "USD", FILE).find("EURUSD")
    assert words in str(caught.value)
    assert str(FILE) in str(caught.value)


@pytest.mark.parametrize(
    ("symbol", "entry", "words"),
    [
        ("EURUSD", {"min_lots": 0.02, "step_lots": 0.015}, "min_lots: is no multiple of step_lots"),
        ("EURUSD", {"min_lots": 1, "max_lots": 0.5}, "min_lots: is above max_lots"),
        ("EURUSD", {"lot_size": 0.001}, "lot_size: is no whole number"),
        ("EURUSD", {"step_lots": 0.00000003}, "step_lots: makes 0.30000000 hundredths"),
        ("BTCUSD", {"digits": 2}, "lot_size: is not known"),
    ],
)
def test_terms_that_contradict_each_other_are_refused(symbol: str, entry: dict[str, float], words: str) -> None:
    settings = SymbolSettings(spread_points=1, slippage_points=1, commission_per_lot=1, **entry)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        Contracts({symbol: settings}, (), "USD", FILE).find(symbol)
    assert words in str(caught.value)


def test_the_file_is_read_strictly_and_its_comments_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "symbols.json"
    assert load_settings(path) == {}
    path.write_text(json.dumps({"_": "note", "_x": 1, "EURUSD": {"_why": "ours", "spread_points": 8}}))
    assert load_settings(path) == {"EURUSD": SymbolSettings(spread_points=8)}


def test_least_distances_and_swap_are_counted_in_the_contracts_points() -> None:
    settings = replace(COSTS, min_stop_points=50, min_target_points=30, swap_long_points=-6.5, swap_short_points=2)
    contract = contract_of("USDJPY", settings)
    assert (contract.min_stop, contract.min_target) == (0.05, 0.03)
    assert (contract.swap(1), contract.swap(-1)) == (-0.0065, 0.002)
    plain = contract_of("USDJPY")
    assert (plain.min_stop, plain.min_target, plain.swap(1), plain.swap(-1)) == (0, 0, 0, 0)


def test_a_schedule_is_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "symbols.json"
    hours = {
        "zone": "America/New_York",
        "sessions": ["Sun 17:05-Fri 16:59"],
        "holidays": ["12-25", "2026-07-03 13:00-24:00"],
    }
    path.write_text(json.dumps({"EURUSD": {"schedule": hours}, "GBPUSD": {}}))
    contracts = Contracts(load_settings(path), (), "USD", path)
    schedule = contracts.schedule("EURUSD")
    assert schedule == Schedule(
        "America/New_York",
        ((17 * 3600 + 300, 5 * 86400 + 16 * 3600 + 59 * 60),),
        (
            Holiday(date(2000, 12, 25), "America/New_York", yearly=True),
            Holiday(date(2026, 7, 3), "America/New_York", 13 * 3600, 86400),
        ),
    )
    assert (contracts.schedule("GBPUSD"), contracts.schedule("NOSUCH")) == (None, None)


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        (["Fri 22:00-Mon 06:00"], ((5 * 86400 + 79_200, 8 * 86400 + 21_600),)),  # past Saturday midnight
        (["Mon 00:00-Mon 24:00"], ((86_400, 172_800),)),
        (["Sun 17:00-Sun 17:00"], ((61_200, 61_200 + 7 * 86400),)),  # the whole week
        (["Sat 24:00-Mon 00:00"], ((0, 86_400),)),
    ],
)
def test_sessions_are_seconds_from_sunday(sessions: list[str], expected: tuple[tuple[int, int], ...]) -> None:
    assert parse_schedule("UTC", sessions).sessions == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "is no JSON object"),
        ('{"EURUSD": 5}', "EURUSD"),
        ('{"EURUSD": {"spread": 7}}', "spread"),
        ('{"EURUSD": {"spread_points": "7"}}', "spread_points"),
        ('{"EURUSD": {"spread_points": -1}}', "EURUSD.spread_points: -1.0 is outside"),
        ('{"EURUSD": {"spread_points": NaN}}', "EURUSD.spread_points: nan is outside"),
        ('{"EURUSD": {"digits": 9}}', "EURUSD.digits: 9 is outside"),
        ('{"EURUSD": {"lot_size": 0}}', "EURUSD.lot_size: 0.0 is outside"),
        ('{"EURUSD": {"quote": ""}}', "EURUSD.quote: is empty"),
        ('{"EURUSD": {"min_stop_points": -1}}', "EURUSD.min_stop_points: -1.0 is outside"),
        ('{"EURUSD": {"swap_long_points": Infinity}}', "EURUSD.swap_long_points: inf is outside"),
        ('{"EURUSD": {"schedule": {"zone": "UTC"}}}', "sessions"),
        ('{"EURUSD": {"schedule": {"zone": "UTC", "sessions": []}}}', "EURUSD.schedule: a schedule needs sessions"),
        ('{"EURUSD": {"schedule": {"zone": "X/Y", "sessions": ["Mon 08:00-Mon 09:00"]}}}', "'X/Y' is no time zone"),
        ('{"EURUSD": {"schedule": {"zone": "UTC", "sessions": ["Mon 8-17"]}}}', "'Mon 8-17' is no session"),
        ('{"EURUSD": {"schedule": {"zone": "UTC", "sessions": ["Mon 08:60-Mon 17:00"]}}}', "08:60 is no time of day"),
        (
            '{"EURUSD": {"schedule": {"zone": "UTC", "sessions": ["Sun 00:00-Fri 22:00"], "holidays": ["02-30"]}}}',
            "'02-30': day is out of range",
        ),
        (
            '{"EURUSD": {"schedule": {"zone": "UTC", "sessions": ["Sun 00:00-Fri 22:00"], "holidays": ["Xmas"]}}}',
            "'Xmas' is no holiday",
        ),
        ('{"EURUSD": {}, "EURUSD": {}}', "EURUSD: stands twice"),
        ('{"EURUSD": {"digits": 5, "digits": 3}}', "digits: stands twice"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_name_and_a_fix(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "symbols.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(")")


def rates(currency: str = "USD", **prices: float) -> Rates:
    return Rates(Tape(MemorySource({(symbol, "M15"): bars([(price,)]) for symbol, price in prices.items()})), currency)


@pytest.mark.parametrize(
    ("currency", "symbol", "prices", "expected"),
    [
        ("USD", "EURUSD", {}, Rate(1.0, "same")),
        ("USD", "EURGBP", {"GBPUSD": 1.25, "USDGBP": 0.5}, Rate(1.25, "pair:GBPUSD")),
        ("USD", "USDJPY", {"USDJPY": 125.0}, Rate(0.008, "pair:1/USDJPY")),
        ("EUR", "GBPJPY", {"USDJPY": 125.0, "EURUSD": 1.25}, Rate(0.0064, "pair:1/USDJPY*1/EURUSD")),
        ("EUR", "GBPJPY", {"GBPJPY": 200.0, "EURGBP": 0.8}, Rate(0.00625, "pair:1/GBPJPY*1/EURGBP")),
    ],
)
def test_pairs_convert_directly_inversely_and_over_one_other(
    currency: str, symbol: str, prices: dict[str, float], expected: Rate
) -> None:
    rate = rates(currency, **prices).profit_rate(contract_of(symbol), T0)
    assert rate.source == expected.source
    assert rate.value == pytest.approx(expected.value, rel=1e-12)


def test_without_a_pair_the_bundle_converts_and_says_so() -> None:
    contract = found(Contracts({}, [model("EURJPY", point=0.001, digits=3, pip_value=6.7)], "USD", FILE), "EURJPY")
    rate = rates().profit_rate(contract, T0)
    assert rate.source == "bundle:pip_value"
    assert rate.value == pytest.approx(0.0067)
    stale = rates(USDJPY=150.0).profit_rate(contract, T0 + 30 * 86400)
    assert stale.source == "bundle:pip_value", "a price of last month is no rate"


def test_margin_counts_the_base_asset_else_the_price() -> None:
    cross = contract_of("EURGBP")
    assert rates(EURUSD=1.1, GBPUSD=1.25).margin_rate(cross, 0.9, T0) == Rate(1.1, "pair:EURUSD")
    assert rates(GBPUSD=1.25).margin_rate(cross, 0.8, T0) == Rate(1.0, "pair:GBPUSD")
    assert rates().margin_rate(contract_of("AAPL"), 200.0, T0) == Rate(200.0, "same")


def test_no_rate_is_an_error_and_an_absurd_one_too() -> None:
    with pytest.raises(ConfigError, match=r"no rate from GBP to USD \(put bars of GBPUSD into the folder\)"):
        rates().profit_rate(contract_of("EURGBP", COSTS), T0)
    index = found(Contracts({}, [model("NAS100", point=0.01, digits=2)], "EUR", FILE), "NAS100")
    with pytest.raises(DataError, match="the bundle's pip_value makes 1 USD = 1000 EUR"):
        rates("EUR").profit_rate(index, T0)
