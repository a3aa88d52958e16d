"""Loss limits as firms write them: a daily one, a maximum one, the reset of the day, and our own levels before them."""

from __future__ import annotations

import datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

Percent = Annotated[float, Meta(gt=0, le=100)]
NO_ENTRIES_PCT: Final = 80.0
FLATTEN_PCT: Final = 90.0


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the file. Nothing has a default: a missing number is an error."""


class DayRule(_Rule, frozen=True):
    """When a day starts: at ``reset`` (``HH:MM``) on the local clock of ``zone`` (an IANA name)."""

    reset: Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    zone: str

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{self.zone!r} is no time zone; write one like Europe/Prague or UTC") from None

    def __str__(self) -> str:
        return f"{self.reset} {self.zone}"


class DailyLimit(_Rule, frozen=True):
    """Equity must stay above ``anchor`` less ``loss_pct`` percent of the initial balance, or of the anchor itself."""

    loss_pct: Percent
    of: Literal["initial", "anchor"]
    anchor: Literal["balance", "equity", "higher"]


class MaximumLimit(_Rule, frozen=True):
    """Equity must stay above a reference less ``loss_pct`` percent of the initial balance, or of that reference.

    The reference is the initial balance (``trails = "never"``), the highest balance at a reset, or the highest equity
    seen. ``lock_pct``: the floor stops rising at the initial balance plus this many percent of it (0: at the initial
    balance).
    """

    loss_pct: Percent
    of: Literal["initial", "peak"]
    trails: Literal["never", "eod_balance", "equity"]
    lock_pct: Annotated[float, Meta(ge=-100, le=1000)] | Literal["none"]

    def __post_init__(self) -> None:
        if self.trails == "never" and self.of == "peak":
            raise ValueError('of = "peak" needs a limit that trails')
        if self.trails == "never" and self.lock_pct != "none":
            raise ValueError('a limit that never trails has lock_pct = "none"')


class EmergencyRule(_Rule, frozen=True):
    """Our own levels, in percent of a limit: no entry from the first on, flat and paused from the second on.

    ``flatten_counts``: whether the second also counts what open positions can still lose at their stops, or only what
    closing everything now would leave.
    """

    no_entries_pct: Percent
    flatten_pct: Percent
    flatten_counts: Literal["stops", "equity"]

    def __post_init__(self) -> None:
        if self.no_entries_pct > self.flatten_pct:
            raise ValueError("no_entries_pct is above flatten_pct")


class LimitRules(_Rule, frozen=True):
    """All limits of an account. ``verified`` is the day on which the ``sources`` were read.

    ``payouts``: whether the peaks follow a payout down (``follow``, one's own money), or stay (``stay``, a firm's; then
    entries also wait for the next reset). The day's loss never counts deposits or payouts.
    """

    name: str
    sources: tuple[str, ...]
    verified: datetime.date | None
    payouts: Literal["stay", "follow"]
    day: DayRule
    daily: DailyLimit | Literal["none"]
    maximum: MaximumLimit | Literal["none"]
    emergency: EmergencyRule

    def __post_init__(self) -> None:
        if self.payouts == "follow" and "initial" in (
            getattr(self.daily, "of", None),
            getattr(self.maximum, "of", None),
        ):
            raise ValueError('payouts = "follow" does not go with a limit of = "initial", which no payout lowers')


def own_rules(max_daily_loss_pct: float, max_drawdown_pct: float) -> LimitRules:
    """The rules of ``preset = "none"``: one's own account, whose day starts at 00:00 UTC.

    Daily: ``max_daily_loss_pct`` percent of the day's starting balance, below that balance. Maximum:
    ``max_drawdown_pct`` percent of the highest balance at the start of a day (or of the initial balance, if higher),
    below it. 0 turns a limit off. Entries stop at 80 % of a limit, at 90 % the account is flat and pauses.

    >>> own_rules(4.0, 8.0).daily
    DailyLimit(loss_pct=4.0, of='anchor', anchor='balance')
    >>> own_rules(0, 8.0).daily
    'none'
    """
    return LimitRules(
        name="own limits",
        sources=(),
        verified=None,
        payouts="follow",
        day=DayRule("00:00", "UTC"),
        daily=DailyLimit(max_daily_loss_pct, "anchor", "balance") if max_daily_loss_pct else "none",
        maximum=MaximumLimit(max_drawdown_pct, "peak", "eod_balance", "none") if max_drawdown_pct else "none",
        emergency=EmergencyRule(NO_ENTRIES_PCT, FLATTEN_PCT, "stops"),
    )
