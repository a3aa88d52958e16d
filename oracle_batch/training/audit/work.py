"""An audit as a piece of work for whichever process does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle_batch.bars import Bars
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.errors import BarError
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.training.audit.findings import Audit
from oracle_batch.training.audit.page import page_of
from oracle_batch.training.audit.run import audit
from oracle_batch.training.audit.subject import LEAST_BARS, look
from oracle_batch.training.backtest.materials import bars_of
from oracle_batch.training.boundaries import read_comment


@dataclass(frozen=True, slots=True)
class Task:
    """A bundle, bars, and what the broker's files say."""

    model: Model
    metadata: Mapping[str, Any]
    bars: Bars
    broker: Mapping[str, SymbolSettings]


@dataclass(frozen=True, slots=True)
class Answer:
    """The findings and a finished page."""

    audit: Audit
    page: str


def task_of(bundle: Path, bars: Path, broker: Mapping[str, SymbolSettings]) -> Task:
    """An audit of one bundle over a file of bars, or over its own in a folder.

    Raises:
        BundleError: the bundle is refused.
        BarError: the bars are, or are too few.
    """
    model = load_model(bundle, None)
    file, own = bars_of(bars, model)
    if len(own) < LEAST_BARS:
        raise BarError(f"{len(own)} bars, {LEAST_BARS} are needed", file=file, fix="give a longer history")
    return Task(model, read_comment(bundle), own, broker)


def work(task: Task) -> Answer:
    """Do it."""
    subject = look(task.model, task.metadata, task.bars)
    found = audit(subject, task.broker)
    return Answer(found, page_of(found, subject).text())
