"""What a record of trials says: how many there were, which are the final seeds, how overfitted the choice is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from oracle_batch.training.honesty.trials import Trials, final_seeds, trials_beside, trials_of
from oracle_batch.training.trials import Trial, TrialLog
from tests.brain.markets import ROOT

SHIPPED = TrialLog(ROOT / "models", "EURUSD_M15").read()
LATER = "2026-12-01T00:00:00Z"


def like(one: Trial, **changes: Any) -> Trial:
    return msgspec.structs.replace(one, **changes)


def test_the_seeds_are_those_of_the_last_training_and_each_counts_once() -> None:
    first = like(SHIPPED[-1], time="2026-01-01T00:00:00Z", seed=1)
    trial = like(first, time=LATER, kind="trial", seed=9)
    last = [like(first, time=LATER, seed=seed) for seed in (1, 2, 3)]
    again = like(last[1], steps=5)
    assert final_seeds([first, trial, *last, again]) == [last[0], again, last[2]]
    assert final_seeds([trial]) == []


def test_every_record_counts_as_a_trial_whatever_it_was() -> None:
    found = trials_of(SHIPPED)
    assert found.count == len(found.sharpes) == 19
    assert found.seeds is not None
    assert found.seeds["count"] == 5
    assert found.seeds["lowest_sharpe"] <= found.seeds["median_sharpe"] <= found.seeds["highest_sharpe"]
    assert found.overfitting is None, "15 days are too few to be split"


def test_with_enough_days_the_choice_is_cross_validated() -> None:
    rng = np.random.default_rng(3)
    long = [like(one, daily=rng.normal(0, 1, 80).tolist()) for one in SHIPPED]
    found = trials_of(long).overfitting
    assert found is not None
    assert 0 <= found <= 1


def test_trials_on_other_bars_count_but_are_not_compared() -> None:
    rng = np.random.default_rng(3)
    here = [like(one, daily=rng.normal(0, 1, 80).tolist()) for one in SHIPPED]
    there = [like(one, bars_sha256="other", daily=rng.normal(5, 1, 80).tolist()) for one in SHIPPED]
    alone, both = trials_of(here), trials_of([*there, *here])
    assert both.count == 2 * alone.count
    assert (both.sharpes, both.overfitting) == (alone.sharpes, alone.overfitting)
    longer = [like(one, daily=[0.0] * 90) for one in there]
    assert trials_of([*longer, *here]).sharpes == alone.sharpes


def test_between_trials_that_do_not_differ_there_was_no_choice() -> None:
    idle = [like(one, daily=[0.0] * 80) for one in SHIPPED]
    assert trials_of(idle).overfitting is None
    rng = np.random.default_rng(3)
    two = [like(one, daily=rng.normal(0, 1, 80).tolist()) for one in SHIPPED[:2]]
    assert trials_of([*two, *two, *two]).overfitting == trials_of(two).overfitting


def test_nothing_is_known_without_a_record(tmp_path: Path) -> None:
    assert trials_beside(tmp_path / "EURUSD_M15.zip", "EURUSD_M15") == Trials()


def test_a_policy_that_never_traded_has_a_ratio_of_nothing() -> None:
    (idle,) = [one for one in final_seeds(SHIPPED) if not one.validation.trades]
    assert trials_of([idle]).sharpes == (pytest.approx(0.0),)
