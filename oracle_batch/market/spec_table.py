"""Shipped symbol contracts: the usual retail CFD terms. ``config/symbols.json`` overrides any of them.

Minimum and step are 0.01 lots everywhere, also where brokers ask for 0.1 or 1 (indices, shares): the default sizes
of a model are 0.01 to 0.05 lots, and a paper account that refused them would test nothing. Who wants the broker's
real steps writes them into ``config/symbols.json``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CURRENCIES: Final = tuple("EUR GBP AUD NZD USD CAD CHF JPY NOK SEK DKK PLN CZK HUF TRY ZAR MXN SGD HKD CNH".split())  # noqa: SIM905
"""Any two of these are an FX pair of 100,000 units a lot."""
_THREE_DIGITS: Final = ("JPY", "HUF", "CZK")


class Terms(NamedTuple):
    """Price digits, units a lot, and the assets of a contract."""

    digits: int
    lot_size: float
    base: str
    quote: str


MIN_LOTS: Final = 0.01
STEP_LOTS: Final = 0.01
MAX_LOTS: Final = 100.0

_METALS: Final = {
    "XAUUSD": Terms(2, 100, "XAU", "USD"),
    "XAGUSD": Terms(3, 5000, "XAG", "USD"),
    "XPTUSD": Terms(2, 100, "XPT", "USD"),
    "XPDUSD": Terms(2, 100, "XPD", "USD"),
    "XAUEUR": Terms(2, 100, "XAU", "EUR"),
}
_INDICES: Final = {
    name: Terms(2, 1, name, quote)
    for quote, names in {
        "USD": "US30 US500 US2000 NAS100 USTEC US100 SPX500 DJ30 VIX",
        "EUR": "GER40 DE40 FRA40 EU50 EUSTX50 ESP35 IT40 NED25",
        "GBP": "UK100",
        "JPY": "JPY225 JP225 JPN225",
        "AUD": "AUS200",
        "CHF": "SUI20",
        "HKD": "HK50",
    }.items()
    for name in names.split()
}
_SHARE_NAMES: Final = """
    SPY QQQ DIA IWM VTI VOO EEM EFA GLD SLV TLT HYG XLE XLF XLK ARKK USO UNG
    AAPL MSFT AMZN GOOGL GOOG META NVDA TSLA AMD INTC NFLX ADBE CRM ORCL IBM CSCO QCOM AVGO MU
    JPM BAC WFC GS MS C V MA PYPL DIS KO PEP MCD WMT COST HD NKE PG JNJ PFE MRK ABBV UNH
    XOM CVX BA CAT GE F GM T VZ UBER COIN PLTR BABA
"""
_US_SHARES: Final = {name: Terms(2, 1, name, "USD") for name in _SHARE_NAMES.split()}
_TABLE: Final = _METALS | _INDICES | _US_SHARES


def shipped(symbol: str) -> Terms | None:
    """The terms of a known symbol, None for others.

    >>> shipped("EURJPY")
    Terms(digits=3, lot_size=100000, base='EUR', quote='JPY')
    """
    if symbol in _TABLE:
        return _TABLE[symbol]
    base, quote = symbol[:3], symbol[3:]
    if base in CURRENCIES and quote in CURRENCIES and base != quote:
        return Terms(3 if quote in _THREE_DIGITS else 5, 100_000, base, quote)
    return None
