"""Whether an account trades so plainly that ``solo`` can take it from look to look."""

from __future__ import annotations

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.market.specs import Contracts
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.looks import TICK_AFTER_S

FORBIDDEN = (
    "max_symbol_exposure",
    "max_symbol_exposure_gross",
    "max_currency_exposure",
    "max_currency_exposure_gross",
    "max_spread_vs_median",
    "no_entry_before_break_min",
    "flat_before_break_min",
    "max_trades_per_day",
    "max_trade_requests_day",
    "profit_target_pct",
)
"""Rules that only whole looks judge."""


def is_plain(setup: Setup, rules: LimitRules, life: Life, contracts: Contracts) -> bool:
    """Whether neither the rules nor the model's settings or market want more than ``solo`` looks at."""
    model, risk = life.model, setup.account.risk
    settings = setup.symbols[model.model_id]
    if any(getattr(risk, name) for name in FORBIDDEN) or risk.news_mode != "off":
        return False
    if rules.maximum != "none" and rules.maximum.trails == "equity":
        return False
    if 0 < risk.max_bar_age_s < TICK_AFTER_S or setup.rules.entry_deadline(model.timeframe) < TICK_AFTER_S:
        return False
    if not settings.enabled or settings.trailing_usd or settings.breakeven_usd:
        return False
    try:
        return contracts.find(model.broker_symbol) is not None and contracts.schedule(model.broker_symbol) is None
    except OracleBatchError:
        return False


def is_steady(spec: SymbolSpec, currency: str, history: History) -> bool:
    """Whether no price of any symbol can move what a unit of the quote asset is worth."""
    quote = spec.quote_asset
    others = [one for one in history.symbols() if one != spec.symbol]
    return quote == currency or (not others and spec.symbol not in (quote + currency, currency + quote))
