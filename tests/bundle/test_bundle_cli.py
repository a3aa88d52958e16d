"""``oracle-batch models``: check, list, add."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from oracle_batch.cli.models import models_app
from oracle_batch.errors import UsageError
from tests.bundle.build import Call, Global, dumps, make_bundle, parts


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: Any) -> Result:
        return CliRunner().invoke(models_app, [str(part) for part in arguments], obj=SimpleNamespace(home=self.path))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def test_check_says_what_is_in_a_bundle(tmp_path: Path, home: Home) -> None:
    path = make_bundle(tmp_path, clean="EURUSD.pro", covariance_type="tied", decoding="viterbi", hidden=(32, 16))
    result = home.run("check", path)
    assert result.exit_code == 0
    for text in (
        "EURUSD_M15", "EURUSD.pro", "tied", "viterbi", "14-32-16-7 tanh", "spread_points", "7.0", "ok",
        "EURUSD_M15_hmm.pkl", "EURUSD_M15_ppo.zip", "sha256", "commission_per_lot", "volume_ma_period",
    ):  # fmt: skip
        assert text in result.output


def test_check_as_json(tmp_path: Path, home: Home) -> None:
    path = make_bundle(tmp_path, format_version="2.1", decoding="filter", activation="relu")
    result = home.run("check", path, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["ok"] is True
    assert report["refused"] == []
    assert report["net"] == {"layers": [14, 64, 64, 7], "activation": "relu", "parameters": 5575}
    assert report["training_costs"]["lot_sizes"] == [0.0, 0.01, 0.03, 0.05]
    assert [member["name"] for member in report["members"]] == [
        "EURUSD_M15_hmm.pkl",
        "EURUSD_M15_ppo.zip",
        "EURUSD_M15_runtime.npz",
    ]


def test_check_shows_every_reason_and_exits_65(tmp_path: Path, home: Home) -> None:
    bundle = parts(costs={"spread_points": -1})
    del bundle.metadata["training_config"]["pip_value"]
    canary = tmp_path / "canary"
    bundle.raw["EURUSD_M15_hmm.pkl"] = dumps(Call(Global("os", "system"), (f"touch {canary}",)))
    path = bundle.write(tmp_path)
    result = home.run("check", path)
    assert result.exit_code == 65
    for text in ("training_config.spread_points", "training_config.pip_value", "os.system", "EURUSD_M15_hmm.pkl"):
        assert text in result.stderr
    assert not canary.exists()
    report = json.loads(home.run("check", path, "--json").stdout)
    assert report["ok"] is False
    assert len(report["refused"]) == 3
    assert report["net"]["layers"] == [14, 64, 64, 7]


def test_check_of_what_is_no_bundle(tmp_path: Path, home: Home) -> None:
    assert home.run("check", tmp_path / "absent.zip").exit_code == 65
    assert home.run("check", tmp_path).exit_code == 65
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert home.run("check", text).exit_code == 65
    renamed = make_bundle(tmp_path).rename(tmp_path / "EURUSD_M15.bin")
    assert "not named .zip" in home.run("check", renamed).output


def test_add_puts_a_bundle_under_its_id(tmp_path: Path, home: Home) -> None:
    path = make_bundle(tmp_path)
    result = home.run("add", path)
    assert result.exit_code == 0
    assert "EURUSD_M15 added" in result.output
    assert (home.path / "models" / "EURUSD_M15.zip").read_bytes() == path.read_bytes()
    again = home.run("add", path)
    assert again.exit_code == 0
    assert "already there" in again.output


def test_add_never_replaces_silently(tmp_path: Path, home: Home) -> None:
    home.run("add", make_bundle(tmp_path))
    old = (home.path / "models" / "EURUSD_M15.zip").read_bytes()
    path = make_bundle(tmp_path, seed=1)
    result = home.run("add", path)
    assert isinstance(result.exception, UsageError)
    assert "--replace" in str(result.exception)
    assert (home.path / "models" / "EURUSD_M15.zip").read_bytes() == old
    result = home.run("add", path, "--replace")
    assert result.exit_code == 0
    assert "oracle-batch warmup EURUSD_M15" in result.output
    assert (home.path / "models" / "EURUSD_M15.zip").read_bytes() == path.read_bytes()


def test_add_replaces_a_broken_bundle_only_when_told(tmp_path: Path, home: Home) -> None:
    (home.path / "models").mkdir()
    target = home.path / "models" / "EURUSD_M15.zip"
    target.write_bytes(b"broken")
    path = make_bundle(tmp_path)
    assert home.run("add", path).exit_code != 0
    assert home.run("add", path, "--replace").exit_code == 0
    assert target.read_bytes() == path.read_bytes()


def test_add_refuses_a_bad_bundle_and_leaves_nothing(tmp_path: Path, home: Home) -> None:
    path = make_bundle(tmp_path, costs={"pip_value": -1})
    result = home.run("add", path)
    assert result.exit_code == 65
    assert "training_config.pip_value" in result.stderr
    assert not (home.path / "models").exists()


def test_list_shows_models_and_refusals(tmp_path: Path, home: Home) -> None:
    assert "no bundles" in home.run("list").output
    home.run("add", make_bundle(tmp_path))
    home.run("add", make_bundle(tmp_path, symbol="US500.cash", timeframe="H4", n_states=3, covariance_type="diag"))
    (home.path / "models" / "GBPUSD_M15.zip").write_bytes(b"broken")
    result = home.run("list")
    assert result.exit_code == 0
    for text in ("EURUSD_M15", "US500.cash_H4", "3 diag", "5 full", "14-64-64-7 tanh", "refused", "GBPUSD_M15.zip"):
        assert text in result.output
    listed = json.loads(home.run("list", "--json").stdout)
    assert list(listed["models"]) == ["EURUSD_M15", "GBPUSD_M15", "US500.cash_H4"]
    assert listed["models"]["GBPUSD_M15"]["ok"] is False
    assert listed["models"]["EURUSD_M15"]["training_costs"]["digits"] == 5
    assert not any((home.path / "state" / "compiled").glob("*"))


def test_markup_in_a_bundle_stays_text(tmp_path: Path, home: Home) -> None:
    path = make_bundle(tmp_path, clean="[red]EUR[/red]")
    assert "[red]EUR[/red]" in home.run("check", path).output
