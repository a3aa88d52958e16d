"""The entry rules of one candidate by itself. What candidates share is reserved in ``hands.admission``.

Risk can refuse entries; it never refuses a close. Unknown is a refusal, not a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from oracle_batch.broker.base import Quote
from oracle_batch.hands import rules_market, rules_time, rules_trades
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.news import NewsCalendar
from oracle_batch.hands.refusal import Refusal
from oracle_batch.hands.spreads import SpreadWindow
from oracle_batch.hands.trade_log import TradeLog

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules


class AccountFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules see of an account; None is unknown. Money in account currency.

    ``closing_costs`` is what closing every position would cost; ``live``: real money.
    """

    live: bool
    log: TradeLog
    equity: float | None
    closing_costs: float | None
    initial_balance: float | None
    news: NewsCalendar | None


class EntryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules see of one candidate; None is unknown.

    ``source`` says where its bars are from, ``bar_close`` is the newest one's close (Unix seconds), ``spreads`` the
    recent spreads of its symbol.
    """

    model: str
    symbol: str
    source: str | None
    bar_close: float | None
    quote: Quote | None
    digits: int | None
    max_spread_pips: float
    spreads: SpreadWindow
    currencies: tuple[str, ...] | None
    schedule: Schedule | None


def entry_refusal(rules: EntryRules, account: AccountFacts, entry: EntryFacts, now: float) -> Refusal | None:
    """Why this entry is refused, None when no rule minds: the data first, then the account, the model, the time."""
    log = account.log
    return (
        rules_market.synthetic_data(entry.source, live=account.live)
        or rules_market.stale_data(rules, entry.quote, entry.bar_close, now)
        or rules_trades.profit_target(rules, account.equity, account.closing_costs, account.initial_balance)
        or rules_trades.consecutive_losses(rules, log, entry.model, now)
        or rules_trades.stoploss_guard(rules, log, entry.symbol, now)
        or rules_trades.low_profit(rules, log, entry.model, now)
        or rules_time.trading_hours(rules, now)
        or rules_time.break_ahead(rules, entry.schedule, now)
        or rules_time.news(rules, account.news, entry.currencies, now)
        or rules_market.spread(rules, entry.max_spread_pips, entry.quote, entry.digits, entry.spreads)
    )
