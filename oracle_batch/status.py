"""How the workspace stands, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from oracle_batch.brain.twin import TwinState
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.heartbeat import Heartbeat
from oracle_batch.risk_status import RiskStatus
from oracle_batch.types import action_of, utc

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
