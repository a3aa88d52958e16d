"""``train`` as an operator knows it: files in, bundle, report and trial log out, one failure never another's."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_limits

from oracle_batch.bundle.compiled import load_model
from oracle_batch.errors import OracleBatchError, StateError, UsageError
from oracle_batch.store.files import replace_all
from oracle_batch.training.checkpoint import Checkpoints, identity_of
from oracle_batch.training.costs import CostOptions
from oracle_batch.training.data import History, read_history
from oracle_batch.training.fit import ShowProgress
from oracle_batch.training.fleet import Fleet, attempt
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.search import Search, search
from oracle_batch.training.silent import silent
from oracle_batch.training.trainer import Job, Trained, train
from oracle_batch.training.trials import Trial, TrialLog
from oracle_batch.types import model_id, split_model_id

BAR_FILES: Final = (".parquet", ".csv")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator wants trained, and how."""

    out: Path
    parameters: TrainingParameters
    costs: CostOptions
    seeds: int
    trials: int
    trial_steps: int
    resume: bool
    now: str
    broker_symbol: str | None = None

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        return tuple(range(self.parameters.seed, self.parameters.seed + self.seeds))


def histories_in(folder: Path, timeframe: str | None) -> list[tuple[str, str, Path]]:
    """Symbol, timeframe and file of every ``SYMBOL_TF.parquet`` or ``.csv`` in a folder; of both, the Parquet.

    Raises:
        UsageError: there is none.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        named = split_model_id(path.stem) if path.suffix in BAR_FILES else None
        better = path.with_suffix(BAR_FILES[0])
        if named is not None and timeframe in (None, named[1]) and (path == better or not better.is_file()):
            found.append((*named, path))
    if not found:
        kind = timeframe or "TIMEFRAME"
        raise UsageError(
            f"holds no SYMBOL_{kind}.parquet or .csv", file=folder, field="--bars", fix="name another folder"
        )
    return found


def train_one(history: History, order: Order, progress: ShowProgress, crew: Fleet) -> Trained | None:
    """Search, train, write. None where ``resume`` finds the same training finished.

    Raises:
        OracleBatchError: bad data or parameters, or the folder cannot be written.
    """
    with threadpool_limits(1):  # as on workers: sums of more threads end in other bits
        return _train_one(history, order, progress, crew)


def _train_one(history: History, order: Order, progress: ShowProgress, crew: Fleet) -> Trained | None:
    name = model_id(history.symbol, history.timeframe)
    if order.resume and _finished(history, order, name):
        _log.info("%s: this training is finished, its bundle is there", name)
        return None
    _make(order.out)
    log = TrialLog(order.out, name)
    recorded = log.read()
    known, parameters = len(recorded), order.parameters
    if order.trials:
        wanted = Search(history, parameters, order.costs, order.trials, order.trial_steps, order.now)
        again = recorded if order.resume else ()
        parameters, searched = search(wanted, progress, crew, known=again, record=log.add)
        known += len(searched)
    job = Job(history, parameters, order.costs, order.seed_numbers, order.now, order.broker_symbol, known)
    checkpoints = Checkpoints(order.out, name)
    trained = train(job, progress, crew, checkpoints, resume=order.resume)
    write(trained, order.out)
    checkpoints.clear()
    return trained


@dataclass(frozen=True, slots=True)
class WholeTask:
    """One model for a worker: all of its seeds."""

    history: History
    order: Order
    known_trials: int


def train_whole(task: WholeTask) -> Trained:
    """Search and train one model where nobody watches; writes nothing."""
    order = task.order
    parameters, searched = order.parameters, list[Trial]()
    if order.trials:
        wanted = Search(task.history, parameters, order.costs, order.trials, order.trial_steps, order.now)
        parameters, searched = search(wanted, silent, Fleet())
    known = task.known_trials
    job = Job(task.history, parameters, order.costs, order.seed_numbers, order.now, order.broker_symbol, known)
    return train(job, silent, Fleet(), searched=searched)


def train_all(
    named: Sequence[tuple[str, str, Path]], order: Order, progress: ShowProgress, crew: Fleet
) -> dict[str, Trained | OracleBatchError | None]:
    """Train every model; each bundle is written as soon as it is there. On a cluster a model is one task."""
    found: dict[str, Trained | OracleBatchError | None] = {}
    tasks: dict[str, WholeTask] = {}
    unwritten: dict[str, OracleBatchError] = {}

    def begin(one: tuple[str, str, Path]) -> Trained | WholeTask | None:
        symbol, timeframe, path = one
        history, name = read_history(path, symbol, timeframe), model_id(symbol, timeframe)
        if not crew.is_cluster:
            return train_one(history, order, progress, crew)
        if order.resume and _finished(history, order, name):
            return None
        return WholeTask(history, order, len(TrialLog(order.out, name).read()))

    def finish(name: str, trained: Trained) -> None:
        refused = attempt(lambda one: write(one, order.out), name, trained)
        if refused is not None:
            unwritten[name] = refused

    for one in named:
        name = model_id(*one[:2])
        begun = attempt(begin, name, one)
        if isinstance(begun, WholeTask):
            tasks[name] = begun
        else:
            found[name] = begun
    if tasks:
        _make(order.out)
        answers = crew.fan_out(train_whole, tasks, progress, "training", finish)
        found.update(answers)
        found.update(unwritten)
    return {name: found[name] for name in (model_id(symbol, timeframe) for symbol, timeframe, _ in named)}


def write(trained: Trained, out: Path) -> None:
    """The bundle, the report and the trials, the bundle last and checked by the product's own reader.

    Raises:
        StateError: the system refused.
        BundleError: the bundle is one that the product would refuse.
    """
    bundle = out / f"{trained.model_id}.zip"
    draft = out / f".{trained.model_id}.new" / bundle.name
    try:
        draft.parent.mkdir(exist_ok=True)
        draft.write_bytes(trained.bundle)
        load_model(draft, None)
        TrialLog(out, trained.model_id).add(trained.trials)
    except OSError as error:
        raise StateError(f"cannot write: {error.strerror or error}", file=out) from error
    finally:
        draft.unlink(missing_ok=True)
        draft.parent.rmdir()
    page = out / f"{trained.model_id}.html"
    replace_all([(page, trained.report.encode()), (bundle, trained.bundle)])
    _log.info("%s written to %s", trained.model_id, bundle)


def _finished(history: History, order: Order, name: str) -> bool:
    """Whether the bundle in ``--out`` is of this very training; a search may have changed the parameters."""
    path = order.out / f"{name}.zip"
    if not path.is_file() or order.trials:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            told: Any = json.loads(archive.comment)["selection"]
        costs = load_model(path, None).costs
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, OracleBatchError):
        return False
    wanted = identity_of(order.parameters, costs, history.sha256, order.parameters.seed)
    return bool(told.get("identity") == wanted and told.get("seeds") == order.seeds)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be made: {error.strerror or error}", file=out, field="--out") from error
