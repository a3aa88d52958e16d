"""Refits on what was known, judged on what came next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oracle_batch.errors import BarError
from oracle_batch.training.backtest.run import Task
from oracle_batch.training.backtest.walk_forward import walk_forward
from oracle_batch.training.backtest.work import Job, work
from oracle_batch.training.parameters import TrainingParameters
from tests.backtest import samples


def test_a_fold_is_judged_on_the_bars_that_come_after_its_own() -> None:
    bars = samples.bars("EURUSD_M15", 6000)
    found = walk_forward(Task(samples.model("EURUSD_M15"), {}, bars, "bars", 10_000.0), 1, 4096)
    (fold,) = found.folds
    assert fold.fitted_on == 3000
    assert (fold.start, fold.end) == (bars.time[3000], bars.time[-1])
    assert found.total_return == pytest.approx(fold.net / 10_000)
    assert found.winning == float(fold.net > 0)


def test_a_refit_has_the_bundles_own_features_and_net(monkeypatch: pytest.MonkeyPatch) -> None:
    model = samples.model("EURUSD_M15")
    own = replace(model, features=replace(model.features, roc_period=33, rl_range_period=44))
    fitted: list[TrainingParameters] = []

    def stop(_: object, parameters: TrainingParameters, *__: object) -> None:
        fitted.append(parameters)
        raise BarError("far enough")

    monkeypatch.setattr("oracle_batch.training.backtest.walk_forward.prepare", stop)
    with pytest.raises(BarError, match="far enough"):
        walk_forward(Task(own, {}, samples.bars("EURUSD_M15", 6000), "bars", 10_000.0), 1, 4096)
    assert fitted[0].features == own.features
    assert fitted[0].ppo.net == own.policy.shape[1:-1]
    assert fitted[0].ppo.activation == own.policy.activation


def test_too_many_folds_are_refused() -> None:
    task = Task(samples.model("EURUSD_M15"), {}, samples.bars("EURUSD_M15", 1500), "bars", 10_000.0)
    with pytest.raises(BarError, match="1500 bars are too few for 40 folds"):
        work(Job(task, 40, 4096))
