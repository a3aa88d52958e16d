"""Which currencies a symbol stands for: EURUSD for EUR and USD, XAUUSD for XAU and USD, US30 for USD."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from oracle_batch.broker.base import SymbolSpec

_NAMES: Final = (
    "AED ARS AUD BRL CAD CHF CLP CNH CNY CZK DKK EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR NOK NZD PHP PLN RON "
    "RUB SAR SEK SGD THB TRY TWD USD ZAR XAG XAU XPD XPT"
)
MONEY: Final = frozenset(_NAMES.split())
"""Currencies and metals; any other base asset (an index, a share, a coin) is no currency of its own."""
_CODE: Final = re.compile(r"[A-Z]{3}")


def currencies_of(spec: SymbolSpec, own: Mapping[str, tuple[str, ...]] | None = None) -> tuple[str, ...] | None:
    """Base and quote currency, or the quote alone for what is no pair; None when the quote asset is no currency code.

    ``own`` is the operator's word, by symbol.

    >>> terms = (5, 10_000_000, 100_000, 100_000, 1_000_000_000)
    >>> currencies_of(SymbolSpec("XAUUSD", *terms, "XAU", "USD"))
    ('XAU', 'USD')
    >>> currencies_of(SymbolSpec("US30", *terms, "US30", "USD"))
    ('USD',)
    """
    if own and spec.symbol in own:
        return own[spec.symbol]
    base, quote = spec.base_asset.upper(), spec.quote_asset.upper()
    if not _CODE.fullmatch(quote):
        return None
    return (base, quote) if base in MONEY and base != quote else (quote,)
