"""The benchmarks run, in the smallest size there is; their numbers mean nothing here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import armed, fleet, measure, scale
from oracle_batch.bundle.compiled import load_model

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parents[1]
TINY = measure.Sizes(
    models=3,
    many=7,
    closes=3,
    decisions=5,
    decisions_filter=2,
    decisions_many=2,
    builds=2,
    reference_rounds=2,
    replayed_bars=50,
    replays=1,
    cold_ticks=1,
    cold_guards=1,
    plans=2,
    commits=2,
    armed_closes=1,
    armed_turns=1,
    armed_colds=1,
    scaled_models=5,
    scaled_accounts=2,
    scaled_ticks=1,
    bursts=1,
    connects=1,
    burst_orders=2,
    history_bars=10,
    training_bars=500,
    training_rounds=1,
    fleet_bars=400,
    fleet_tasks=3,
    fleet_rounds=1,
    backtests=1,
    traded_bars=40,
)
NUMBERS = (
    "decide_ms_20",
    "decide_ms_20_p99",
    "decide_ms_2000",
    "decide_filter_ms_20",
    "reference_decide_ms_20",
    "reference_over_decide_20",
    "replay_bars_per_s",
    "tick_wall_s_20",
    "tick_cpu_s_20",
    "tick_peak_rss_mb_20",
    "plan_ms_20",
    "guard_cpu_s",
    "guard_peak_rss_mb",
    "run_resident_mb",
    "tick_s_2000",
    "tick_files_2000",
    "tick_s_growth",
    "tick_s_20x50",
    "journal_commit_ms",
    "state_commit_ms_20",
    "trigger_to_last_order_ms",
    "trigger_to_last_order_ms_p99",
    "reversal_second_leg_ms",
    "trigger_cold_ms",
    "trigger_cold_own_ms",
    "armed_peak_rss_mb",
    "cold_peak_rss_mb",
    "cold_cpu_s",
    "sim_burst_20_orders_ms",
    "openapipy_burst_20_ms",
    "connect_to_ready_ms",
    "history_20x1000_bars_s",
    "backtest_bars_per_s_20",
    "backtest_full_bars_per_s_20",
    "env_steps_per_s",
    "reference_env_steps_per_s",
    "train_steps_per_s",
    "reference_train_steps_per_s",
    "fleet_speedup_2_workers",
    "fleet_speedup_2_workers_median",
)


@pytest.fixture(autouse=True)
def _training_libraries() -> None:
    """The reference and the derived bundles need them."""
    for name in ("torch", "stable_baselines3", "hmmlearn", "pandas", "distributed"):
        pytest.importorskip(name)


def test_every_key_is_measured_and_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = json.loads(json.dumps(measure.measure(tmp_path, TINY)))
    for key in NUMBERS:
        assert math.isfinite(numbers[key])
        assert numbers[key] > 0
    assert numbers["failed"] == []
    assert numbers["reference_agreement_20"] == 1.0
    explained = re.findall(r"`(\w+)`", (ROOT / "bench" / "README.md").read_text())
    assert set(numbers) <= set(explained)
    assert capsys.readouterr().out == "", "the one line of JSON is main's"


@pytest.mark.parametrize("how", [SystemExit("the tick ended with 1"), ZeroDivisionError(), AssertionError()])
def test_a_part_that_fails_costs_no_other_its_numbers(
    how: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> measure.Numbers:
        raise how

    steps = [("one", lambda: {"a": 1.0}), ("two", fails), ("three", lambda: {"b": 2.0})]
    assert measure.collected(steps) == ({"a": 1.0, "b": 2.0}, ["two"])
    assert type(how).__name__ in capsys.readouterr().err
    monkeypatch.setattr(measure, "measure", lambda *_: {"a": 1.0, "failed": ["two"]})
    with pytest.raises(SystemExit, match="1"):
        measure.main()
    assert json.loads(capsys.readouterr().out) == {"a": 1.0, "failed": ["two"]}


@pytest.mark.parametrize(
    ("main", "arguments", "why"),
    [
        (armed.main, [], "usage: python -m bench.armed"),
        (armed.main, ["102", "9"], "usage: python -m bench.armed"),
        (armed.main, ["0", "9", "5"], "each a number from 1 on"),
        (armed.main, ["trace", "/nowhere/trace.json"], "/nowhere/trace.json: cannot be written"),
        (scale.main, ["2000"], "usage: python -m bench.scale"),
        (scale.main, ["20", "-1"], "each a number from 1 on"),
        (scale.main, ["20", "x", "1"], "each a number from 1 on"),
    ],
)
def test_a_wrong_command_line_is_answered_by_its_usage(
    main: Callable[[], None], arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as refusal:
        main()
    assert why in str(refusal.value)


def test_the_fleet_is_alike_in_shape_and_different_in_weights(tmp_path: Path) -> None:
    from bench import reference

    paths = [fleet.write_bundle(number, tmp_path) for number in range(4)]
    models = [load_model(path, None) for path in paths]
    assert [model.model_id for model in models] == ["AAA01_M15", "AAA02_M15", "AAA03_M15", "AAA04_M15"]
    assert {model.policy.shape for model in models} == {(14, 64, 64, 7)}
    assert {model.covariance_type for model in models} == {"full"}
    assert len({model.policy.weights[1].tobytes() for model in fleet.multiplied(models, 9)}) == 9
    assert reference.load(paths[1]).metadata["symbol"]["clean"] == "AAA02"
