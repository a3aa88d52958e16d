"""What the state files say, for people and for scripts. Reads only; asks no broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

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
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.heartbeat import Heartbeat
from oracle_batch.risk_status import RiskStatus, risk_status
from oracle_batch.store import executor as executor_file
from oracle_batch.store import twins
from oracle_batch.store.executor import Executor
from oracle_batch.store.journal import Journal
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS, action_of, split_model_id, utc

_TOLD: Final = (0, 1, 75, 143)
"""Exit codes of a tick with which nothing was wrong, or what was wrong stands with its model."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model on one account.

    ``behind`` counts grid intervals since the twin's last bar (weekends count, too); ``seen_s`` are the seconds since
    that bar's close. ``enabled``: entries are sent; None where the settings cannot be read. ``losses``: in a row.
    """

    twin: TwinState | None
    behind: int | None
    seen_s: float | None
    enabled: bool | None
    books: ModelBooks
    problem: str | None
    losses: int = 0

    @property
    def desired(self) -> str | None:
        """What the twin holds, in the words of the actions."""
        return None if self.twin is None else _position(self.twin.direction, self.twin.intensity)

    @property
    def real(self) -> str:
        """What the books hold."""
        held = self.books.position
        return _position(held.direction, held.intensity) if held else "FLAT"

    def to_json(self) -> dict[str, Any]:
        twin, held, last = self.twin, self.books.position, self.books.last
        return {
            "bar_time": twin.bar_time if twin else None,
            "bars_behind": self.behind,
            "enabled": self.enabled,
            "desired": self.desired,
            "real": self.real,
            "in_sync": None if twin is None else self.desired == self.real,
            "waiting": self.books.waiting.cause if self.books.waiting else None,
            "virtual_floating_pnl": twin.floating_pnl if twin else None,
            "virtual_realized_pnl": twin.realized_pnl if twin else None,
            "position_id": held.position_id if held else None,
            "entry_price": held.entry_price if held else None,
            "pending_close": self.books.pending_close is not None,
            "consecutive_losses": self.losses,
            "decisions_revised": self.books.decisions_revised,
            "last": None if last is None else _last(last),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account: its money as far as a file tells, where it stands against its limits, and its models."""

    models: dict[str, ModelStatus]
    balance: float | None
    currency: str | None
    problem: str | None
    risk: RiskStatus | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "balance": self.balance,
            "currency": self.currency,
            "problem": self.problem,
            "risk": None if self.risk is None else self.risk.to_json(),
            "models": {name: model.to_json() for name, model in self.models.items()},
        }


@dataclass(frozen=True, slots=True)
class Status:
    """The whole workspace at one instant. ``last_run``: when a command last took the lock, Unix seconds.

    ``resident`` is what `run` last said of itself, None where nothing resident wakes the ticks.
    """

    now: float
    paused: bool
    last_run: float | None
    accounts: dict[str, AccountStatus]
    notes: tuple[str, ...]
    resident: Heartbeat | None = None

    @property
    def problems(self) -> list[str]:
        """Everything an operator should look at, one line each."""
        lines = []
        for name, account in self.accounts.items():
            if account.problem:
                lines.append(f"{name}: {account.problem}")
            lines += [f"{model}: {one.problem}" for model, one in account.models.items() if one.problem]
        lines = list(dict.fromkeys(lines))
        if self.resident is not None:
            lines += _wrong_with(self.resident, self.now)
        return lines + [note for note in self.notes if not any(line.endswith(note) for line in lines)]

    def to_json(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "paused": self.paused,
            "last_run": self.last_run,
            "resident": None if self.resident is None else _resident(self.resident, self.now),
            "accounts": {name: account.to_json() for name, account in self.accounts.items()},
            "problems": self.problems,
        }


def read_status(workspace: Workspace, settings: Settings, now: float) -> Status:
    """Everything the files tell; what cannot be read becomes a problem, never an error."""
    models, refused = _models(workspace)
    notes: list[str] = []
    accounts = {}
    for one in settings.accounts:
        entries, wrong = _entries(workspace.home / one.symbols)
        notes += [note for note in wrong if note not in notes]
        known: dict[str, _Known] = {name: _Known(None, None, error) for name, error in refused.items()}
        known |= {name: _known(workspace, model, entries) for name, model in models.items()}
        accounts[one.account] = _account(workspace, one, known, now)
    beat = heartbeat.read(workspace.heartbeat)
    return Status(now, workspace.is_paused(), _last_run(workspace), accounts, tuple(notes), beat)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files tell about a model, whatever the account."""

    twin: TwinState | None
    enabled: bool | None
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


def _known(workspace: Workspace, model: Identity, entries: ExecutorSymbols) -> _Known:
    try:
        entry = entries.find(model.model_id, model.symbol, model.broker_symbol) or SymbolSettings()
        enabled = entry.enabled
    except OracleBatchError:
        enabled = None
    try:
        found = twins.load(workspace.twin_path(model.model_id), model.model_id, model.sha256)
    except OracleBatchError as error:
        return _Known(None, enabled, error)
    return _Known(found.state if found else None, enabled)


def _last_run(workspace: Workspace) -> float | None:
    try:
        return workspace.lock.stat().st_mtime
    except OSError:
        return None


def _account(workspace: Workspace, settings: AccountSettings, known: Mapping[str, _Known], now: float) -> AccountStatus:
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
        one = one or _Known(None, None)
        behind, seen_s = _freshness(name, one.twin, now)
        models[name] = ModelStatus(
            one.twin, behind, seen_s, one.enabled, books, wrong, executor.risk.trades.streak(name).losses
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


def _resident(beat: Heartbeat, now: float) -> dict[str, Any]:
    return {**msgspec.to_builtins(beat), "stale": beat.is_stale(now)}


def _wrong_with(beat: Heartbeat, now: float) -> list[str]:
    name = f"`oracle-batch run` (process {beat.process})"
    if beat.is_stale(now):
        fix = "start it again, or remove state/heartbeat.json if ticks are woken by something else now"
        return [f"{name} has said nothing for {age(now - beat.beat_at)}: {fix}"]
    last = beat.last_tick
    if last is None or last.exit_code in _TOLD:
        return []
    how = f"exit code {last.exit_code}" if last.exit_code > 0 else f"signal {-last.exit_code}"
    return [f"the last tick of {name} ended with {how} at {utc(last.at)}: see its log"]


def _position(direction: int, intensity: int) -> str:
    return action_of(direction, intensity).name if direction else "FLAT"


def _last(last: LastOutcome) -> dict[str, Any]:
    return {name: getattr(last, name) for name in last.__struct_fields__}


def age(seconds: float) -> str:
    """A duration for people.

    >>> age(42), age(900), age(3 * 3600), age(36 * 3600), age(90 * 86400)
    ('42 s', '15 min', '3 h', '36 h', '90 d')
    """
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
