"""Metadata that trading cannot rely on: refused, naming the dotted key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.bundle.check import check_bundle
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.metadata import _FIELDS
from oracle_batch.errors import BundleError
from tests.bundle.build import Parts, parts, zip_bytes

MISSING = object()


def spoiled(key: str, value: Any) -> Parts:
    bundle = parts()
    *path, last = key.split(".")
    holder = bundle.metadata
    for part in path:
        holder = holder[part]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return bundle


def refusal(bundle: Parts, folder: Path) -> str:
    path = folder / "EURUSD_M15.zip"
    path.write_bytes(bundle.to_bytes())
    with pytest.raises(BundleError) as caught:
        load_model(path, None)
    return str(caught.value)


@pytest.mark.parametrize("key", list(_FIELDS))
def test_every_required_key_is_missed_by_name(tmp_path: Path, key: str) -> None:
    members, metadata = parts().members(), spoiled(key, MISSING).metadata
    path = tmp_path / "EURUSD_M15.zip"
    path.write_bytes(zip_bytes(members, comment=json.dumps(metadata).encode()))
    with pytest.raises(BundleError, match="is missing") as caught:
        load_model(path, None)
    assert caught.value.field == key


@pytest.mark.parametrize("section", ["symbol", "training_config", "hmm_config", "rl_config"])
@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_sections_are_objects(tmp_path: Path, section: str, value: Any) -> None:
    bundle = parts()
    members = bundle.members()
    bundle.metadata[section] = value
    path = tmp_path / "EURUSD_M15.zip"
    path.write_bytes(zip_bytes(members, comment=json.dumps(bundle.metadata).encode()))
    with pytest.raises(BundleError, match="not an object") as caught:
        load_model(path, None)
    assert caught.value.field == section


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "1.0"),
        ("format_version", "3.0"),
        ("format_version", 2.0),
        ("symbol.clean", ""),
        ("symbol.clean", "EUR|USD"),
        ("symbol.clean", " EURUSD"),
        ("symbol.clean", "../EURUSD"),
        ("symbol.clean", "/abs/EURUSD"),
        ("symbol.clean", "..\\EURUSD"),
        ("symbol.clean", ".EURUSD"),
        ("symbol.clean", "EUR\x1b[31m"),
        ("training_config.point", 0),
        ("training_config.point", -1e-5),
        ("training_config.point", 0.0001),
        ("training_config.point", "0.00001"),
        ("training_config.point", None),
        ("training_config.point", True),
        ("training_config.point", 10**400),
        ("training_config.digits", 5.5),
        ("training_config.digits", -1),
        ("training_config.digits", 9),
        ("training_config.pip_value", 0),
        ("training_config.pip_value", -10),
        ("training_config.spread_points", -1),
        ("training_config.spread_points", "7"),
        ("training_config.spread_points", [7]),
        ("training_config.slippage_points", -0.5),
        ("training_config.commission_per_lot", -7),
        ("training_config.commission_per_lot", None),
        ("training_config.lot_sizes", [0, 0.01, 0.03]),
        ("training_config.lot_sizes", [0, 0.01, 0.03, 0.05, 0.1]),
        ("training_config.lot_sizes", [0.01, 0.01, 0.03, 0.05]),
        ("training_config.lot_sizes", [0, 0, 0.03, 0.05]),
        ("training_config.lot_sizes", [0, 0.05, 0.03, 0.01]),
        ("training_config.lot_sizes", [0, -0.01, 0.03, 0.05]),
        ("training_config.lot_sizes", [0, "0.01", 0.03, 0.05]),
        ("training_config.lot_sizes", 0.01),
        ("hmm_config.n_states", 0),
        ("hmm_config.n_states", 5.5),
        ("hmm_config.n_states", "5"),
        ("hmm_config.n_states", True),
        ("hmm_config.momentum_period", 0),
        ("hmm_config.momentum_period", 350),
        ("hmm_config.consistency_period", 350),
        ("hmm_config.range_period", 351),
        ("hmm_config.decoding", "backward"),
        ("hmm_config.decoding", None),
        ("rl_config.roc_period", 350),
        ("rl_config.atr_period", 350),
        ("rl_config.ema_period", 0),
        ("rl_config.range_period", 351),
        ("rl_config.volume_ma_period", 351),
        ("rl_config.volume_ma_period", 1e3 + 0.5),
        ("observation_pnl", "next"),
        ("feature_set", "v2"),
        ("sha256", {"EURUSD_M15_hmm.pkl": 3}),
        ("actions", {}),
        ("actions", []),
    ],
)
def test_values_out_of_reason_are_refused_by_key(tmp_path: Path, key: str, value: Any) -> None:
    bundle = spoiled(key, value)
    path = tmp_path / "EURUSD_M15.zip"
    path.write_bytes(bundle.to_bytes())
    report = check_bundle(path)
    assert not report.ok
    assert any((refused.field or "").startswith(key.partition(".digits")[0]) for refused in report.refused)


@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        ("../EURUSD", "M15"),
        ("EUR/USD", "M15"),
        (".EURUSD", "M15"),
        ("-EURUSD", "M15"),
        ("EUR USD", "M15"),
        ("EUR..USD", "M15"),
        ("EURÜSD", "M15"),
        ("EUR\nUSD", "M15"),
        ("EUR:USD", "M15"),
        ("", "M15"),
        ("A" * 40, "M15"),
        ("EURUSD", "M7"),
        ("EURUSD", "m15"),
        ("EURUSD", ""),
    ],
)
def test_names_that_make_no_file_name_are_refused(tmp_path: Path, name: str, timeframe: str) -> None:
    bundle = parts()
    members = bundle.members()
    bundle.metadata["symbol"] = {"name": name, "clean": "X", "timeframe": timeframe}
    path = tmp_path / "EURUSD_M15.zip"
    path.write_bytes(zip_bytes(members, comment=json.dumps(bundle.metadata).encode()))
    fields = {refused.field for refused in check_bundle(path).refused}
    assert fields & {"symbol.name", "symbol.timeframe"}


@pytest.mark.parametrize("symbol", ["EURUSD", "US500.cash", "#AAPL", "EURUSD+", "GER40-f", "US_500", "XAUUSD.r"])
def test_real_symbol_names_are_fine(tmp_path: Path, symbol: str) -> None:
    load_model(parts(symbol=symbol).write(tmp_path), None)


@pytest.mark.parametrize(
    ("index", "entry"),
    [
        ("0", {"name": "HOLD", "direction": 0, "intensity": 0}),
        ("1", {"name": "LONG_WEAK", "direction": -1, "intensity": 1}),
        ("2", {"name": "LONG_MODERATE", "direction": 1, "intensity": 1}),
        ("3", {"name": "LONG_STRONG", "direction": True, "intensity": 3}),
        ("4", {"name": "SHORT_WEAK", "direction": -1, "intensity": 1, "size": 9}),
        ("5", "SHORT_MODERATE"),
        ("6", MISSING),
        ("7", {"name": "CLOSE", "direction": 0, "intensity": 0}),
    ],
)
def test_a_foreign_actions_table_is_refused(tmp_path: Path, index: str, entry: Any) -> None:
    bundle = parts()
    if entry is MISSING:
        del bundle.metadata["actions"][index]
    else:
        bundle.metadata["actions"][index] = entry
    assert f"actions.{index}" in refusal(bundle, tmp_path)


@pytest.mark.parametrize(
    ("comment", "named"),
    [
        (b"", "ZIP comment: is missing"),
        (b"hello", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "format_version: is missing"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
        (b"[" * 60_000, "nested too deep"),
        (b'{"a":' * 12_000, "nested too deep"),
        (b'{"a": ' + b"9" * 60_000 + b"}", "not valid JSON"),
    ],
)
def test_comments_that_are_no_metadata(tmp_path: Path, comment: bytes, named: str) -> None:
    bundle = parts()
    bundle.comment = comment
    assert named in refusal(bundle, tmp_path)


def test_infinity_in_disguise_is_refused(tmp_path: Path) -> None:
    bundle = parts()
    bundle.comment = json.dumps(bundle.metadata).replace('"pip_value": 10.0', '"pip_value": 1e999').encode()
    assert "training_config.pip_value" in refusal(bundle, tmp_path)


def test_contradicting_observation_pnl_is_refused(tmp_path: Path) -> None:
    bundle = parts(observation_pnl="previous", rl_config={"observation_pnl": "current"})
    assert "observation_pnl" in refusal(bundle, tmp_path)


def test_states_in_metadata_and_model_agree(tmp_path: Path) -> None:
    text = refusal(parts(hmm_config={"n_states": 4}), tmp_path)
    assert "EURUSD_M15_hmm.pkl: n_components: is 5, but hmm_config.n_states says 4" in text


def test_every_reason_is_reported_at_once(tmp_path: Path) -> None:
    bundle = parts(costs={"spread_points": -1}, rl_config={"atr_period": 999})
    del bundle.metadata["training_config"]["commission_per_lot"]
    bundle.metadata["actions"]["1"]["direction"] = -1
    bundle.hmm["means_"][0, 0] = float("nan")
    bundle.policy["action_net.bias"][3] = float("inf")
    bundle.raw["evil.sh"] = b""
    fields = {refused.field for refused in check_bundle(bundle.write(tmp_path)).refused}
    assert fields == {
        "training_config.spread_points",
        "training_config.commission_per_lot",
        "rl_config.atr_period",
        "actions.1",
        "'evil.sh'",
        "EURUSD_M15_hmm.pkl: means_",
        "EURUSD_M15_ppo.zip: policy.pth: action_net.bias",
    }
