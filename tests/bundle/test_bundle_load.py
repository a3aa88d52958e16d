"""Good bundles become models: every shape, every covariance type, both formats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oracle_batch.bundle.compiled import load_model, load_models
from oracle_batch.bundle.model import FeatureParams
from tests.bundle.build import COVARIANCE_TYPES, make_bundle, parts


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_states", [1, 2, 5, 9])
def test_every_covariance_type_and_state_count_is_read(tmp_path: Path, covariance_type: str, n_states: int) -> None:
    bundle = parts(covariance_type=covariance_type, n_states=n_states, seed=3)
    model = load_model(bundle.write(tmp_path), None)
    assert model.covariance_type == covariance_type
    assert model.regime.n_states == n_states
    assert np.array_equal(model.regime.startprob, bundle.hmm["startprob_"])
    assert np.array_equal(model.regime.transmat, bundle.hmm["transmat_"])
    assert np.array_equal(model.regime.means, bundle.hmm["means_"])
    assert model.policy.shape == (n_states + 9, 64, 64, 7)


@pytest.mark.parametrize("hidden", [(), (1,), (32,), (64, 64), (128, 64, 32), (7, 300, 5, 11)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_depth_width_and_activation_is_read(tmp_path: Path, hidden: tuple[int, ...], activation: str) -> None:
    bundle = parts(hidden=hidden, activation=activation, seed=5)
    policy = load_model(bundle.write(tmp_path), None).policy
    assert policy.shape == (14, *hidden, 7)
    assert policy.activation == activation
    names = [f"mlp_extractor.policy_net.{2 * index}" for index in range(len(hidden))] + ["action_net"]
    for name, weight, bias in zip(names, policy.weights, policy.biases, strict=True):
        assert np.array_equal(weight, bundle.policy[f"{name}.weight"].T)
        assert np.array_equal(bias, bundle.policy[f"{name}.bias"])
        assert weight.dtype == bias.dtype == np.float32
        assert weight.flags.c_contiguous


def test_metadata_reach_the_model(tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path,
        symbol="US500.cash",
        clean="US 500",
        timeframe="H4",
        decoding="filter",
        observation_pnl="current",
        costs={"digits": 1, "pip_value": 1.5, "spread_points": 3.5, "lot_sizes": [0, 0.1, 0.1, 2]},
        hmm_config={"range_period": 350, "momentum_period": 349},
        rl_config={"range_period": 30, "ema_period": 5},
    )
    model = load_model(path, None)
    assert (model.model_id, model.symbol, model.broker_symbol) == ("US500.cash_H4", "US500.cash", "US 500")
    assert (model.timeframe, model.format_version) == ("H4", "2.0")
    assert (model.decoding, model.observation_pnl) == ("filter", "current")
    assert model.features == FeatureParams(349, 12, 350, 10, 14, 5, 30, 20)
    assert (model.costs.point, model.costs.digits, model.costs.pip_value) == (0.1, 1, 1.5)
    assert model.costs.lot_sizes == (0.0, 0.1, 0.1, 2.0)


def test_what_a_classic_bundle_leaves_out_has_its_classic_meaning(tmp_path: Path) -> None:
    model = load_model(make_bundle(tmp_path), None)
    assert (model.format_version, model.decoding, model.observation_pnl) == ("2.0", "single", "previous")


def test_observation_pnl_may_stand_in_rl_config(tmp_path: Path) -> None:
    path = make_bundle(tmp_path, rl_config={"observation_pnl": "current"})
    assert load_model(path, None).observation_pnl == "current"


def test_a_model_wrapped_in_a_dict_is_found(tmp_path: Path) -> None:
    assert load_model(make_bundle(tmp_path, wrap_hmm=True), None).regime.n_states == 5


def test_unknown_metadata_are_allowed(tmp_path: Path) -> None:
    bundle = parts()
    bundle.metadata["backtest_oos"] = {"trades": [1, 2, {"deep": None}]}
    bundle.metadata["training_config"]["reward"] = "pnl"
    load_model(bundle.write(tmp_path), None)


@pytest.mark.parametrize("with_runtime", [True, False])
def test_format_2_1_with_and_without_its_runtime_member(tmp_path: Path, with_runtime: bool) -> None:
    bundle = parts(format_version="2.1", decoding="viterbi")
    if not with_runtime:
        bundle.runtime = None
    model = load_model(bundle.write(tmp_path), None)
    assert (model.format_version, model.decoding) == ("2.1", "viterbi")


def test_format_2_1_without_hashes_is_read(tmp_path: Path) -> None:
    bundle = parts(format_version="2.1")
    del bundle.metadata["sha256"]
    load_model(bundle.write(tmp_path), None)


def test_the_twenty_real_bundles_load(shared_models: Path) -> None:
    models, refused = load_models(shared_models, None)
    assert refused == {}
    assert len(models) == 20
    assert all(name == model.model_id for name, model in models.items())


def test_reading_imports_none_of_the_training_libraries(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    code = (
        "import sys; from pathlib import Path; from oracle_batch.bundle.compiled import load_models\n"
        "from oracle_batch.bundle.check import check_bundle\n"
        f"folder = Path({str(tmp_path)!r}); models, refused = load_models(folder, folder / 'c'); assert not refused\n"
        "assert check_bundle(folder / 'EURUSD_M15.zip').ok\n"
        "heavy = {'torch', 'hmmlearn', 'stable_baselines3', 'sklearn', 'scipy', 'pandas', 'cloudpickle', 'pickle'}\n"
        "print(sorted(heavy & set(sys.modules) - {'pickle'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
