"""Entry rules on how trading went: losses in a row, stops in a window, poor models, the day's counts, the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oracle_batch.hands.refusal import DUST, Code, Refusal, known
from oracle_batch.hands.trade_log import ClosedTrade, Streak, TradeLog

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules

REQUESTS_SHARE: Final = 0.8
"""Of a day's trade requests so much is for entries and amends; the rest is kept for closes."""
_STOPS: Final = ("stop_loss", "stop_out")


def consecutive_losses(rules: EntryRules, log: TradeLog, model: str, now: float) -> Refusal | None:
    """A model, then the whole account, rests for ``cooldown_min`` after its streak's last loss.

    Only a trade that does not lose ends a streak: after the rest one entry may try, and its loss rests again.
    """
    return resting(rules, log.streak(model), log.account, now)


def resting(rules: EntryRules, model: Streak, account: Streak, now: float) -> Refusal | None:
    """Whether the streak of a model, or of its account, lets it rest."""
    limits = rules.max_consecutive_losses, rules.max_consecutive_losses_account
    return _resting("CONSECUTIVE_LOSSES_MODEL", model, limits[0], rules.cooldown_min, now) or _resting(
        "CONSECUTIVE_LOSSES_ACCOUNT", account, limits[1], rules.cooldown_min, now
    )


def _resting(code: Code, streak: Streak, limit: int, cooldown_min: float, now: float) -> Refusal | None:
    until = streak.last_loss + 60 * cooldown_min
    if not limit or streak.losses < limit or now >= until:
        return None
    return Refusal(code, {"losses": streak.losses, "limit": limit, "until": until})


def stoploss_guard(rules: EntryRules, log: TradeLog, symbol: str, now: float) -> Refusal | None:
    """Freqtrade's StoplossGuard: ``trade_limit`` losing stops within the lookback, counted whenever one happens,
    pause entries from the last of them; a stop that closed in profit (a trailed one) does not count.
    """
    guard = rules.stoploss_guard
    if not guard.trade_limit:
        return None
    lookback, duration = 60 * guard.lookback_min, 60 * guard.stop_duration_min
    stops = [
        trade.time
        for trade in log.trades
        if trade.reason in _STOPS and trade.net < 0 and (not guard.only_per_pair or trade.symbol == symbol)
    ]
    for first, last in reversed(list(zip(stops, stops[guard.trade_limit - 1 :], strict=False))):
        if first > last - lookback and now < last + duration:
            numbers = {"limit": guard.trade_limit, "lookback_min": guard.lookback_min, "until": last + duration}
            return Refusal("STOPLOSS_GUARD", numbers | {"symbol": symbol} if guard.only_per_pair else numbers)
    return _unknown_history(log, now, lookback + duration)


def low_profit(rules: EntryRules, log: TradeLog, model: str, now: float) -> Refusal | None:
    """Freqtrade's LowProfitPairs by model: the sum of at least ``trade_limit`` trades within the lookback, taken
    whenever one closes, is below ``required_profit``.
    """
    guard = rules.low_profit
    if not guard.trade_limit:
        return None
    lookback, duration = 60 * guard.lookback_min, 60 * guard.stop_duration_min
    own = [trade for trade in log.trades if trade.model == model]
    for last in range(len(own), 0, -1):
        until = own[last - 1].time + duration
        if now >= until:
            break
        window = _since(own[:last], own[last - 1].time - lookback)
        profit = sum(trade.net for trade in window)
        if len(window) >= guard.trade_limit and profit < guard.required_profit:
            numbers = {"trades": len(window), "profit": profit, "required": guard.required_profit, "until": until}
            return Refusal("LOW_PROFIT", numbers)
    return _unknown_history(log, now, lookback + duration)


def _since(trades: Sequence[ClosedTrade], start: float) -> list[ClosedTrade]:
    return [trade for trade in trades if trade.time > start]


def _unknown_history(log: TradeLog, now: float, needed_s: float) -> Refusal | None:
    if log.dropped_until <= now - needed_s:
        return None
    return Refusal("UNKNOWN_TRADE_HISTORY", {"known_since": log.dropped_until, "needed_since": now - needed_s})


def amend_refused(rules: EntryRules, requests_today: int) -> Refusal | None:
    """Whether an amend may still be sent today; a close always may."""
    limit = rules.max_trade_requests_day
    if not limit or requests_today + 1 <= REQUESTS_SHARE * limit + DUST:
        return None
    return Refusal("TRADE_REQUESTS_DAY", {"requests": requests_today, "limit": limit, "share": REQUESTS_SHARE})


def profit_target(
    rules: EntryRules, equity: float | None, closing_costs: float | None, initial_balance: float | None
) -> Refusal | None:
    """Whether the target would still be reached after closing everything. Then also: close, and pause the account.

    Only ``PROFIT_TARGET`` closes; ``UNKNOWN_EQUITY`` refuses entries alone. Money in account currency.
    """
    if not rules.profit_target_pct:
        return None
    if (
        equity is None
        or closing_costs is None
        or initial_balance is None
        or not known(equity, closing_costs, initial_balance)
        or initial_balance <= 0
    ):
        return Refusal("UNKNOWN_EQUITY", {"rule": "profit_target_pct"})
    target = initial_balance * (1 + rules.profit_target_pct / 100)
    if equity - closing_costs < target - DUST:
        return None
    return Refusal("PROFIT_TARGET", {"equity": equity, "closing_costs": closing_costs, "target": target})
