"""What an account remembers of its trades for the entry rules: streaks, recent closed trades, counts of the day."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import CloseReason

MAX_TRADES: Final = 500
"""At most so many closed trades are kept; the oldest give way."""
_TIME: Final = attrgetter("time")


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value whose file form knows every field."""


class ClosedTrade(_Value, frozen=True):
    """One position of ours that has ended. ``time`` is Unix seconds, ``net`` after costs in account currency."""

    model: str
    symbol: str
    time: float
    net: float
    reason: CloseReason


class Streak(_Value, frozen=True):
    """Losing trades in a row, and when the last of them closed. Any trade that did not lose ends it."""

    losses: int = 0
    last_loss: float = 0.0


class DayCounts(_Value, frozen=True):
    """Trades opened and trade requests sent since ``day``, the start of a reset day (Unix seconds)."""

    day: float = 0.0
    trades: int = 0
    requests: int = 0


class TradeLog(_Value, frozen=True):
    """One account's memory. ``dropped_until`` is the time of the newest trade that is no longer in ``trades``."""

    trades: tuple[ClosedTrade, ...] = ()
    dropped_until: float = 0.0
    models: Mapping[str, Streak] = {}
    account: Streak = Streak()
    day: DayCounts = DayCounts()

    def streak(self, model: str) -> Streak:
        return self.models.get(model, Streak())


def recorded(log: TradeLog, trade: ClosedTrade, keep_s: float) -> TradeLog:
    """The log with one more closed trade; what is older than ``keep_s`` before the newest, or too many, is dropped."""
    return recorded_all(log, (trade,), keep_s)


def recorded_all(log: TradeLog, fresh: Sequence[ClosedTrade], keep_s: float) -> TradeLog:
    """The log with more closed trades, one after another."""
    if not fresh:
        return log
    trades = (*log.trades, *fresh)
    if any(later.time < earlier.time for earlier, later in pairwise((*log.trades[-1:], *fresh))):
        trades = tuple(sorted(trades, key=_TIME))
    first = max(bisect_left(trades, trades[-1].time - keep_s, key=_TIME), len(trades) - MAX_TRADES)
    kept, dropped = trades[first:], trades[:first]
    models, account = dict(log.models), log.account
    for trade in fresh:
        models[trade.model] = longer(models.get(trade.model, Streak()), trade)
        account = longer(account, trade)
    until = max([log.dropped_until, *(one.time for one in dropped)])
    return replace(log, trades=kept, dropped_until=until, models=models, account=account)


def longer(streak: Streak, trade: ClosedTrade) -> Streak:
    """A streak after one more closed trade."""
    if not trade.net < 0:
        return Streak()
    return Streak(streak.losses + 1, max(streak.last_loss, trade.time))


def forgiven(log: TradeLog) -> TradeLog:
    """The log after the operator's reset: no streak and no trade that a guard could count; the day's counts stay."""
    return replace(log, trades=(), dropped_until=0.0, models={}, account=Streak())


def counted(log: TradeLog, day: float, *, trades: int = 0, requests: int = 0) -> TradeLog:
    """The log with more trades and requests in the reset day that began at ``day``."""
    known = counts_on(log, day)
    return replace(log, day=DayCounts(known.day, known.trades + trades, known.requests + requests))


def counts_on(log: TradeLog, day: float) -> DayCounts:
    """The counts of a reset day: none on a new one; a clock that went back does not clear them."""
    return log.day if log.day.day >= day else DayCounts(day)
