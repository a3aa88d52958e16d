"""``enable`` and ``disable``: whether entries of a symbol, or of one model, are sent.

The file is the operator's own, so nothing else in it changes. Enabling makes no edge: a signal that runs already was
missed and stays missed (DESIGN §6).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle_batch.bundle.identity import Identity, identify_all
from oracle_batch.config import ExecutorSymbols, created_defaults, load_executor_symbols
from oracle_batch.config.editing import switched
from oracle_batch.errors import ConfigError
from oracle_batch.operating.job import Job
from oracle_batch.store.files import read_bytes, replace_atomically
from oracle_batch.store.journal import Journal
from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold
from oracle_batch.store.records import Event


@dataclass(frozen=True, slots=True)
class Switched:
    """The entry of one file that was meant, and whether it changed.

    ``models`` go by that entry; ``apart`` are of the same symbol and have entries of their own.
    """

    file: Path
    key: str
    changed: bool
    models: tuple[str, ...]
    apart: tuple[str, ...]


def switch(job: Job, target: str, *, enabled: bool) -> list[Switched]:
    """Enable or disable a symbol, or one model, whose entry is made if need be, in the file of every account.

    Raises:
        ConfigError: the target names nothing, or a file or the entry cannot be read.
        LockHeld: another run did not end in time.
        StateError: a journal or a file cannot be written.
    """
    workspace = job.workspace
    workspace.ensure()
    with hold(workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        models, _ = identify_all(workspace.models, workspace.compiled)
        files = dict.fromkeys(workspace.home / account.symbols for account in job.settings.accounts)
        edits = [_edit(path, target, models, enabled=enabled) for path in files]
        for result, after in edits:
            if after is None:
                continue
            event = Event("enabled" if enabled else "disabled", None, {"entry": result.key, "models": [*result.models]})
            for account in job.settings.accounts:
                if workspace.home / account.symbols == result.file:
                    Journal(workspace.journal_folder(account.account), job.clock).append([event])
            replace_atomically(result.file, after)
    return [result for result, _ in edits]


def _edit(path: Path, target: str, models: Mapping[str, Identity], *, enabled: bool) -> tuple[Switched, bytes | None]:
    """What is to change in one file, and its bytes then; None where it says so already."""
    entries = load_executor_symbols(path)
    key, like = _entry(target, models, entries)
    for name in (key, like):
        if name is not None and name in entries.errors:
            raise entries.errors[name]
    before = read_bytes(path) or b"{}"
    data = before
    if like is not None and like not in entries.entries:
        data = created_defaults(before, [like], file=path) or before
    after = switched(data, key, enabled, like=like)
    if after is None and data != before:
        after = data
    return _result(path, key, models, entries, changed=after is not None), after


def _entry(target: str, models: Mapping[str, Identity], entries: ExecutorSymbols) -> tuple[str, str | None]:
    """The key of the entry to change, and the one to copy it from where it is not there yet."""
    known = {*entries.entries, *entries.errors}
    if target in models:
        return target, None if target in known else _symbol_key(models[target], known)
    trading = [model for model in models.values() if target in (model.symbol, model.broker_symbol)]
    if trading:
        key = _symbol_key(trading[0], known)
        return key, key
    if target in known:
        return target, None
    names = {*models, *(model.symbol for model in models.values()), *known}
    raise ConfigError(
        f"no model is or trades {target!r}", field="SYMBOL", fix="known: " + (", ".join(sorted(names)) or "none")
    )


def _symbol_key(model: Identity, known: Collection[str]) -> str:
    """The key under which a model's symbol stands, or is to stand."""
    return next((key for key in (model.symbol, model.broker_symbol) if key in known), model.symbol)


def _result(
    path: Path, key: str, models: Mapping[str, Identity], entries: ExecutorSymbols, *, changed: bool
) -> Switched:
    known = {*entries.entries, *entries.errors, key}
    mine: list[str] = []
    apart: list[str] = []
    for name, model in sorted(models.items()):
        if key in (name, model.symbol, model.broker_symbol):
            first = next(one for one in (name, model.symbol, model.broker_symbol) if one in known)
            (mine if first == key else apart).append(name)
    return Switched(path, key, changed, tuple(mine), tuple(apart))
