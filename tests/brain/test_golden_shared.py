"""The reference outputs that the original system's own code produced. A plain checkout does not have them."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from oracle_batch.brain import decide, features
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import FeatureParams
from oracle_batch.types import WINDOW
from tests.brain.markets import SHARED, read

GOLDEN = SHARED / "golden"
DEFAULTS = FeatureParams(12, 12, 20, 10, 14, 200, 20, 20)
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference outputs are not here")
INTEGERS = ("hmm_state", "action", "direction", "intensity")


@pytest.mark.parametrize("name", ["EURUSD_M15", "USDJPY_H1", "XAUUSD_M15"])
def test_features_are_the_originals(name: str) -> None:
    bars = read(SHARED / "data" / f"{name}.parquet")
    golden = pq.read_table(GOLDEN / f"features_{name}.parquet").to_pylist()
    ends = np.searchsorted(bars.time, [row["time"] for row in golden]) + 1
    stack = [bars[end - WINDOW : end] for end in ends.tolist()]
    windows = decide.stack_windows(stack)
    columns = features.Columns(*(getattr(windows, series).T for series in decide.SERIES))
    position, rl_position = features.both_positions(columns, DEFAULTS, 1, 1)
    regime = features.regime_inputs(columns, position, DEFAULTS, 1)[0]
    assert np.abs(regime - np.array([row["hmm_features"] for row in golden])).max() <= 1e-6
    ema = features.window_ema(windows.close, DEFAULTS.ema_period, 1)
    market = features.market_inputs(columns, rl_position, ema, windows.time[None], DEFAULTS, 1)[0]
    twin = features.twin_inputs(*(np.array([row[key] for row in golden]) for key in ("direction", "size", "pnl")))
    one_hot = np.eye(5, dtype=np.float32)[[row["hmm_state"] for row in golden]]
    ours = np.concatenate([market, one_hot, twin], axis=1)
    assert np.abs(ours - np.array([row["observation"] for row in golden])).max() <= 1e-6


@pytest.mark.parametrize("name", ["EURUSD_M15", "EURJPY_M15", "USDCHF_M15"])
def test_signals_are_the_originals(name: str) -> None:
    bars = read(SHARED / "data" / f"{name}.parquet")[-2350:]
    golden = pq.read_table(GOLDEN / f"signals_{name}.parquet").to_pydict()
    result = decide.replay(load_model(SHARED / "models" / f"{name}.zip", None), bars, FLAT, 2001)
    ours = {
        "hmm_state": result.hmm_states,
        "action": result.actions,
        "direction": [twin.direction for twin in result.twins],
        "intensity": [twin.intensity for twin in result.twins],
    }
    assert result.time.tolist() == golden["time"]
    for key in INTEGERS:
        assert ours[key] == golden[key], key
    for key in ("entry_price", "floating_pnl"):
        assert np.abs(np.array([getattr(twin, key) for twin in result.twins]) - golden[key]).max() <= 1e-9, key
