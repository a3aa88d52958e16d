"""From one look at the account to the next: resets that passed, deposits and payouts, peaks, pauses that end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from oracle_batch.hands.anchors import (
    AccountMoney,
    Anchors,
    Booking,
    History,
    LimitEvent,
    Seen,
    Source,
    day_balance,
    ended_at,
    estimated_event,
    is_estimated,
    kept_payouts,
    trails_balance,
)
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.reset_days import last_reset, resets_between

NEAR_S: Final = 1200
"""A look at the account this near to a reset tells what it was there: one M15 bar and some slack."""
CLOCK_BACK_S: Final = 60
"""A clock that goes back further than this is reported."""


def roll(
    anchors: Anchors, rules: LimitRules, now: float, money: AccountMoney, history: History | None = None
) -> tuple[Anchors, tuple[LimitEvent, ...]]:
    """The anchors as of ``now``, and what happened on the way.

    For the last reset passed: seen shortly before and after it, each anchor is the higher of the two (and of the
    balance rebuilt from deals); else the balance is rebuilt; else both are the highest of all four numbers, an estimate
    on the strict side. The peak takes in every reset passed. ``history`` is everything since the last look at least,
    better since the day's start; None says that it cannot be had.

    A clock that stands before the day's start changes no anchor: a day never comes back.

    Raises:
        ValueError: the money is in other digits than the anchors.
    """
    if money.money_digits != anchors.money_digits:
        raise ValueError(f"money with {money.money_digits} digits, anchors with {anchors.money_digits}")
    events = []
    if now < anchors.last_seen.time - CLOCK_BACK_S:
        events.append(LimitEvent("CLOCK_BACK", now, {"last_seen": anchors.last_seen.time}))
    flows = [flow for flow in history.flows if flow.time > anchors.flows_until] if history is not None else []
    peaks = _moved_by(anchors, rules, flows)
    other_clock = anchors.reset != str(rules.day)
    resets = resets_between(rules.day, anchors.last_seen.time if other_clock else anchors.day_start, now)
    if other_clock or resets:
        rolled = _passed(peaks, rules, resets, now, money, history, flows)
        if other_clock:
            rolled = _not_below(replace(rolled, reset=str(rules.day)), anchors)
            events.append(LimitEvent("RESET_MOVED", now, {"before": anchors.reset, "after": rolled.reset}))
        numbers: dict[str, int | float | str] = {"day": rolled.day, "resets": len(resets)}
        numbers |= {"day_balance": rolled.day_balance, "source": rolled.balance_source, "day_equity": rolled.day_equity}
        events.append(LimitEvent("DAY_RESET", now, numbers | {"peak_eod_balance": rolled.peak_eod_balance}))
        if is_estimated(rolled, rules):
            events.append(estimated_event(rolled, now))
        covered = history is not None and history.since <= min([*resets, rolled.day_start])
        complete = covered or rolled.balance_source == "observed"
        if rolled.peak_eod_balance > peaks.peak_eod_balance and trails_balance(rules) and not complete:
            events.append(LimitEvent("PEAK_ESTIMATED", now, {"peak": rolled.peak_eod_balance}))
    else:
        rolled = _same_day(peaks, money, history, flows)
        if rolled.balance_source != anchors.balance_source:
            numbers = {"day": rolled.day, "day_balance": rolled.day_balance, "before": anchors.day_balance}
            events.append(LimitEvent("ANCHOR_REBUILT", now, numbers))
    events.extend(LimitEvent("CASH_FLOW", now, {"amount": flow.amount, "time": flow.time}) for flow in flows)
    if rolled.pause is not None and rolled.pause.until is not None and now >= rolled.pause.until:
        events.append(LimitEvent("LIMIT_PAUSE_ENDED", now, {"limit": rolled.pause.limit, "since": rolled.pause.since}))
        rolled = replace(rolled, pause=None)
    paid_out = any(flow.amount < 0 and flow.time >= rolled.day_start for flow in flows)
    rolled = replace(
        rolled,
        peak_equity=max(rolled.peak_equity, money.equity),
        payout_day=rolled.day if paid_out else rolled.payout_day,
        flows_until=max([anchors.flows_until, *(flow.time for flow in flows)]),
        last_seen=Seen(max(now, anchors.last_seen.time), money.balance, money.equity),
    )
    return rolled, tuple(events)


def _moved_by(anchors: Anchors, rules: LimitRules, flows: Sequence[Booking]) -> Anchors:
    """Initial balance and peaks after deposits and payouts; a deposit is no profit, a payout no loss."""
    deposits = sum(flow.amount for flow in flows if flow.amount > 0)
    payouts = sum(flow.amount for flow in flows if flow.amount < 0)
    moved = deposits + (payouts if rules.payouts == "follow" else 0)
    return replace(
        anchors,
        initial_balance=anchors.initial_balance + deposits,
        peak_eod_balance=anchors.peak_eod_balance + moved,
        peak_equity=anchors.peak_equity + moved,
    )


def _same_day(anchors: Anchors, money: AccountMoney, history: History | None, flows: Sequence[Booking]) -> Anchors:
    """The day's anchors after today's deposits and payouts; a guessed balance is rebuilt once deals can be had."""
    today = sum(flow.amount for flow in flows if flow.time >= anchors.day_start)
    balance, equity, source = anchors.day_balance + today, anchors.day_equity + today, anchors.balance_source
    if source == "estimated":
        balance, source = day_balance(anchors.day_start, money, history, balance)
        balance = balance if source == "rebuilt" else anchors.day_balance + today
    return replace(anchors, day_balance=balance, balance_source=source, day_equity=equity)


def _passed(
    anchors: Anchors,
    rules: LimitRules,
    resets: Sequence[int],
    now: float,
    money: AccountMoney,
    history: History | None,
    flows: Sequence[Booking],
) -> Anchors:
    """The anchors of the day that the last of ``resets`` started."""
    day, day_start = last_reset(rules.day, now)
    seen = anchors.last_seen
    moved = sum(flow.amount for flow in flows)
    before = Seen(seen.time, seen.balance + moved, seen.equity + moved)
    guess = max(before.balance, before.equity, money.balance, money.equity)
    near = 0 <= day_start - seen.time <= NEAR_S and now - day_start <= NEAR_S
    balance, source = day_balance(day_start, money, history, guess)
    if near:
        rebuilt = balance if source == "rebuilt" else before.balance
        balance, source = max(before.balance, money.balance, rebuilt), "observed"
    equity, equity_source = _day_equity(balance, source, before, money, history, near=near)
    ended = [balance + kept_payouts(rules, flows, day_start)]
    for reset in resets[:-1]:
        if history is not None and history.since <= reset:
            ended.append(ended_at(rules, reset, money, history))
        else:
            ended.append(guess + kept_payouts(rules, flows, reset))
    return replace(
        anchors,
        day=day,
        day_start=day_start,
        day_balance=balance,
        balance_source=source,
        day_equity=equity,
        equity_source=equity_source,
        peak_eod_balance=max(anchors.peak_eod_balance, *ended),
    )


def _day_equity(
    balance: int, source: Source, before: Seen, money: AccountMoney, history: History | None, *, near: bool
) -> tuple[int, Source]:
    """The equity at the reset. It can be rebuilt only where no position was open across it."""
    if near:
        return max(before.equity, money.equity), "observed"
    flat = before.balance == before.equity and money.balance == money.equity
    known = source == "rebuilt" and history is not None and history.since <= before.time
    if known and flat and history is not None and all(result.time < before.time for result in history.results):
        return balance, "rebuilt"
    return max(balance, before.balance, before.equity, money.balance, money.equity), "estimated"


def _not_below(rolled: Anchors, known: Anchors) -> Anchors:
    """Estimates that are no laxer than what was known of the day as the old rule cut it."""
    return replace(
        rolled,
        day_balance=max(rolled.day_balance, known.day_balance)
        if rolled.balance_source == "estimated"
        else rolled.day_balance,
        day_equity=max(rolled.day_equity, known.day_equity)
        if rolled.equity_source == "estimated"
        else rolled.day_equity,
    )
