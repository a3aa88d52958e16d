"""Hyper-parameter search with Optuna: judged on the validation part alone, every trial on record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import optuna

from oracle_batch.errors import DataError, OracleBatchError
from oracle_batch.training.checkpoint import identity_of
from oracle_batch.training.costs import CostOptions, training_costs
from oracle_batch.training.data import History
from oracle_batch.training.fit import PolicyFit, ShowProgress
from oracle_batch.training.fleet import Fleet
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.prepare import prepare
from oracle_batch.training.silent import silent
from oracle_batch.training.splits import split
from oracle_batch.training.trials import Trial, trial_of, unusual

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


def search(
    wanted: Search,
    progress: ShowProgress,
    crew: Fleet,
    *,
    known: Sequence[Trial] = (),
    record: Callable[[list[Trial]], None] = lambda _: None,
) -> tuple[TrainingParameters, list[Trial]]:
    """The parameters of the best trial (with the full number of steps again), and the trials that were made for it.

    ``record`` gets each new trial as soon as it is done. What is ``known`` from an interrupted search is not tried
    again.

    Raises:
        DataError: not one trial came to an end.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=wanted.parameters.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    before = {one.identity: one for one in known if one.kind == "trial"}
    found: list[tuple[Trial, TrainingParameters]] = []
    fresh: list[Trial] = []

    def made(_: str, trial: Trial) -> None:
        fresh.append(trial)
        record([trial])

    for start in range(0, wanted.trials, TOGETHER):
        asked = [study.ask() for _ in range(min(TOGETHER, wanted.trials - start))]
        drawn = {f"trial {one.number + 1}": draw(one, wanted) for one in asked}
        answers: dict[str, Trial | OracleBatchError] = {
            name: before[same]
            for name, parameters in drawn.items()
            if (same := _identity(wanted, parameters)) in before
        }
        tasks = {
            name: TrialTask(wanted.history, parameters, wanted.costs, wanted.now)
            for name, parameters in drawn.items()
            if name not in answers
        }
        title = f"{wanted.history.symbol} trials {start + 1} to {start + len(asked)}"
        try:
            new = crew.fan_out(run_trial, tasks, progress, title, made)
        except KeyboardInterrupt:
            words = "%s: search interrupted; %d new trials are on record, --resume goes on from there"
            _log.warning(words, wanted.history.symbol, len(fresh))
            raise
        answers.update(new)
        for one, name in zip(asked, drawn, strict=True):
            answer = answers[name]
            if isinstance(answer, OracleBatchError):
                _log.warning("%s failed: %s", name, answer)
                study.tell(one, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(one, answer.validation.score)
                found.append((answer, drawn[name]))
    if not found:
        raise DataError("not one trial came to an end", file=wanted.history.origin, fix="see the log")
    best = max(found, key=lambda one: one[0].validation.score)[1]
    return _with_ppo(best, total_steps=wanted.parameters.ppo.total_steps), fresh


def _identity(wanted: Search, parameters: TrainingParameters) -> str:
    """What the result of a trial depends on."""
    history = wanted.history
    own = split(history.bars, parameters.split, file=history.origin)[0].of(history.bars)
    costs = training_costs(history.symbol, own, wanted.costs, parameters.env.lot_sizes)
    return identity_of(parameters, costs, history.sha256, parameters.seed)


def draw(trial: Any, wanted: Search) -> TrainingParameters:
    """Parameters for a trial; what the operator has changed stays."""
    given = wanted.parameters
    kept = {section: keys for section, keys in unusual(given).items() if isinstance(keys, dict)}
    searched: dict[str, dict[str, Callable[[], Any]]] = {
        "hmm": {"n_states": lambda: trial.suggest_int("n_states", 3, 6)},
        "ppo": {
            "learning_rate": lambda: trial.suggest_float("learning_rate", 1e-4, 1e-3, log=True),
            "entropy": lambda: trial.suggest_float("entropy", 1e-2, 1e-1, log=True),
            "gamma": lambda: trial.suggest_categorical("gamma", [0.95, 0.98, 0.99, 0.995]),
            "net": lambda: NETS[trial.suggest_categorical("net", list(NETS))],
        },
    }
    drawn = {
        section: {name: suggest() for name, suggest in ways.items() if name not in kept.get(section, {})}
        for section, ways in searched.items()
    }
    hmm = msgspec.structs.replace(given.hmm, **drawn["hmm"])
    return msgspec.structs.replace(_with_ppo(given, total_steps=wanted.steps, **drawn["ppo"]), hmm=hmm)


def _with_ppo(parameters: TrainingParameters, **changes: Any) -> TrainingParameters:
    return msgspec.structs.replace(parameters, ppo=msgspec.structs.replace(parameters.ppo, **changes))
