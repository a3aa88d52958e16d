"""Why something is not done: a stable code and the numbers that were seen. docs/reason-codes.md explains each code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

DUST: Final = 1e-6
"""Sums are held against limits to a millionth, so that 0.1 + 0.2 fits into 0.3."""

Code = Literal[
    "BLACKOUT",
    "BREAK_AHEAD",
    "CONSECUTIVE_LOSSES_ACCOUNT",
    "CONSECUTIVE_LOSSES_MODEL",
    "DAILY_LOSS",
    "EXPOSURE_CURRENCY",
    "EXPOSURE_CURRENCY_GROSS",
    "EXPOSURE_SYMBOL",
    "EXPOSURE_SYMBOL_GROSS",
    "FREE_MARGIN",
    "LIMIT_PAUSE",
    "LOSS_BUDGET",
    "LOW_PROFIT",
    "MARKET_CLOSED",
    "MAXIMUM_LOSS",
    "MAX_OPEN_POSITIONS",
    "MAX_STOP_PCT",
    "MAX_TRADES_DAY",
    "NEWS",
    "NEWS_CALENDAR_ENDS",
    "NO_ATR",
    "NO_RATE",
    "OPPOSITE_ACROSS_ACCOUNTS",
    "PAYOUT_TODAY",
    "PROFIT_TARGET",
    "REQUIRE_STOP",
    "RISK_UNKNOWN",
    "SPREAD",
    "SPREAD_ABOVE_MEDIAN",
    "STALE_DATA",
    "STOPLOSS_GUARD",
    "STOP_TOO_CLOSE",
    "SYNTHETIC_DATA",
    "TRADE_REQUESTS_DAY",
    "TRADING_HOURS",
    "UNKNOWN_CURRENCIES",
    "UNKNOWN_DATA_SOURCE",
    "UNKNOWN_EQUITY",
    "UNKNOWN_EXPOSURE",
    "UNKNOWN_LOSS_BUDGET",
    "UNKNOWN_MARGIN",
    "UNKNOWN_NEWS",
    "UNKNOWN_OTHER_ACCOUNTS",
    "UNKNOWN_POSSIBLE_LOSS",
    "UNKNOWN_QUOTE",
    "UNKNOWN_SCHEDULE",
    "UNKNOWN_SPREAD",
    "UNKNOWN_SPREAD_MEDIAN",
    "UNKNOWN_TERMS",
    "UNKNOWN_TRADE_HISTORY",
    "VOLUME_ABOVE_MAX",
    "VOLUME_BELOW_MIN",
]
REMEDY: Final[Mapping[str, str]] = {
    "SPREAD": "if that is its usual spread, raise max_spread_pips in the symbols file",
    "STOP_TOO_CLOSE": "set sl_usd to least_money or more in the symbols file, or take fewer lots",
    "VOLUME_BELOW_MIN": "more lots, a nearer stop, or a higher risk_per_trade_pct in the symbols file",
    "VOLUME_ABOVE_MAX": "fewer lots in the symbols file",
    "REQUIRE_STOP": "set sl_usd, sl_atr or trailing_usd in the symbols file",
    "MAX_STOP_PCT": "a nearer stop or fewer lots in the symbols file",
}
"""What to change where a symbol's settings are the likely cause. The symbols file is config/executor_symbols.json,
unless the account has its own."""
Number = float | int | str | None


class Refusal(msgspec.Struct, frozen=True):
    """Why an entry is refused, or an action is due or deferred. ``numbers`` are for the journal; None is unknown."""

    code: Code
    numbers: Mapping[str, Number]


def known(*values: float | None) -> bool:
    """Whether all values are there and finite.

    >>> known(1.0, 0), known(None), known(float("nan"))
    (True, False, False)
    """
    for value in values:  # noqa: SIM110 - every rule asks this; a generator takes three times as long
        if value is None or not math.isfinite(value):
            return False
    return True
