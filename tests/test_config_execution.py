"""``config/executor_symbols.json``: one bad entry stops its own models, and nothing the operator wrote is lost."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.config import SymbolSettings, created_defaults, load_executor_symbols
from oracle_batch.errors import ConfigError
from oracle_batch.hands.protection import ProtectionSettings
from oracle_batch.hands.watch import Upkeep, upkeep

SHIPPED = Path(__file__).parent.parent / "config" / "executor_symbols.json"
DEFAULT = {
    "enabled": False,
    "lot_weak": 0.01,
    "lot_moderate": 0.03,
    "lot_strong": 0.05,
    "sl_usd": 10.0,
    "tp_usd": 0,
    "max_spread_pips": 3.0,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "executor_symbols.json"


def written(file: Path, content: Any) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_the_shipped_file_holds_the_demo_symbols_disabled() -> None:
    loaded = load_executor_symbols(SHIPPED)
    assert loaded.errors == {}
    assert dict(loaded.entries) == dict.fromkeys(["EURUSD", "GBPUSD", "USDJPY"], SymbolSettings())
    assert all(json.loads(SHIPPED.read_text())[symbol] == DEFAULT for symbol in loaded.entries)


def test_a_new_symbols_entry_is_the_documented_one(file: Path) -> None:
    created = created_defaults(None, ["US500"], file=file)
    assert created is not None
    assert json.loads(created) == {"US500": DEFAULT}


def test_no_file_means_no_entries(file: Path) -> None:
    assert load_executor_symbols(file).find("EURUSD_M15", "EURUSD", "EURUSD") is None


def test_every_key_is_read(file: Path) -> None:
    values: dict[str, Any] = {
        "enabled": True,
        "lot_weak": 1,
        "lot_moderate": 3,
        "lot_strong": 5,
        "sl_usd": 50,
        "tp_usd": 100.5,
        "max_spread_pips": 0,
        "max_slippage_points": 20,
        "sl_atr": 1.5,
        "tp_atr": 3,
        "atr_period": 20,
        "trailing_usd": 5,
        "trail_step_usd": 1,
        "breakeven_usd": 4,
        "stop_trigger_method": "double_opposite",
        "require_stop": True,
        "max_stop_pct": 1,
        "risk_per_trade_pct": 0.5,
        "priority": -2,
    }
    assert list(values) == list(SymbolSettings.__struct_fields__)
    entry = load_executor_symbols(written(file, {"AAPL": values})).find("AAPL_M15", "AAPL", "AAPL")
    assert entry == SymbolSettings(**values)
    assert [entry.lots(intensity) for intensity in (1, 2, 3)] == [1.0, 3.0, 5.0]


def test_a_key_left_out_has_the_default_entrys_value(file: Path) -> None:
    entries = load_executor_symbols(written(file, {"EURUSD": {"enabled": True}})).entries
    assert entries["EURUSD"] == SymbolSettings(enabled=True)


def test_a_model_id_wins_over_its_symbol_and_that_over_the_brokers(file: Path) -> None:
    content = {
        "US500.cash": {"priority": 3},
        "US500": {"priority": 2},
        "US500_M15": {"priority": 1},
    }
    for key, expected in (("US500_M15", 1), ("US500", 2), ("US500.cash", 3)):
        entry = load_executor_symbols(written(file, content)).find("US500_M15", "US500", "US500.cash")
        assert entry is not None
        assert entry.priority == expected
        del content[key]


def test_comments_and_sections_are_passed_over_at_both_levels(file: Path) -> None:
    content = """{
      "_comment": "mine", "_majors": "===", "_majors": "repeated", "_risk": {"dd_limit_pct": 5.0, "deep": [NULL]},
      "EURUSD": {"_note": "tight", "_note": "twice", "enabled": true}
    }""".replace("NULL", "null")
    loaded = load_executor_symbols(written(file, content))
    assert loaded.errors == {}
    assert dict(loaded.entries) == {"EURUSD": SymbolSettings(enabled=True)}


@pytest.mark.parametrize(
    ("entry", "field", "message", "fix"),
    [
        ({"lot_week": 0.01}, "EURUSD.lot_week", "unknown key", "did you mean EURUSD.lot_weak?"),
        ({"notes": "x"}, "EURUSD.notes", "unknown key", "known keys: EURUSD.enabled"),
        ({"lot_weak": 0}, "EURUSD.lot_weak", "expected `float` > 0.0", None),
        ({"lot_weak": -0.01}, "EURUSD.lot_weak", "expected `float` > 0.0", None),
        ({"lot_weak": "0.01"}, "EURUSD.lot_weak", "expected `float`, got `str`", None),
        ({"sl_usd": -1}, "EURUSD.sl_usd", "expected `float` >= 0.0", None),
        ({"tp_usd": None}, "EURUSD.tp_usd", "expected `float`, got `null`", None),
        ({"enabled": 1}, "EURUSD.enabled", "expected `bool`, got `int`", None),
        ({"atr_period": 0}, "EURUSD.atr_period", "expected `int` >= 1", None),
        ({"atr_period": 350}, "EURUSD.atr_period", "expected `int` <= 349", None),
        ({"max_stop_pct": 101}, "EURUSD.max_stop_pct", "expected `float` <= 100.0", None),
        ({"risk_per_trade_pct": -1}, "EURUSD.risk_per_trade_pct", "expected `float` >= 0.0", None),
        ({"require_stop": "yes"}, "EURUSD.require_stop", "expected `bool`, got `str`", None),
        (
            {"stop_trigger_method": "bid"},
            "EURUSD.stop_trigger_method",
            "invalid enum value 'bid'",
            "one of: trade, opposite, double_trade, double_opposite",
        ),
        ({"priority": 1.5}, "EURUSD.priority", "expected `int`, got `float`", None),
        (7, "EURUSD", "is no object of settings", "a comment's key starts with _"),
        ('{"sl_usd": 1, "sl_usd": 2}', "EURUSD.sl_usd", "is given twice", "keep one of them"),
        ('{"lot_weak": 1e999}', "EURUSD.lot_weak", "inf is not a finite number", None),
    ],
)
def test_a_malformed_entry_stops_its_own_models_only(
    file: Path, entry: Any, field: str, message: str, fix: str | None
) -> None:
    text = entry if isinstance(entry, str) else json.dumps(entry)
    written(file, f'{{"EURUSD": {text}, "EURUSD_H1": {{}}, "GBPUSD": {{"enabled": true}}}}')
    loaded = load_executor_symbols(file)
    assert loaded.find("GBPUSD_M15", "GBPUSD", "GBPUSD") == SymbolSettings(enabled=True)
    assert loaded.find("EURUSD_H1", "EURUSD", "EURUSD") == SymbolSettings(), "it has an entry of its own"
    with pytest.raises(ConfigError) as caught:
        loaded.find("EURUSD_M15", "EURUSD", "EURUSD")
    error = caught.value
    assert error is loaded.errors["EURUSD"]
    assert error.field == field
    assert message in error.message
    assert str(file) in str(error)
    if fix is None:
        assert error.fix is None
    else:
        assert fix in str(error.fix)


def test_a_symbol_given_twice_is_refused_and_no_guess_made(file: Path) -> None:
    loaded = load_executor_symbols(written(file, '{"EURUSD": {"enabled": true}, "EURUSD": {}}'))
    assert loaded.entries == {}
    assert loaded.errors["EURUSD"].message == "is given twice"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not valid JSON"),
        ('{"EURUSD": {}', "line 1 column"),
        ('{"EURUSD": {\n"lot_weak": 0.01,\n}}', "line 3 column"),
        ('{"EURUSD": {"lot_weak": NaN}}', "NaN is not a number"),
        ("[]", "is not an object of symbols"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused_for_all(file: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_executor_symbols(written(file, text))
    assert why in caught.value.message
    assert caught.value.exit_code == 78
    assert str(file) in str(caught.value)


def test_another_encoding_and_an_unreadable_file_are_config_errors(file: Path) -> None:
    file.write_bytes(b'{"EURUSD\xff": {}}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_executor_symbols(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_executor_symbols(file.parent)


def test_lots_that_do_not_rise_are_only_warned_about(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_executor_symbols(written(file, {"EURUSD": {"lot_weak": 1.0}}))
    assert loaded.entries["EURUSD"].lot_weak == 1.0
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "EURUSD: lots do not rise" in record.getMessage()


@pytest.mark.parametrize(
    ("entry", "doubts"),
    [
        ({}, []),
        ({"require_stop": True, "max_stop_pct": 1, "risk_per_trade_pct": 1}, []),
        ({"sl_usd": 0, "sl_atr": 2, "require_stop": True}, []),
        ({"sl_usd": 0, "trailing_usd": 5, "max_stop_pct": 1}, []),
        ({"sl_usd": 0, "require_stop": True}, ["require_stop refuses every entry"]),
        ({"sl_usd": 0, "max_stop_pct": 1}, ["max_stop_pct refuses every entry"]),
        ({"sl_usd": 0, "risk_per_trade_pct": 1}, ["risk_per_trade_pct refuses every entry"]),
        ({"trailing_usd": 5, "trail_step_usd": 6}, ["trail_step_usd is above trailing_usd"]),
        ({"breakeven_usd": 5, "trail_step_usd": 6}, []),
    ],
)
def test_what_is_probably_not_meant_is_warned_about(
    file: Path, entry: Any, doubts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_executor_symbols(written(file, {"EURUSD": entry}))
    assert loaded.entries["EURUSD"] == SymbolSettings(**entry)
    assert len(caplog.records) == len(doubts)
    for record, doubt in zip(caplog.records, doubts, strict=True):
        assert f"EURUSD: {doubt}" in record.getMessage()


def test_an_entry_is_what_protection_asks_for() -> None:
    entry: ProtectionSettings = SymbolSettings(trailing_usd=5, trail_step_usd=1, stop_trigger_method="opposite")
    assert upkeep(entry) == Upkeep(5, 0, 1, "opposite")


def test_a_new_symbol_leaves_the_shipped_file_as_it_was(file: Path) -> None:
    before = SHIPPED.read_bytes()
    created = created_defaults(before, ["EURUSD", "XAUUSD"], file=file)
    assert created is not None
    assert created.startswith(before.rstrip().removesuffix(b"}").rstrip())
    assert json.loads(created) == json.loads(before) | {"XAUUSD": DEFAULT}
    added = created.decode().removeprefix(before.decode().rstrip().removesuffix("}").rstrip())
    assert added.splitlines()[:3] == [",", '  "XAUUSD": {', '    "enabled": false,']
    assert created.endswith(b"  }\n}\n")


def test_nothing_is_created_where_every_symbol_has_an_entry_even_a_malformed_one(file: Path) -> None:
    assert created_defaults(b'{"EURUSD": 7}', ["EURUSD", "EURUSD"], file=file) is None
    assert created_defaults(SHIPPED.read_bytes(), [], file=file) is None


def test_a_broken_file_is_never_extended(file: Path) -> None:
    with pytest.raises(ConfigError, match="is not valid JSON"):
        created_defaults(b'{"EURUSD": {', ["XAUUSD"], file=file)


keys = st.text(min_size=1, max_size=8)


@given(
    content=st.dictionaries(keys, st.dictionaries(keys, st.booleans() | st.text(max_size=5), max_size=3), max_size=4),
    symbols=st.lists(keys, max_size=4),
    indent=st.sampled_from([None, 0, 2, 4]),
    ending=st.sampled_from(["", "\n", "  \n\n"]),
)
def test_created_defaults_add_and_change_nothing_else(
    content: dict[str, Any], symbols: list[str], indent: int | None, ending: str
) -> None:
    before = (json.dumps(content, indent=indent) + ending).encode()
    created = created_defaults(before, symbols, file=Path("f"))
    missing = [symbol for symbol in dict.fromkeys(symbols) if symbol not in content]
    if not missing:
        assert created is None
        return
    assert created is not None
    assert json.loads(created) == content | dict.fromkeys(missing, DEFAULT)
    assert list(json.loads(created)) == [*content, *missing]
