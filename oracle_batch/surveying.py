"""What the state files say. Reads only; asks no broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle_batch import heartbeat
from oracle_batch.brain.twin import TwinState
from oracle_batch.bundle.identity import Identity, identify_all
from oracle_batch.clock import FrozenClock
from oracle_batch.closes import newest_closed
from oracle_batch.config import (
    AccountSettings,
    ExecutorSymbols,
    Settings,
    SymbolSettings,
    load_executor_symbols,
)
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.books import ModelBooks
from oracle_batch.risk_status import risk_status
from oracle_batch.status import AccountStatus, ModelStatus, Status
from oracle_batch.store import ends, twins
from oracle_batch.store import executor as executor_file
from oracle_batch.store.executor import Executor
from oracle_batch.store.journal import Journal
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id


def read_status(workspace: Workspace, settings: Settings, now: float) -> Status:
    """Everything the files tell; what cannot be read becomes a problem, never an error."""
    models, refused = _models(workspace)
    known: dict[str, _Known] = {name: _Known(None, error) for name, error in refused.items()}
    known |= {name: _known(workspace, model) for name, model in models.items()}
    notes: list[str] = []
    accounts = {}
    for one in settings.accounts:
        entries, wrong = _entries(workspace.home / one.symbols)
        notes += [note for note in wrong if note not in notes]
        enabled = {name: _is_enabled(model, entries) for name, model in models.items()}
        accounts[one.account] = _account(workspace, one, known, enabled, now)
    beat = heartbeat.read(workspace.heartbeat)
    return Status(now, workspace.is_paused(), _last_run(workspace), accounts, tuple(notes), beat)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files tell about a model, whatever the account."""

    twin: TwinState | None
    error: OracleBatchError | None = None


def _models(workspace: Workspace) -> tuple[dict[str, Identity], dict[str, OracleBatchError]]:
    try:
        return identify_all(workspace.models, workspace.compiled)
    except OracleBatchError as error:
        return {}, {str(workspace.models): error}


def _entries(path: Path) -> tuple[ExecutorSymbols, list[str]]:
    """The execution settings, and what is wrong with them."""
    try:
        entries = load_executor_symbols(path)
    except OracleBatchError as error:
        return ExecutorSymbols(), [str(error)]
    return entries, [str(error) for error in entries.errors.values()]


def _known(workspace: Workspace, model: Identity) -> _Known:
    try:
        found = twins.load(workspace.twin_path(model.model_id), model.model_id, model.sha256)
    except OracleBatchError as error:
        return _Known(None, error)
    state = found.state if found else None
    try:
        ends.check(workspace.bars_path(model.model_id), twins.repair(model.model_id))
    except OracleBatchError as error:
        return _Known(state, error)
    return _Known(state)


def _is_enabled(model: Identity, entries: ExecutorSymbols) -> bool | None:
    """Whether entries of a model are sent; None where its settings cannot be read."""
    try:
        return (entries.find(model.model_id, model.symbol, model.broker_symbol) or SymbolSettings()).enabled
    except OracleBatchError:
        return None


def _last_run(workspace: Workspace) -> float | None:
    try:
        return workspace.lock.stat().st_mtime
    except OSError:
        return None


def _account(
    workspace: Workspace,
    settings: AccountSettings,
    known: Mapping[str, _Known],
    enabled: Mapping[str, bool | None],
    now: float,
) -> AccountStatus:
    problem = None
    executor = Executor(account=settings.account)
    try:
        executor = executor_file.load(workspace.executor_path(settings.account), settings.account) or executor
        Journal(workspace.journal_folder(settings.account), FrozenClock(now)).tail(executor.journal, repair=False)
    except OracleBatchError as error:
        problem = str(error)
    models = {}
    for name in sorted({*known, *executor.models, *executor.damaged}):
        books = executor.models.get(name, ModelBooks())
        one = known.get(name)
        wrong = "its bundle is no longer in models/" if one is None else _problem(name, one, executor, books)
        one = one or _Known(None)
        behind, seen_s = _freshness(name, one.twin, now)
        models[name] = ModelStatus(
            one.twin, behind, seen_s, enabled.get(name), books, wrong, executor.risk.trades.streak(name).losses
        )
    try:
        balance, currency = _money(workspace, settings, now)
    except OracleBatchError as error:
        balance, currency, problem = None, None, problem or str(error)
    risk = None
    try:
        risk = risk_status(executor.risk, settings.risk, workspace.home)
    except OracleBatchError as error:
        problem = problem or str(error)
    return AccountStatus(models, balance, currency, problem, risk)


def _problem(name: str, known: _Known, executor: Executor, books: ModelBooks) -> str | None:
    if known.error is not None:
        return str(known.error)
    if name in executor.damaged:
        return str(executor.damaged[name].error)
    if books.last is not None and books.last.error:
        return books.last.error
    return "no twin yet: the next tick warms it up" if known.twin is None else None


def _freshness(name: str, twin: TwinState | None, now: float) -> tuple[int | None, float | None]:
    identity = split_model_id(name)
    if twin is None or identity is None:
        return None, None
    seconds = TIMEFRAME_SECONDS[identity[1]]
    behind = (newest_closed(identity[1], now) - twin.bar_time) // seconds
    return max(0, behind), max(0.0, now - twin.bar_time - seconds)


def _money(workspace: Workspace, settings: AccountSettings, now: float) -> tuple[float | None, str | None]:
    """Balance and currency of a paper account; of others no file tells.

    Raises:
        StateError: the paper account's file cannot be used.
    """
    from oracle_batch.broker.paper_account import load_book
    from oracle_batch.market.book import to_money

    path = workspace.paper_path(settings.account)
    if settings.kind != "paper" or not path.exists():
        return None, None
    book = load_book(path, settings.account, settings.paper, now)
    return to_money(book.balance, book.money_digits), book.currency
