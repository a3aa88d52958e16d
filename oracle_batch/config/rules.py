"""The entry rules that the operator sets. 0 turns a numeric rule off; money is in the account currency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from oracle_batch.hands.hours import parse_windows, zone_of

NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$")]

_MINIMUM_HISTORY_S = 86400.0
"""So much of the closed trades is kept even with both guards off, so that one turned on knows the last day."""


class StoplossGuard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``trade_limit`` losing stops within ``lookback_min`` pause entries for ``stop_duration_min`` (0 trades = off).

    The names are freqtrade's. ``only_per_pair``: the stops of one symbol pause that symbol alone.
    """

    trade_limit: Count = 0
    lookback_min: Annotated[float, Meta(gt=0)] = 1440.0
    stop_duration_min: Annotated[float, Meta(gt=0)] = 720.0
    only_per_pair: bool = False


class LowProfit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model whose ``trade_limit`` or more trades within ``lookback_min`` made less than ``required_profit`` pauses.

    Freqtrade's LowProfitPairs, by model and in money. 0 trades = off.
    """

    trade_limit: Count = 0
    lookback_min: Annotated[float, Meta(gt=0)] = 10080.0
    stop_duration_min: Annotated[float, Meta(gt=0)] = 1440.0
    required_profit: float = 0.0


class EntryRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When entries are refused. No rule here ever refuses a close.

    ``cooldown_min`` is the pause after a streak of losses, from its last loss. ``max_symbol_exposure`` and
    ``max_currency_exposure`` limit the larger side, ``…_gross`` both sides together (see ``hands.exposure``).
    ``max_spread_vs_median`` is a factor. Windows are written as ``hands.hours.parse_windows`` reads them, in
    ``hours_zone``. ``news_flat_min`` belongs to ``flat_before``: so long before an event positions are closed.
    ``profit_target_pct`` is of the initial balance, ``min_free_margin_pct`` of the equity.
    """

    max_open_positions: Count = 20
    max_consecutive_losses: Count = 5
    max_consecutive_losses_account: Count = 10
    cooldown_min: NotNegative = 1440.0
    stoploss_guard: StoplossGuard = StoplossGuard()
    low_profit: LowProfit = LowProfit()
    max_symbol_exposure: NotNegative = 0.0
    max_symbol_exposure_gross: NotNegative = 0.0
    max_currency_exposure: NotNegative = 0.0
    max_currency_exposure_gross: NotNegative = 0.0
    min_free_margin_pct: Annotated[float, Meta(ge=0, le=100)] = 0.0
    max_spread_vs_median: NotNegative = 0.0
    max_quote_age_s: NotNegative = 120.0
    max_bar_age_s: NotNegative = 0.0
    trading_hours: tuple[str, ...] = ()
    blackout: tuple[str, ...] = ()
    hours_zone: str = "UTC"
    no_entry_before_break_min: NotNegative = 0.0
    flat_before_break_min: NotNegative = 0.0
    min_break_h: NotNegative = 2.0
    news_mode: Literal["off", "no_entry", "no_trade", "flat_before"] = "off"
    news_impact: Literal["low", "medium", "high"] = "high"
    news_before_min: NotNegative = 5.0
    news_after_min: NotNegative = 5.0
    news_flat_min: NotNegative = 10.0
    max_trades_per_day: Count = 0
    max_trade_requests_day: Count = 0
    profit_target_pct: NotNegative = 0.0
    allow_opposite_across_accounts: bool = False
    symbol_currencies: dict[str, tuple[CurrencyCode, ...]] = {}

    def __post_init__(self) -> None:
        _check("hours_zone", zone_of, self.hours_zone)
        _check("trading_hours", parse_windows, self.trading_hours)
        _check("blackout", parse_windows, self.blackout)
        for symbol, currencies in self.symbol_currencies.items():
            if len(currencies) not in (1, 2) or len(set(currencies)) < len(currencies):
                raise ValueError(f"symbol_currencies: {symbol}: name one currency, or base and quote")

    @property
    def history_s(self) -> float:
        """How long closed trades must be remembered for these rules, in seconds."""
        guards = (self.stoploss_guard, self.low_profit)
        spans = [60 * (guard.lookback_min + guard.stop_duration_min) for guard in guards if guard.trade_limit]
        return max(_MINIMUM_HISTORY_S, *spans) if spans else _MINIMUM_HISTORY_S


def _check(key: str, parse: Callable[[Any], object], value: object) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
