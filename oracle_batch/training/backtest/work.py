"""A backtest as a piece of work for whichever process does it, and many of them as a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec.structs import replace as with_

from oracle_batch.training.backtest.page import page_of
from oracle_batch.training.backtest.run import AN_EDGE, NO_EDGE, Report, Task, backtest
from oracle_batch.training.backtest.walk_forward import WalkForward, walk_forward
from oracle_batch.training.honesty.chance import holm
from oracle_batch.training.pages import with_lead


@dataclass(frozen=True, slots=True)
class Job:
    """A task, and how often it is refitted on the way (0: not at all), with so many training steps each."""

    task: Task
    folds: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back: values and a finished page."""

    report: Report
    page: str
    refitted: WalkForward | None = None

    def document(self) -> dict[str, Any]:
        """The report as plain values, with the walk-forward where there was one."""
        found: dict[str, Any] = msgspec.to_builtins(self.report)
        if self.refitted is not None:
            found["walk_forward"] = msgspec.to_builtins(self.refitted)
        return found


def work(job: Job) -> Answer:
    """Do it."""
    found = backtest(job.task)
    refitted = walk_forward(job.task, job.folds, job.steps) if job.folds else None
    return Answer(found.report, page_of(found, refitted).text(), refitted)


def as_a_family(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """The same answers, their p-values corrected for how many were looked at together (Holm)."""
    judged = {
        name: one for name, one in answers.items() if one.report.honesty and one.report.honesty.p_value is not None
    }
    values = [one.report.honesty.p_value or 0.0 for one in judged.values() if one.report.honesty is not None]
    found = dict(answers)
    for (name, answer), corrected in zip(judged.items(), holm(values), strict=True):
        report = answer.report
        assert report.honesty is not None
        honesty = with_(report.honesty, family_p_value=corrected)
        doubts = report.doubts
        if corrected > 0.05:
            doubts = (*doubts, f"among the {len(judged)} bundles looked at together its p-value is {corrected:.2f}")
        verdict = NO_EDGE if doubts else AN_EDGE
        lead = (
            f"{verdict[:1].upper()}{verdict[1:]}; among {len(judged)} bundles looked at together p = {corrected:.2f}."
        )
        new = with_(report, honesty=honesty, doubts=doubts, verdict=verdict)
        found[name] = replace(answer, report=new, page=with_lead(answer.page, lead))
    return found
