"""A backtest is the same wherever it is done."""

from __future__ import annotations

import pickle

import msgspec

from oracle_batch.training.backtest.run import Task
from oracle_batch.training.backtest.work import Job, as_a_family, work
from tests.backtest import samples

METADATA = {"data_info": {"date_start": "2020-01-01", "date_end": "2021-01-01"}}


def job(name: str) -> Job:
    return Job(Task(samples.model(name), METADATA, samples.bars(name, 349 + 2200), "bars", 10_000.0))


def test_a_job_that_was_sent_elsewhere_comes_to_the_same() -> None:
    here = work(job("EURUSD_M15"))
    there = pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(job("EURUSD_M15"))))))
    assert msgspec.json.encode(here.document()) == msgspec.json.encode(there.document())


def test_looking_at_several_makes_each_less_sure() -> None:
    answers = {name: work(job(name)) for name in ("GBPUSD_H1", "USDJPY_H1")}
    family = as_a_family(answers)
    for name, answer in family.items():
        before, after = answers[name].report.honesty, answer.report.honesty
        assert before is not None
        assert after is not None
        assert before.p_value is not None
        assert after.family_p_value is not None
        assert before.p_value <= after.family_p_value <= 1
        assert f"among 2 bundles looked at together p = {after.family_p_value:.2f}." in answer.page
        assert answer.page.count('class="lead"') == 1
        assert any("looked at together" in doubt for doubt in answer.report.doubts) is (after.family_p_value > 0.05)
