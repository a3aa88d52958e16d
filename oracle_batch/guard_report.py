"""What a guard came to: typed values, and the stable JSON of ``guard --json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from oracle_batch.broker.base import AckStatus
from oracle_batch.hands.limits import Level
from oracle_batch.report import peak_rss_mb

EXPECTED = ("MARKET_CLOSED",)
"""Refusals of a close that need nobody: it is pending, and carried out when the market opens."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or that a dry run would do (``ack`` None).

    ``reason`` is the broker's; ``why`` says what asked for a close. Prices are those of an amendment.
    """

    model: str
    symbol: str
    position_id: int | None
    ack: AckStatus | None
    reason: str | None = None
    why: str | None = None
    stop_loss: float | None = None
    take_profit: float | None = None


@dataclass(frozen=True, slots=True)
class GuardedAccount:
    """One account: how near its limits it is, closes, amendments, and what an interrupted run had left unanswered.

    ``error`` stopped it all; then the level is not known.
    """

    level: Level | None = None
    closes: tuple[Step, ...] = ()
    amends: tuple[Step, ...] = ()
    recovered: tuple[Step, ...] = ()
    error: str | None = None

    @property
    def undone(self) -> bool:
        """Whether something is left that ought to be done."""
        refused = any(one.ack == "FAIL" and one.reason not in EXPECTED for one in self.closes)
        unknown = any(one.ack == "UNKNOWN" for one in (*self.closes, *self.amends))
        return refused or unknown or self.error is not None


@dataclass(frozen=True, slots=True)
class GuardReport:
    """All of a guard."""

    now: float
    accounts: Mapping[str, GuardedAccount]

    @property
    def exit_code(self) -> int:
        return 1 if any(one.undone for one in self.accounts.values()) else 0

    def to_json(self) -> dict[str, Any]:
        """The object for other programs."""
        return {
            "now": self.now,
            "accounts": {name: asdict(one) for name, one in self.accounts.items()},
            "peak_rss_mb": peak_rss_mb(),
            "exit_code": self.exit_code,
        }
