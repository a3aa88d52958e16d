"""Accounts, clocks and histories for the tests of loss limits: whole money in, minor units out."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import msgspec

from oracle_batch.config.risk_limits import preset_rules
from oracle_batch.hands.anchors import AccountMoney, Anchors, Booking, History, account_money
from oracle_batch.hands.limit_rules import DailyLimit, DayRule, EmergencyRule, LimitRules, MaximumLimit, own_rules

FTMO_2 = preset_rules("ftmo_2step")
FTMO_1 = preset_rules("ftmo_1step")
THE5ERS = preset_rules("the5ers_high_stakes")
OWN = own_rules(4.0, 8.0)
BREAKOUT_DAY = DayRule("00:30", "UTC")


def custom(
    daily: DailyLimit | str = "none",
    maximum: MaximumLimit | str = "none",
    *,
    day: DayRule = BREAKOUT_DAY,
    flatten_counts: str = "stops",
) -> LimitRules:
    """Rules of one's own around one or two limits."""
    emergency = EmergencyRule(80.0, 90.0, flatten_counts)  # type: ignore[arg-type]
    return LimitRules("custom", (), None, "stay", day, daily, maximum, emergency)  # type: ignore[arg-type]


def at(text: str, zone: str = "UTC") -> float:
    """Unix seconds of a local time: ``2026-11-20 23:59:30``."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def prague(text: str) -> float:
    return at(text, "Europe/Prague")


def money(balance: float, equity: float | None = None) -> AccountMoney:
    return account_money(balance, balance if equity is None else equity, 2)


def history(
    since: float, results: Iterable[tuple[float, float]] = (), flows: Iterable[tuple[float, float]] = ()
) -> History:
    """Results and flows as (time, money)."""
    return History(
        since,
        tuple(Booking(time, round(amount * 100)) for time, amount in results),
        tuple(Booking(time, round(amount * 100)) for time, amount in flows),
    )


def restarted(anchors: Anchors) -> Anchors:
    """The anchors as another process would read them from their file."""
    return msgspec.json.decode(msgspec.json.encode(anchors), type=Anchors)
