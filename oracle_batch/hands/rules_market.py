"""Entry rules on what the market shows: where the data is from, how old it is, how wide the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oracle_batch.broker.base import Quote
from oracle_batch.hands.refusal import DUST, Refusal, known
from oracle_batch.hands.spreads import SpreadWindow, pip_size, spread_pips

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules

SYNTHETIC: Final = "synthetic"
"""How the source of invented bars is named; a detail may follow, as in ``synthetic:walk``."""
FILES: Final = "paper"
"""The source of bars that come from files: nobody vouches for them."""


def synthetic_data(source: str | None, *, live: bool) -> Refusal | None:
    """A live account trades on real bars alone; bars that do not say where they are from may be anything."""
    if not live:
        return None
    if not source or source == FILES:
        return Refusal("UNKNOWN_DATA_SOURCE", {"source": source})
    if source.partition(":")[0].strip().lower() == SYNTHETIC:
        return Refusal("SYNTHETIC_DATA", {"source": source})
    return None


def stale_data(rules: EntryRules, quote: Quote | None, bar_close: float | None, now: float) -> Refusal | None:
    """The newest quote or bar is too old. ``bar_close`` is the newest bar's close, Unix seconds."""
    if rules.max_quote_age_s:
        if quote is None or not known(quote.time):
            return Refusal("UNKNOWN_QUOTE", {"rule": "max_quote_age_s"})
        if now - quote.time > rules.max_quote_age_s:
            return Refusal("STALE_DATA", {"quote_age_s": now - quote.time, "limit_s": rules.max_quote_age_s})
    if rules.max_bar_age_s:
        if bar_close is None or not known(bar_close):
            return Refusal("STALE_DATA", {"bar_age_s": None, "limit_s": rules.max_bar_age_s})
        if now - bar_close > rules.max_bar_age_s:
            return Refusal("STALE_DATA", {"bar_age_s": now - bar_close, "limit_s": rules.max_bar_age_s})
    return None


def spread(
    rules: EntryRules, max_spread_pips: float, quote: Quote | None, digits: int | None, window: SpreadWindow
) -> Refusal | None:
    """The spread now, against the symbol's limit and against the median of its window (a factor)."""
    factor = rules.max_spread_vs_median
    if not max_spread_pips and not factor:
        return None
    if quote is None:
        return Refusal("UNKNOWN_QUOTE", {"rule": "max_spread_pips"})
    pips = spread_pips(quote, digits) if digits is not None else None
    if pips is None:
        return Refusal("UNKNOWN_SPREAD", {"bid": _told(quote.bid), "ask": _told(quote.ask), "digits": digits})
    if max_spread_pips and pips > max_spread_pips:
        pip = pip_size(digits) if digits is not None else None
        return Refusal("SPREAD", {"pips": pips, "limit_pips": max_spread_pips, "pip": pip})
    if not factor:
        return None
    median = window.median()
    if median is None:
        return Refusal("UNKNOWN_SPREAD_MEDIAN", {"pips": pips, "spreads": len(window.pips)})
    if pips > factor * median + DUST:
        return Refusal("SPREAD_ABOVE_MEDIAN", {"pips": pips, "median_pips": median, "factor": factor})
    return None


def _told(price: float) -> float | None:
    return price if known(price) else None
