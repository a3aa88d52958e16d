"""Where an account stood against its limits when it was last looked at, from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle_batch.config import RiskSettings
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.hands.account_risk import AccountRisk
from oracle_batch.hands.anchors import AccountMoney, LimitPause
from oracle_batch.hands.limits import Level, OpenRisk, assess


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit: equity must stay above ``floor`` (account currency); ``used_pct`` of it is used."""

    floor: float
    used_pct: float


@dataclass(frozen=True, slots=True)
class RiskStatus:
    """``level`` is by the equity at ``seen`` (Unix seconds); what positions can still lose at their stops is not in it.

    ``limits`` are by name (daily, maximum). ``target_reached``: when the profit target was, None: it is not.
    """

    level: Level
    reason: str | None
    equity: float
    seen: float
    limits: dict[str, LimitStatus]
    pause: LimitPause | None
    target_reached: float | None
    losses: int

    def to_json(self) -> dict[str, Any]:
        pause = self.pause
        return {
            "level": self.level,
            "reason": self.reason,
            "equity": self.equity,
            "seen": self.seen,
            "limits": {
                name: {"floor": one.floor, "used_pct": round(one.used_pct, 2)} for name, one in self.limits.items()
            },
            "paused": None if pause is None else {"limit": pause.limit, "since": pause.since, "until": pause.until},
            "target_reached": self.target_reached,
            "consecutive_losses": self.losses,
        }


def risk_status(memory: AccountRisk, settings: RiskSettings, home: Path) -> RiskStatus | None:
    """None before the account was first looked at.

    Raises:
        ConfigError: the account's limits cannot be read.
    """
    anchors = memory.anchors
    if anchors is None:
        return None
    unit, last = 10**anchors.money_digits, anchors.last_seen
    found = assess(
        anchors,
        limit_rules(settings, home),
        AccountMoney(last.balance, last.equity, anchors.money_digits),
        OpenRisk(),
    )
    limits: dict[str, LimitStatus] = {
        state.line.limit: LimitStatus(state.line.floor / unit, state.used_pct) for state in found.states
    }
    losses = memory.trades.account.losses
    return RiskStatus(
        found.level,
        found.reason,
        last.equity / unit,
        last.time,
        limits,
        anchors.pause,
        memory.target_reached,
        losses,
    )
