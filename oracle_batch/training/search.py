"""Hyper-parameter search with Optuna: judged on the validation part alone, every trial on record."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import optuna

from oracle_batch.errors import DataError, OracleBatchError
from oracle_batch.training.costs import CostOptions
from oracle_batch.training.data import History
from oracle_batch.training.fit import PolicyFit, ShowProgress
from oracle_batch.training.fleet import Fleet
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.prepare import prepare
from oracle_batch.training.silent import silent
from oracle_batch.training.trials import Trial, trial_of

TOGETHER: Final = 4
"""Trials that are drawn before any of them is judged; fixed, so that more workers do not change the search."""
NETS: Final = {"32-32": (32, 32), "64-64": (64, 64), "128-64": (128, 64)}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """``trials`` short trainings of ``steps`` each. The reward's own parameters stay, so that scores compare."""

    history: History
    parameters: TrainingParameters
    costs: CostOptions
    trials: int
    steps: int
    now: str


@dataclass(frozen=True, slots=True)
class TrialTask:
    """One trial for a worker."""

    history: History
    parameters: TrainingParameters
    costs: CostOptions
    now: str


def run_trial(task: TrialTask) -> Trial:
    """Train and score once."""
    prepared = prepare(task.history, task.parameters, task.costs)
    policy = PolicyFit(prepared.ground, task.parameters, task.parameters.seed).run(silent, lambda _: None)
    return trial_of(prepared, policy, "trial", task.now)


def search(wanted: Search, progress: ShowProgress, crew: Fleet) -> tuple[TrainingParameters, list[Trial]]:
    """The parameters of the best trial (with the full number of steps again), and all trials.

    Raises:
        DataError: not one trial came to an end.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=wanted.parameters.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    found: list[tuple[Trial, TrainingParameters]] = []
    for start in range(0, wanted.trials, TOGETHER):
        asked = [study.ask() for _ in range(min(TOGETHER, wanted.trials - start))]
        drawn = {f"trial {one.number + 1}": draw(one, wanted) for one in asked}
        tasks = {
            name: TrialTask(wanted.history, parameters, wanted.costs, wanted.now) for name, parameters in drawn.items()
        }
        title = f"{wanted.history.symbol} trials {start + 1} to {start + len(asked)}"
        answers = crew.fan_out(run_trial, tasks, progress, title)
        for one, (name, answer) in zip(asked, answers.items(), strict=True):
            if isinstance(answer, OracleBatchError):
                _log.warning("%s failed: %s", name, answer)
                study.tell(one, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(one, answer.validation.score)
                found.append((answer, drawn[name]))
    if not found:
        raise DataError("not one trial came to an end", file=wanted.history.origin, fix="see the log")
    best = max(found, key=lambda one: one[0].validation.score)[1]
    return _with_ppo(best, total_steps=wanted.parameters.ppo.total_steps), [trial for trial, _ in found]


def draw(trial: Any, wanted: Search) -> TrainingParameters:
    """Parameters for a trial."""
    given = wanted.parameters
    hmm = msgspec.structs.replace(given.hmm, n_states=trial.suggest_int("n_states", 3, 6))
    drawn = _with_ppo(
        given,
        total_steps=wanted.steps,
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-3, log=True),
        entropy=trial.suggest_float("entropy", 1e-3, 3e-2, log=True),
        gamma=trial.suggest_categorical("gamma", [0.95, 0.98, 0.99, 0.995]),
        net=NETS[trial.suggest_categorical("net", list(NETS))],
    )
    return msgspec.structs.replace(drawn, hmm=hmm)


def _with_ppo(parameters: TrainingParameters, **changes: Any) -> TrainingParameters:
    return msgspec.structs.replace(parameters, ppo=msgspec.structs.replace(parameters.ppo, **changes))
