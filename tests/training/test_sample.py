"""The shipped EURUSD_M15: made with all defaults from the shipped bars, clean in its audit, shown out of sample."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.bundle.check import check_bundle
from oracle_batch.bundle.compiled import load_model
from oracle_batch.cli import run
from oracle_batch.demo import prepare
from oracle_batch.training.checkpoint import identity_of
from oracle_batch.training.costs import CostOptions, training_costs
from oracle_batch.training.data import read_history
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.splits import split
from oracle_batch.training.trials import TrialLog
from tests.brain.markets import ROOT, SHIPPED

BUNDLE = ROOT / "models" / "EURUSD_M15.zip"
BARS = SHIPPED / "EURUSD_M15.parquet"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    with zipfile.ZipFile(BUNDLE) as archive:
        found: dict[str, Any] = json.loads(archive.comment)
    return found


def test_it_is_of_the_default_parameters_and_the_shipped_bars(told: dict[str, Any]) -> None:
    history, usual = read_history(BARS, "EURUSD", "M15"), TrainingParameters()
    own = split(history.bars, usual.split)[0].of(history.bars)
    costs = training_costs("EURUSD", own, CostOptions(), usual.env.lot_sizes)
    assert told["data_info"]["sha256"] == history.sha256
    assert told["selection"]["identity"] == identity_of(usual, costs, history.sha256, usual.seed)
    assert load_model(BUNDLE, None).costs == costs
    assert told["training_config"]["total_timesteps"] == 2_000_000
    assert told["selection"]["seeds"] == 5


def test_its_source_is_marked_mit() -> None:
    import pyarrow.parquet

    words = {key.decode(): value.decode() for key, value in pyarrow.parquet.read_schema(BARS).metadata.items()}
    assert any("MIT" in value for value in words.values()), words


def test_it_holds_the_median_of_its_seeds_and_counts_every_trial(told: dict[str, Any]) -> None:
    trials = TrialLog(BUNDLE.parent, "EURUSD_M15").read()
    assert told["selection"]["trials"] == len(trials)
    final = sorted(trials[-5:], key=lambda one: one.validation.score)
    assert [one.kind for one in final] == ["seed"] * 5
    assert (final[2].seed, final[2].steps) == (told["selection"]["seed"], told["training_config"]["selected_timesteps"])


def test_its_audit_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path), "models", "audit", str(BUNDLE), "--bars", str(BARS)]) == 0
    assert capsys.readouterr().out.startswith("EURUSD_M15: Nothing found that would bite in production.")


def test_it_is_of_format_2_1_and_taken() -> None:
    report = check_bundle(BUNDLE)
    assert (report.refused, report.format_version, report.decoding) == ([], "2.1", "filter")


def test_the_demo_shows_it_bars_that_neither_fitting_nor_selection_has_seen(
    told: dict[str, Any], tmp_path: Path
) -> None:
    from oracle_batch.cli.demo import CLOSES
    from oracle_batch.config import load_settings
    from oracle_batch.demo import closes

    workspace = prepare(tmp_path)
    first = closes(workspace, load_settings(workspace.config_file), CLOSES)[0]
    assert first > told["data_info"]["test_start"] + told["data_info"]["warmup_bars"] * 900
