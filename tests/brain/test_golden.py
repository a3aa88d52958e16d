"""Shipped bundles over shipped bars against golden outputs that pandas, hmmlearn and SB3 computed (``golden.py``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from oracle_batch.brain.decide import Replay, replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from tests.brain.golden import CASES, TYPES, Case, compute

pytestmark = pytest.mark.no_cover

RECOMPUTED = 25
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.file.stem)


def decided(case: Case, folder: Path) -> Replay:
    """What the brain makes of a case."""
    return replay(load_model(case.bundle(folder), None), case.bars(), FLAT, case.decided)


@cases
def test_every_bar_is_as_the_training_libraries_have_it(case: Case, tmp_path: Path) -> None:
    golden, ours = pq.read_table(case.file).to_pydict(), decided(case, tmp_path)
    assert ours.time.tolist() == golden["time"]
    assert ours.hmm_states == golden["hmm_state"]
    assert ours.actions == golden["action"]
    for name in ("direction", "intensity"):
        assert [getattr(twin, name) for twin in ours.twins] == golden[name]
    for name in ("entry_price", "floating_pnl", "realized_pnl"):
        np.testing.assert_allclose([getattr(twin, name) for twin in ours.twins], golden[name], rtol=0, atol=1e-9)
    if case.observations:
        np.testing.assert_allclose(ours.observations, np.array(golden["obs"]), rtol=0, atol=1e-6)


@cases
def test_the_golden_bars_have_something_to_tell(case: Case) -> None:
    golden = pq.read_table(case.file).to_pydict()
    assert len(set(golden["hmm_state"])) >= 3
    assert len(set(golden["direction"])) >= 2
    assert len(set(zip(golden["direction"], golden["intensity"], strict=True))) >= 3


@cases
def test_the_golden_files_still_come_out_of_the_reference(case: Case) -> None:
    for name in ("pandas", "hmmlearn", "stable_baselines3"):
        pytest.importorskip(name)
    bars = case.bars()[: RECOMPUTED + 349]
    golden, again = pq.read_table(case.file).slice(0, RECOMPUTED).to_pydict(), compute(case, bars)
    for name in TYPES:
        np.testing.assert_allclose(again[name], golden[name], rtol=0, atol=1e-12, err_msg=name)
