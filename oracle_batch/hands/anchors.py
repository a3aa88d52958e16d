"""What loss limits are measured from: values that are persisted, and how they are born and paused.

All money is in minor units. An anchor is exact (``observed``, ``rebuilt`` from deals) or the stricter guess
(``estimated``), and says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.money import have
from oracle_batch.hands.reset_days import last_reset, next_reset, resets_between

Source = Literal["observed", "rebuilt", "estimated"]
LimitName = Literal["daily", "maximum"]


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value whose file form knows every field."""


class AccountMoney(_Value, frozen=True):
    """The account at one instant; equity includes every position, ours and others'."""

    balance: int
    equity: int
    money_digits: int


def account_money(balance: float, equity: float, money_digits: int) -> AccountMoney:
    """The broker's account in minor units."""
    return AccountMoney(have(balance, money_digits), have(equity, money_digits), money_digits)


class Booking(_Value, frozen=True):
    """Money that moved the balance at ``time`` (the broker's, Unix seconds)."""

    time: float
    amount: int


class History(_Value, frozen=True):
    """Everything that moved the balance from ``since`` until now, complete.

    ``results``: net results of deals (profit less commission, plus swap), opening commissions included, and fees.
    ``flows``: deposits (positive) and payouts (negative) alone; a dividend or a fee is a result.
    """

    since: float
    results: tuple[Booking, ...]
    flows: tuple[Booking, ...]

    def earned(self, since: float) -> int:
        """The results from ``since`` on."""
        return sum(result.amount for result in self.results if result.time >= since)


class Seen(_Value, frozen=True):
    """The account when it was last looked at."""

    time: float
    balance: int
    equity: int


class LimitPause(_Value, frozen=True):
    """No entries, because a limit came too near: until an instant, or until the operator resumes (None)."""

    limit: LimitName
    since: float
    until: float | None


class Anchors(_Value, frozen=True):
    """What an account's limits are measured from, as of ``last_seen``.

    ``reset`` is the rule that made ``day`` (local date of the reset) and ``day_start``. The day's balance and equity
    and both peaks are in terms of today's cash: a deposit has raised them, and what a payout does the rules say.
    ``flows_until`` is the last deposit or payout taken into account; ``payout_day`` the day of the last payout.
    """

    reset: str
    money_digits: int
    initial_balance: int
    day: str
    day_start: int
    day_balance: int
    balance_source: Source
    day_equity: int
    equity_source: Source
    peak_eod_balance: int
    peak_equity: int
    payout_day: str | None
    flows_until: float
    pause: LimitPause | None
    last_seen: Seen


class LimitEvent(_Value, frozen=True):
    """Something that the journal and the operator must see. ``code`` is stable."""

    code: Literal[
        "DAY_RESET",
        "ANCHOR_ESTIMATED",
        "ANCHOR_REBUILT",
        "PEAK_ESTIMATED",
        "CASH_FLOW",
        "RESET_MOVED",
        "CLOCK_BACK",
        "LIMIT_PAUSE_ENDED",
    ]
    time: float
    numbers: dict[str, int | float | str]


def start(
    rules: LimitRules,
    now: float,
    money: AccountMoney,
    initial_balance: int,
    history: History | None = None,
    *,
    known_peak: int | None = None,
) -> tuple[Anchors, tuple[LimitEvent, ...]]:
    """The anchors of an account that is seen for the first time, or anew after the operator's reset.

    ``initial_balance`` is what the firm's percentages are of, as of now; nobody but the operator knows it.
    ``known_peak`` is the highest balance at a reset, or equity, that the firm's dashboard shows, for a limit that
    trails. Without a history back to the day's reset, the day's anchor is the highest of initial balance, balance and
    equity.
    """
    day, day_start = last_reset(rules.day, now)
    balance, source = day_balance(day_start, money, history, initial_balance)
    quiet = source == "rebuilt" and history is not None and not _since(history.results, day_start)
    peak = max(initial_balance, known_peak or 0)
    flows = history.flows if history is not None else ()
    if history is not None and source == "rebuilt":
        peak = max(peak, *(ended_at(rules, reset, money, history) for reset in _resets(rules, history, day_start)))
    else:
        peak = max(peak, money.balance)
    anchors = Anchors(
        reset=str(rules.day),
        money_digits=money.money_digits,
        initial_balance=initial_balance,
        day=day,
        day_start=day_start,
        day_balance=balance,
        balance_source=source,
        day_equity=balance if quiet and money.balance == money.equity else max(balance, money.balance, money.equity),
        equity_source="rebuilt" if quiet and money.balance == money.equity else "estimated",
        peak_eod_balance=peak,
        peak_equity=max(peak, money.equity),
        payout_day=day if any(flow.amount < 0 for flow in _since(flows, day_start)) else None,
        flows_until=max([now, *(flow.time for flow in flows)]),
        pause=None,
        last_seen=Seen(now, money.balance, money.equity),
    )
    events = [estimated_event(anchors, now)] if is_estimated(anchors, rules) else []
    trails = rules.maximum != "none" and rules.maximum.trails != "never"
    if trails and known_peak is None and (money.balance != initial_balance or money.equity != initial_balance):
        events.append(LimitEvent("PEAK_ESTIMATED", now, {"peak": peak, "initial_balance": initial_balance}))
    return anchors, tuple(events)


def day_balance(day_start: int, money: AccountMoney, history: History | None, least: int) -> tuple[int, Source]:
    """The balance at a day's start, rebuilt from deals, else the stricter guess, which is ``least`` or more.

    Deposits and payouts since then are in it, as if they had been made before: they are no result of the day.
    """
    if history is not None and history.since <= day_start:
        return money.balance - history.earned(day_start), "rebuilt"
    return max(money.balance, money.equity, least), "estimated"


def ended_at(rules: LimitRules, reset: int, money: AccountMoney, history: History) -> int:
    """The balance at a reset as the peak sees it: later deposits count, later payouts only if the peak follows them."""
    return money.balance - history.earned(reset) + kept_payouts(rules, history.flows, reset)


def kept_payouts(rules: LimitRules, flows: Sequence[Booking], since: float) -> int:
    """The payouts from ``since`` on that a peak does not follow, as a positive amount."""
    return -sum(flow.amount for flow in _since(flows, since) if flow.amount < 0) if rules.payouts == "stay" else 0


def is_estimated(anchors: Anchors, rules: LimitRules) -> bool:
    """Whether a value that the day's limit is measured from is a guess."""
    if rules.daily == "none":
        return False
    sources = {"balance": anchors.balance_source, "equity": anchors.equity_source}
    return any(source == "estimated" for name, source in sources.items() if rules.daily.anchor in (name, "higher"))


def trails_balance(rules: LimitRules) -> bool:
    """Whether the maximum loss is measured from the highest balance at a reset."""
    return rules.maximum != "none" and rules.maximum.trails == "eod_balance"


def estimated_event(anchors: Anchors, now: float) -> LimitEvent:
    """The day's anchor is a guess on the strict side."""
    numbers: dict[str, int | float | str] = {
        "day": anchors.day,
        "day_balance": anchors.day_balance,
        "balance_source": anchors.balance_source,
        "day_equity": anchors.day_equity,
        "equity_source": anchors.equity_source,
    }
    return LimitEvent("ANCHOR_ESTIMATED", now, numbers)


def paused(anchors: Anchors, limit: LimitName, rules: LimitRules, now: float) -> Anchors:
    """The account paused because of a limit: the daily one until the next reset, the maximum one until resumed.

    A pause that is there already stays, except that the maximum one takes the daily one's place.
    """
    if anchors.pause is not None and (anchors.pause.limit == "maximum" or limit == "daily"):
        return anchors
    until = float(next_reset(rules.day, max(now, anchors.day_start))) if limit == "daily" else None
    return replace(anchors, pause=LimitPause(limit, now, until))


def resumed(anchors: Anchors) -> Anchors:
    """The account without its pause, as the operator wishes. A limit that is still near pauses it again."""
    return replace(anchors, pause=None)


def _resets(rules: LimitRules, history: History, day_start: int) -> list[int]:
    """The resets at which the balance is known and had moved before, up to the day's own."""
    first = min((booking.time for booking in (*history.results, *history.flows)), default=day_start)
    moved = max(history.since, last_reset(rules.day, min(first, day_start))[1] - 1)
    return [*resets_between(rules.day, moved, day_start - 1), day_start]


def _since(bookings: Sequence[Booking], since: float) -> list[Booking]:
    return [booking for booking in bookings if booking.time >= since]
