"""How near an account is to its loss limits, and what new entries may still risk. Money in minor units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from oracle_batch.hands.anchors import AccountMoney, Anchors, LimitName
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.money import percent_of

Level = Literal["ok", "no_entries", "flatten", "breached"]
LEVELS: tuple[Level, ...] = ("ok", "no_entries", "flatten", "breached")
"""From harmless to lost."""

Reason = Literal["DAILY_LOSS", "MAXIMUM_LOSS", "LIMIT_PAUSE", "PAYOUT_TODAY", "RISK_UNKNOWN"]
REASON: dict[LimitName, Reason] = {"daily": "DAILY_LOSS", "maximum": "MAXIMUM_LOSS"}


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value whose file form knows every field."""


class PositionRisk(_Value, frozen=True):
    """What one open position can still cost beyond the equity as it stands.

    ``to_stop``: from here to its stop (``still_to_lose``); 0 without a stop, whose floating loss is in the equity; None
    when it cannot be computed, which stops entries. ``closing_cost``: commission and the like of closing it.
    """

    position_id: int
    ours: bool
    to_stop: int | None
    closing_cost: int

    def __post_init__(self) -> None:
        if (self.to_stop or 0) < 0 or self.closing_cost < 0:
            raise ValueError(f"position {self.position_id}: a risk is not negative")


class OpenRisk(_Value, frozen=True):
    """All open positions, others' too, and what entries accepted in this run can lose at their own stops."""

    positions: tuple[PositionRisk, ...] = ()
    reserved: int = 0

    def __post_init__(self) -> None:
        if self.reserved < 0:
            raise ValueError("a risk is not negative")

    def reserve(self, amount: int) -> OpenRisk:
        """With one more entry: its loss at its own stop and its costs, both ways."""
        return OpenRisk(self.positions, self.reserved + amount)

    @property
    def foreign(self) -> tuple[int, ...]:
        """Positions that are not ours: counted, never closed, alerted."""
        return tuple(position.position_id for position in self.positions if not position.ours)


def still_to_lose(profit_now: int, profit_at_stop: int) -> int:
    """What a position loses from here to its stop.

    >>> still_to_lose(-20, -100), still_to_lose(70, 30), still_to_lose(-120, -100)
    (80, 40, 0)
    """
    return max(profit_now - profit_at_stop, 0)


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit in money: equity at or below a number is that level.

    ``amount`` is what may be lost from ``reference`` down to ``floor``; while a floor is locked the reference is the
    floor plus the amount, not the peak.
    """

    limit: LimitName
    reference: int
    amount: int
    entries_stop_at: int
    flatten_at: int
    floor: int

    def used_pct(self, equity: int) -> float:
        """How much of the limit is used at an equity, in percent; 0 at a profit."""
        loss = max(self.reference - equity, 0)
        return 100.0 * loss / self.amount if self.amount else (100.0 if equity <= self.floor else 0.0)


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit and where the account stands: ``used_pct`` by its equity, ``possible_pct`` with all that is counted."""

    line: LimitLine
    level: Level
    used_pct: float
    possible_pct: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """Where an account stands. ``limit`` and ``reason`` are of what decides; both None when all is well.

    ``equity`` is the account's; ``stopped_equity`` what is left when every stop is hit and all costs are paid;
    ``possible_equity`` the same after the entries accepted so far.
    """

    level: Level
    limit: LimitName | None
    reason: Reason | None
    equity: int
    stopped_equity: int
    possible_equity: int
    states: tuple[LimitState, ...]
    foreign: tuple[int, ...]

    @property
    def entries_allowed(self) -> bool:
        return self.level == "ok"

    @property
    def close_ours(self) -> bool:
        """Whether our positions are to be closed, and the account paused because of ``limit``."""
        return self.level in ("flatten", "breached")


def limit_lines(anchors: Anchors, rules: LimitRules) -> tuple[LimitLine, ...]:
    """The limits in money, the daily one first. A percentage is rounded down: a limit is never wider than written."""
    lines = []
    if rules.daily != "none":
        choices = {"balance": anchors.day_balance, "equity": anchors.day_equity}
        anchor = choices.get(rules.daily.anchor, max(choices.values()))
        base = anchors.initial_balance if rules.daily.of == "initial" else anchor
        lines.append(_line("daily", anchor, percent_of(base, rules.daily.loss_pct), rules))
    if rules.maximum != "none":
        reference = {
            "never": anchors.initial_balance,
            "eod_balance": anchors.peak_eod_balance,
            "equity": max(anchors.peak_equity, anchors.peak_eod_balance),
        }[rules.maximum.trails]
        base = anchors.initial_balance if rules.maximum.of == "initial" else reference
        amount = percent_of(base, rules.maximum.loss_pct)
        if rules.maximum.lock_pct != "none":
            reference = min(reference, _lock(anchors.initial_balance, rules.maximum.lock_pct) + amount)
        lines.append(_line("maximum", reference, amount, rules))
    return tuple(lines)


def assess(anchors: Anchors, rules: LimitRules, money: AccountMoney, risk: OpenRisk) -> Assessment:
    """Where the account stands, with the anchors as ``roll`` has just left them.

    ``breached``: equity is at or below a floor. ``flatten``: at 90 % of a limit, counting open losses, the costs of
    closing and (``flatten_counts = "stops"``) what open positions can still lose at their stops. ``no_entries``: at
    80 %, counting also the entries accepted so far; or a pause, a payout today that the rules want waited out, or a
    risk that cannot be computed.

    Raises:
        ValueError: the money is in other digits than the anchors.
    """
    if money.money_digits != anchors.money_digits:
        raise ValueError(f"money with {money.money_digits} digits, anchors with {anchors.money_digits}")
    closed = money.equity - sum(position.closing_cost for position in risk.positions)
    stopped = closed - sum(position.to_stop or 0 for position in risk.positions)
    possible = stopped - risk.reserved
    emergency = stopped if rules.emergency.flatten_counts == "stops" else closed
    states = tuple(
        LimitState(
            line,
            _level(line, money.equity, emergency, possible),
            line.used_pct(money.equity),
            line.used_pct(possible),
        )
        for line in limit_lines(anchors, rules)
    )
    # The maximum limit ends the account for good: where both are as bad, it decides.
    worst = max(states, key=lambda state: (LEVELS.index(state.level), state.line.limit == "maximum"), default=None)
    level: Level = worst.level if worst is not None else "ok"
    limit = worst.line.limit if worst is not None and level != "ok" else None
    reason = REASON[limit] if limit is not None else _other_reason(anchors, rules, risk.positions)
    if limit is None and reason is not None:
        level, limit = "no_entries", anchors.pause.limit if reason == "LIMIT_PAUSE" and anchors.pause else None
    return Assessment(level, limit, reason, money.equity, stopped, possible, states, risk.foreign)


def budget(anchors: Anchors, rules: LimitRules, money: AccountMoney, risk: OpenRisk) -> int | None:
    """What one more entry may lose at its stop, costs included, so that ``assess`` still says ok; None is no limit.

    Ask again with ``risk.reserve(amount)`` after each accepted entry. 0 allows none.
    """
    found = assess(anchors, rules, money, risk)
    if not found.entries_allowed:
        return 0
    room = (found.possible_equity - state.line.entries_stop_at - 1 for state in found.states)
    return min(room, default=None)


def _line(limit: LimitName, reference: int, amount: int, rules: LimitRules) -> LimitLine:
    return LimitLine(
        limit,
        reference,
        amount,
        reference - percent_of(amount, rules.emergency.no_entries_pct),
        reference - percent_of(amount, rules.emergency.flatten_pct),
        reference - amount,
    )


def _lock(initial_balance: int, lock_pct: float) -> int:
    """The level at which a floor stops rising."""
    offset = percent_of(initial_balance, abs(lock_pct))
    return initial_balance + (offset if lock_pct >= 0 else -offset)


def _level(line: LimitLine, equity: int, emergency: int, possible: int) -> Level:
    if equity <= line.floor:
        return "breached"
    if emergency <= line.flatten_at:
        return "flatten"
    return "no_entries" if possible <= line.entries_stop_at else "ok"


def _other_reason(anchors: Anchors, rules: LimitRules, positions: Iterable[PositionRisk]) -> Reason | None:
    """Why no entry is allowed although no limit is near."""
    if anchors.pause is not None:
        return "LIMIT_PAUSE"
    if rules.payouts == "stay" and anchors.payout_day == anchors.day:
        return "PAYOUT_TODAY"
    return "RISK_UNKNOWN" if any(position.to_stop is None for position in positions) else None
