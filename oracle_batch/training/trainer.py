"""Training a model from start to end: search, seeds, selection, the one look at the test part, bundle and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from typing import Any

import msgspec
import numpy as np

from oracle_batch.errors import OracleBatchError
from oracle_batch.training import report
from oracle_batch.training.checkpoint import Checkpoints, decode, encode, identity_of
from oracle_batch.training.costs import CostOptions
from oracle_batch.training.data import History
from oracle_batch.training.export import bundle_bytes
from oracle_batch.training.fit import FittedPolicy, Ground, PolicyFit, ShowProgress, State
from oracle_batch.training.fleet import Fleet
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.prepare import Prepared, prepare, unseen_tape
from oracle_batch.training.score import Result, result_of
from oracle_batch.training.silent import silent
from oracle_batch.training.states import analysis
from oracle_batch.training.trials import Trial, trial_of


@dataclass(frozen=True, slots=True)
class Job:
    """What to train. ``seeds`` are whole runs of the policy; ``known_trials`` how many are on record from before."""

    history: History
    parameters: TrainingParameters
    costs: CostOptions
    seeds: tuple[int, ...]
    generated_at: str
    broker_symbol: str | None = None
    known_trials: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: the bundle's bytes, the report's HTML, its trials and what the bundle tells of itself."""

    model_id: str
    identity: str
    bundle: bytes
    report: str
    trials: list[Trial]
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeedTask:
    """One run for a worker."""

    ground: Ground
    parameters: TrainingParameters
    seed: int
    state: State | None = None


def run_seed(task: SeedTask) -> FittedPolicy:
    """Train one policy where nobody watches."""
    return _fit(task).run(silent, lambda _: None)


def _fit(task: SeedTask) -> PolicyFit:
    fit = PolicyFit(task.ground, task.parameters, task.seed)
    if task.state is not None:
        fit.restore(task.state)
    return fit


def train(
    job: Job,
    progress: ShowProgress,
    crew: Fleet,
    checkpoints: Checkpoints | None = None,
    *,
    resume: bool = False,
    searched: Sequence[Trial] = (),
) -> Trained:
    """Train a model. With ``checkpoints`` every run's state is saved as it goes, and ``resume`` goes on from there.

    Raises:
        OracleBatchError: bad data or parameters; or a run failed, which fails the model.
    """
    prepared = prepare(job.history, job.parameters, job.costs, job.broker_symbol)
    tasks = {f"seed {seed}": SeedTask(prepared.ground, job.parameters, seed) for seed in job.seeds}
    keep = _Keeper(prepared, checkpoints)
    if resume:
        tasks = {name: with_(task, state=keep.load(task.seed)) for name, task in tasks.items()}
    policies: list[FittedPolicy] = []
    if crew.is_cluster:
        answers = crew.fan_out(
            run_seed, tasks, progress, prepared.model_id, lambda _, found: keep.save(found.seed, found.state)
        )
        for answer in answers.values():
            if isinstance(answer, OracleBatchError):
                raise answer
            policies.append(answer)
    else:
        for task in tasks.values():
            policies.append(_fit(task).run(progress, keep.saver(task.seed)))
    return finish(job, prepared, policies, searched)


class _Keeper:
    """Saves and loads the states of a model's runs."""

    def __init__(self, prepared: Prepared, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        self._of = prepared

    def _identity(self, seed: int) -> str:
        return identity_of(self._of.parameters, self._of.costs, self._of.history.sha256, seed)

    def save(self, seed: int, state: State) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save(seed, encode(state, self._identity(seed)))

    def saver(self, seed: int) -> Callable[[State], None]:
        return lambda state: self.save(seed, state)

    def load(self, seed: int) -> State | None:
        data = self._checkpoints.load(seed) if self._checkpoints is not None else None
        if data is None or self._checkpoints is None:
            return None
        return decode(data, self._identity(seed), self._checkpoints.path(seed))


def median_of(policies: Sequence[FittedPolicy]) -> FittedPolicy:
    """The policy with the median validation score (of an even number, the lower one): never the best by luck."""
    ranked = sorted(policies, key=lambda one: (one.best.validation.score, -one.seed))
    return ranked[(len(ranked) - 1) // 2]


def finish(job: Job, prepared: Prepared, policies: Sequence[FittedPolicy], searched: Sequence[Trial] = ()) -> Trained:
    """Choose on validation, look at the test part once, write it all down."""
    chosen = median_of(policies)
    unseen = unseen_tape(prepared)
    balance, reward = prepared.parameters.env.initial_balance, prepared.ground.reward
    results = [result_of(with_(prepared.ground.model, policy=one.actor), unseen, reward, balance) for one in policies]
    trials = [*searched, *(trial_of(prepared, one, "seed", job.generated_at) for one in policies)]
    identity = identity_of(prepared.parameters, prepared.costs, prepared.history.sha256, prepared.parameters.seed)
    told = {
        "backtest_oos": _out_of_sample(results, results[list(policies).index(chosen)], job.seeds),
        "hmm_state_analysis": analysis(prepared, unseen),
        "selection": {
            "criterion": "mean reward of a bar on the validation part; of the seeds, the median",
            "trials": job.known_trials + len(trials),
            "seed": chosen.seed,
            "seeds": len(policies),
            "validation": msgspec.to_builtins(chosen.best.validation),
            "identity": identity,
        },
    }
    bundle = bundle_bytes(prepared, chosen, told, job.generated_at)
    words = told | {"parameters": msgspec.to_builtins(prepared.parameters)}
    page = report.page(prepared, policies, chosen, results, words)
    return Trained(prepared.model_id, identity, bundle, page, trials, told)


def _out_of_sample(results: Sequence[Result], chosen: Result, seeds: Sequence[int]) -> dict[str, Any]:
    """The chosen policy's score on the test part, and how far the seeds lie apart."""
    scores = [result.score for result in results]

    def spread(pick: Callable[[Any], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in ("net_profit", "sharpe", "max_drawdown", "trades"):
            values = [value for score in scores if (value := getattr(score, name)) is not None]
            found[name] = pick(values) if values else None
        return found

    return {
        **msgspec.to_builtins(chosen.score),
        "from": int(chosen.time[0]),
        "to": int(chosen.time[-1]),
        "seeds": {
            "count": len(seeds),
            "lowest": spread(min),
            "median": spread(lambda values: float(np.median(values))),
            "highest": spread(max),
        },
    }
