"""What the state files say, for people and for scripts. Reads only; asks no broker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from oracle_batch.bars import utc
from oracle_batch.brain.twin import TwinState
from oracle_batch.config import AccountSettings, Settings, load_executor_symbols, not_yet_effective
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.history import newest_closed
from oracle_batch.store import executor as executor_file
from oracle_batch.store import twins
from oracle_batch.store.executor import Executor
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS, action_of, split_model_id


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model on one account. ``behind`` counts grid intervals since the twin's last bar (weekends count, too)."""

    twin: TwinState | None
    behind: int | None
    books: ModelBooks
    problem: str | None

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
            "desired": self.desired,
            "real": self.real,
            "in_sync": None if twin is None else self.desired == self.real,
            "waiting": self.books.waiting.cause if self.books.waiting else None,
            "virtual_floating_pnl": twin.floating_pnl if twin else None,
            "virtual_realized_pnl": twin.realized_pnl if twin else None,
            "position_id": held.position_id if held else None,
            "entry_price": held.entry_price if held else None,
            "pending_close": self.books.pending_close is not None,
            "consecutive_losses": self.books.consecutive_losses,
            "decisions_revised": self.books.decisions_revised,
            "last": None if last is None else _last(last),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account: its money as far as a file tells, and its models."""

    models: dict[str, ModelStatus]
    balance: float | None
    currency: str | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "balance": self.balance,
            "currency": self.currency,
            "problem": self.problem,
            "models": {name: model.to_json() for name, model in self.models.items()},
        }


@dataclass(frozen=True, slots=True)
class Status:
    """The whole workspace at one instant."""

    now: float
    paused: bool
    accounts: dict[str, AccountStatus]
    notes: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """Everything an operator should look at, one line each."""
        lines = []
        for name, account in self.accounts.items():
            if account.problem:
                lines.append(f"{name}: {account.problem}")
            lines += [f"{model}: {one.problem}" for model, one in account.models.items() if one.problem]
        return [*dict.fromkeys(lines), *self.notes]

    def to_json(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "paused": self.paused,
            "accounts": {name: account.to_json() for name, account in self.accounts.items()},
            "problems": self.problems,
        }


def read_status(workspace: Workspace, settings: Settings, now: float) -> Status:
    """Everything the files tell; what cannot be read becomes a problem, never an error."""
    names = sorted(path.stem for path in workspace.models.glob("*.zip"))
    states: dict[str, TwinState | OracleBatchError | None] = {name: _twin(workspace, name) for name in names}
    accounts = {one.account: _account(workspace, one, states, now) for one in settings.accounts}
    return Status(now, workspace.is_paused(), accounts, tuple(_notes(workspace, names)))


def _twin(workspace: Workspace, name: str) -> TwinState | OracleBatchError | None:
    try:
        sha256 = hashlib.sha256(workspace.bundle_path(name).read_bytes()).hexdigest()
        found = twins.load(workspace.twin_path(name), name, sha256)
    except OracleBatchError as error:
        return error
    return found.state if found else None


def _account(
    workspace: Workspace,
    settings: AccountSettings,
    states: dict[str, TwinState | OracleBatchError | None],
    now: float,
) -> AccountStatus:
    problem = None
    executor = Executor(account=settings.account)
    try:
        executor = executor_file.load(workspace.executor_path(settings.account), settings.account) or executor
    except OracleBatchError as error:
        problem = str(error)
    models = {}
    for name in sorted({*states, *executor.models, *executor.damaged}):
        state = states.get(name)
        books = executor.models.get(name, ModelBooks())
        wrong = _problem(name, state, executor, books) if name in states else "its bundle is no longer in models/"
        twin = state if isinstance(state, TwinState) else None
        models[name] = ModelStatus(twin, _behind(name, twin, now), books, wrong)
    balance, currency = _money(workspace, settings, now)
    return AccountStatus(models, balance, currency, problem)


def _problem(
    name: str, state: TwinState | OracleBatchError | None, executor: Executor, books: ModelBooks
) -> str | None:
    if isinstance(state, OracleBatchError):
        return str(state)
    if name in executor.damaged:
        return str(executor.damaged[name].error)
    if books.last is not None and books.last.error:
        return books.last.error
    return "no twin yet: the next tick warms it up" if state is None else None


def _behind(name: str, twin: TwinState | None, now: float) -> int | None:
    known = split_model_id(name)
    if twin is None or known is None:
        return None
    return max(0, (newest_closed(known[1], now) - twin.bar_time) // TIMEFRAME_SECONDS[known[1]])


def _money(workspace: Workspace, settings: AccountSettings, now: float) -> tuple[float | None, str | None]:
    """Balance and currency of a paper account; of others no file tells."""
    from oracle_batch.broker.paper_account import load_book
    from oracle_batch.market.book import to_money

    path = workspace.paper_path(settings.account)
    if settings.kind != "paper" or not path.exists():
        return None, None
    try:
        book = load_book(path, settings.account, settings.paper, now)
    except OracleBatchError:
        return None, None
    return to_money(book.balance, book.money_digits), book.currency


def _notes(workspace: Workspace, names: list[str]) -> list[str]:
    """Settings that ask for something this release does not do."""
    try:
        entries = load_executor_symbols(workspace.executor_symbols)
    except OracleBatchError as error:
        return [str(error)]
    notes = [str(error) for error in entries.errors.values()]
    for key, entry in entries.entries.items():
        traded = any(name == key or name.rpartition("_")[0] == key for name in names)
        if traded and entry.enabled and (later := not_yet_effective(entry)):
            notes.append(f"{key}: set but not in effect in this release: {', '.join(later)}")
    return notes


def _position(direction: int, intensity: int) -> str:
    return action_of(direction, intensity).name if direction else "FLAT"


def _last(last: LastOutcome) -> dict[str, Any]:
    return {name: getattr(last, name) for name in last.__struct_fields__}


def age(seconds: float) -> str:
    """A duration for people: ``42 s``, ``15 min``, ``3 h``, ``2 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def last_seen(twin: TwinState | None) -> str:
    """The twin's last bar, for a table."""
    return utc(twin.bar_time) if twin and twin.bar_time else "-"
