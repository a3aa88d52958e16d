"""A portfolio's backtest as a page to read."""

from __future__ import annotations

import numpy as np

from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.page import ROWS
from oracle_batch.training.backtest.portfolio import Portfolio
from oracle_batch.training.pages import BLUE, GREEN, RED, Page, axes, counted, dates, number, percent
from oracle_batch.types import utc


def page_of(found: Portfolio, trading: Trading) -> Page:
    """The account's numbers, the odds under the rules, the curve, and each model's part."""
    lead = f"{counted(len(found.models), 'model')} on one account under {found.rules}."
    if not found.unseen:
        lead += " Not every model says which bars it has seen: this is no evidence."
    page = Page("Backtest of a portfolio", lead)
    page.paragraph(f"{utc(found.first)} to {utc(found.last)}, {found.balance:,.2f} at the start.", small=True)
    page.heading("Results")
    columns = ("account", *(f"costs ×{factor}" for factor in found.stress if factor != "1"))
    page.table(("", *columns), [(name, *(pick(one) for one in found.stress.values())) for name, pick in ROWS])
    page.table(
        ("symbol", "spread", "swap"),
        [(name, found.spread_source[name], found.swap_source[name]) for name in found.spread_source],
    )
    refused = ", ".join(f"{code} {count}" for code, count in sorted(found.refused.items())) or "none"
    events = ", ".join(f"{name} {count}" for name, count in sorted(found.events.items())) or "none"
    page.paragraph(
        f"Refused entries: {refused}. Pauses and targets: {events}. Worst day: {percent(found.worst_day, 2)}."
    )
    page.heading("Odds of such an account")
    odds = found.odds
    if odds is None:
        page.paragraph("The days are too few to draw accounts from.")
    else:
        rows = [
            (f"passes: +{found.target_pct:g} % first", percent(odds.passed)),
            ("breaks the daily limit", percent(odds.broke_daily)),
            ("breaks the maximum limit", percent(odds.broke_maximum)),
            (f"neither within {found.horizon} days", percent(odds.unfinished)),
            ("median days to pass", number(odds.median_days_to_pass, 0)),
            ("median days to a breach", number(odds.median_days_to_breach, 0)),
        ]
        page.table(("", f"of {odds.draws} accounts"), rows)
        page.paragraph(
            f"Drawn in blocks from {odds.days} days of the same account without any loss limit, each with its "
            "change and its lowest equity at the looks that were made; our own stops before a limit are not counted "
            "on. Days that never happened in this stretch are in none of them.",
            small=True,
        )
    figure, one = axes(9.5, 3.0)
    one.plot(dates(trading.time), trading.equity, color=BLUE, linewidth=1)
    peaks = np.maximum.accumulate(trading.equity)
    one.plot(dates(trading.time), peaks, color=GREEN, linewidth=0.6)
    one.set_ylabel("account currency")
    page.figure(figure, "Equity, and its highest so far.")
    names = list(found.by_model)[::-1]
    figure, one = axes(9.5, 0.8 + 0.26 * len(names))
    nets = [found.by_model[name] for name in names]
    one.barh(names, nets, color=[GREEN if net > 0 else RED for net in nets])
    page.figure(figure, "Net result of each model's closed positions.")
    return page
