"""What a tick came to: typed values, and the stable JSON of ``tick --json`` (DESIGN §10)."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oracle_batch import trace
from oracle_batch.hands.books import AckWord, Decision
from oracle_batch.types import ACTIONS

STAGES = ("start", "gather", "decide", "plan", "journal", "send", "commit")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one model came to on one account. None: not known or not applicable."""

    bar_time: int | None = None
    action: int | None = None
    hmm_state: int | None = None
    decision: Decision | None = None
    ack: AckWord | None = None
    reason: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "bar_time": self.bar_time,
            "signal": None if self.action is None else ACTIONS[self.action].name,
            "hmm_state": self.hmm_state,
            "decision": self.decision,
            "ack": self.ack,
            "reason": self.reason,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """One account's models, the number of foreign positions seen, and what stopped the account as a whole."""

    models: dict[str, Outcome]
    orphans: int = 0
    error: str | None = None
    exit_code: int = 0


@dataclass(slots=True)
class Timing:
    """Milliseconds by stage, on the monotonic clock; ``last_order`` is when the last one left, from the trigger on.

    The trigger of a run that is not armed is the process's start.
    """

    began: float = field(default_factory=time.monotonic)
    trigger: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    last_order: float | None = None

    @classmethod
    def of_process(cls) -> Timing:
        """From the start of this process on, which the first stage covers up to now."""
        timing, age = cls(), process_age_s()
        timing.trigger = timing.began - age
        timing.stages["start"] = age * 1e3
        trace.span("start", timing.trigger, timing.began)
        return timing

    def trigger_at(self, trigger: float) -> None:
        """Count from here on from a trigger that was waited for; the wait is no stage."""
        trace.span("wait", self.began, trigger)
        self.began = self.trigger = trigger
        self.last_order = None

    def sent(self, moments: Iterable[float | None]) -> None:
        """Note when the accounts' last orders left."""
        known = [moment for moment in moments if moment is not None]
        if known:
            self.last_order = (max(known) - self.trigger) * 1e3
            trace.instant("last order", max(known))

    def lap(self, stage: str) -> None:
        """Attribute the time since the last lap to a stage."""
        now = time.monotonic()
        trace.span(stage, self.began, now)
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - self.began) * 1e3
        self.began = now


@dataclass(frozen=True, slots=True)
class TickReport:
    """All of a tick, the first account first."""

    now: float
    accounts: dict[str, AccountOutcome]
    timing: Timing
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """The contract's object; numbers of milliseconds are rounded to microseconds."""
        first = next(iter(self.accounts))
        stages = {stage: round(self.timing.stages.get(stage, 0.0), 3) for stage in STAGES}
        last = self.timing.last_order
        accounts = {
            name: {"models": {model: outcome.to_json() for model, outcome in account.models.items()}}
            for name, account in self.accounts.items()
        }
        timing = {**stages, "trigger_to_last_order": None if last is None else round(last, 3)}
        return _document(self.now, first, accounts, timing, self.exit_code)


def merged(reports: Sequence[TickReport]) -> TickReport:
    """Several journeys of one run as one: what a later one says of a model stands."""
    last = reports[-1]
    accounts = {}
    for name, newest in last.accounts.items():
        models: dict[str, Outcome] = {}
        for report in reports:
            models |= report.accounts[name].models if name in report.accounts else {}
        failed = any(one.error or one.ack == "UNKNOWN" for one in models.values())
        code = newest.exit_code or (1 if failed else 0)
        accounts[name] = AccountOutcome(dict(sorted(models.items())), newest.orphans, newest.error, code)
    exit_code = 1 if any(one.exit_code for one in accounts.values()) else 0
    return TickReport(last.now, accounts, last.timing, exit_code)


def without(report: TickReport, models: Collection[str], error: Exception) -> TickReport:
    """What follows on a report when the rest of the run has failed: these models were not looked at any more."""
    left = {name: Outcome(error=str(error)) for name in sorted(models)}
    accounts = {name: replace(account, models=left) for name, account in report.accounts.items()}
    return replace(report, accounts=accounts)


def failure_json(now: float, accounts: Sequence[str], exit_code: int) -> dict[str, Any]:
    """The contract's object for a run that could not do anything for anybody; the log says why. Without ``accounts``
    the configuration could not be read."""
    timing = dict.fromkeys((*STAGES, "trigger_to_last_order"))
    return _document(now, next(iter(accounts), None), {name: {"models": {}} for name in accounts}, timing, exit_code)


def _document(
    now: float,
    account: str | None,
    accounts: dict[str, dict[str, Any]],
    timing: Mapping[str, float | None],
    exit_code: int,
) -> dict[str, Any]:
    return {
        "now": now,
        "account": account,
        "models": {} if account is None else accounts[account]["models"],
        "accounts": accounts,
        "timing_ms": timing,
        "peak_rss_mb": peak_rss_mb(),
        "exit_code": exit_code,
    }


def peak_rss_mb() -> float | None:
    """VmHWM of this process in MiB, or None where the system does not tell (``ru_maxrss`` survives exec)."""
    try:
        with Path("/proc/self/status").open() as status:
            line = next(line for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return round(int(line.split()[1]) / 1024, 1)


def process_age_s() -> float:
    """Seconds since this process began, to a hundredth; 0 where the system does not tell."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"))


def problems(report: TickReport) -> Sequence[str]:
    """One line for each thing that went wrong, for the log."""
    lines = []
    for name, account in report.accounts.items():
        if account.error:
            lines.append(f"account {name}: {account.error}")
        for model, outcome in account.models.items():
            if outcome.error:
                lines.append(f"{model}: {outcome.error}")
            elif outcome.ack == "UNKNOWN":
                lines.append(f"{model}: the outcome of its order is unknown; the next run asks the broker")
    return lines
