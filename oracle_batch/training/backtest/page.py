"""A backtest as a page to read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oracle_batch.training.backtest.metrics import Metrics
from oracle_batch.training.backtest.run import Backtest, Report
from oracle_batch.training.backtest.walk_forward import WalkForward
from oracle_batch.training.pages import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Page,
    axes,
    dates,
    number,
    percent,
)
from oracle_batch.types import utc

Row = tuple[str, Callable[[Metrics], str]]
ROWS: tuple[Row, ...] = (
    ("total return", lambda one: percent(one.total_return, 2)),
    ("CAGR", lambda one: percent(one.cagr, 2)),
    ("volatility, annual", lambda one: percent(one.volatility)),
    ("Sharpe ratio", lambda one: number(one.sharpe)),
    ("Sortino ratio", lambda one: number(one.sortino)),
    ("Calmar ratio", lambda one: number(one.calmar)),
    ("maximum drawdown", lambda one: percent(one.max_drawdown, 2)),
    ("trades", lambda one: str(one.trades)),
    ("profit factor", lambda one: number(one.profit_factor)),
    ("win rate", lambda one: percent(one.win_rate)),
    ("expectancy per trade", lambda one: number(one.expectancy)),
    ("exposure", lambda one: percent(one.exposure)),
    ("turnover, times equity a year", lambda one: number(one.turnover, 1)),
    ("costs", lambda one: number(one.costs)),
    ("swap", lambda one: number(one.swap)),
    ("cost share of gross results", lambda one: percent(one.cost_share)),
    ("days", lambda one: str(one.days)),
)


def page_of(found: Backtest, refitted: WalkForward | None = None) -> Page:
    """Verdict, numbers, doubts, and the pictures behind them."""
    report = found.report
    page = Page(f"Backtest of {report.model}", f"{report.verdict[:1].upper()}{report.verdict[1:]}.")
    page.paragraph(
        f"{report.bars} bars of {report.bars_from}, {utc(report.first_bar)} to {utc(report.last_bar)}; bundle "
        f"{report.sha256[:16]}…. Spread: {report.spread_source}. Swap: {report.swap_source}.",
        small=True,
    )
    if report.doubts:
        page.heading("Why not to believe it")
        page.table(("", "reason"), [(str(place), reason) for place, reason in enumerate(report.doubts, 1)])
    page.heading("Results")
    page.paragraph(f"What counts as unseen: {report.boundaries}.")
    _results(page, report)
    _curve(page, found)
    _honesty(page, report)
    _trades(page, found)
    if refitted is not None:
        _refits(page, refitted)
    return page


def _refits(page: Page, refitted: WalkForward) -> None:
    page.heading("Walk-forward: fitted anew, judged on what came next")
    rows = [
        (
            utc(fold.start),
            utc(fold.end),
            fold.fitted_on,
            number(fold.net),
            number(fold.metrics.sharpe),
            percent(fold.metrics.max_drawdown, 2),
            fold.metrics.trades,
        )
        for fold in refitted.folds
    ]
    page.table(("from", "to", "bars known", "net", "Sharpe", "drawdown", "trades"), rows)
    page.paragraph(
        f"{percent(refitted.total_return, 2)} over all folds, {percent(refitted.winning, 0)} of them won; each policy "
        f"was trained for {refitted.steps:,} steps."
    )


def _results(page: Page, report: Report) -> None:
    columns: list[tuple[str, Metrics]] = []
    if report.headline is not None:
        columns.append(("unseen bars", report.headline))
    columns += [(f"costs ×{factor}", one) for factor, one in report.stress.items() if factor != "1"]
    if report.account is not None:
        columns.append(("account, with hands and market", report.account.metrics))
        higher = {factor: one for factor, one in report.account.stress.items() if factor != "1"}
        columns += [(f"account, costs ×{factor}", one) for factor, one in higher.items()]
    if report.in_sample is not None:
        columns.append(("in sample: no evidence", report.in_sample))
    if report.headline is None:
        columns.insert(0, ("all bars: no evidence", report.whole))
    page.table(
        ("", *(name for name, _ in columns)), [(name, *(pick(one) for _, one in columns)) for name, pick in ROWS]
    )
    if report.account is not None:
        own = report.account
        refused = ", ".join(f"{code} {count}" for code, count in sorted(own.refused.items())) or "none"
        ends = ", ".join(f"{reason} {count}" for reason, count in sorted(own.ends.items())) or "none"
        page.paragraph(
            f"The account: spread {own.spread_source}; swap {own.swap_source}; rates {', '.join(own.rate_sources)}. "
            f"Refused entries: {refused}. Positions ended by: {ends}."
        )


def _curve(page: Page, found: Backtest) -> None:
    report, life = found.report, found.life
    figure, (top, below) = axes(9.5, 4.2, rows=2, sharex=True, height_ratios=(2, 1))
    equity = report.balance + life.equity
    step = max(1, len(equity) // 4000)
    time = dates(life.time)
    top.plot(time[::step], equity[::step], color=BLUE, linewidth=1, label="the model's own books")
    if found.trading is not None:
        top.plot(dates(found.trading.time), found.trading.equity, color=ORANGE, linewidth=1, label="account")
    fall = 100 * (equity / np.maximum.accumulate(equity) - 1)
    below.fill_between(time[::step], fall[::step], color=RED, alpha=0.45, linewidth=0)
    end = report.unseen_from if report.unseen_from is not None else int(life.time[-1])
    if end > life.time[0]:
        for one in (top, below):
            one.axvspan(time[0], dates([end])[0], color=GREY, alpha=0.2, linewidth=0)
    top.set_ylabel("account currency")
    below.set_ylabel("drawdown, %")
    top.legend(fontsize=8, frameon=False)
    page.figure(figure, "Grey: bars that the model has seen, or may have; they are no evidence.")


def _honesty(page: Page, report: Report) -> None:
    page.heading("How far to believe it")
    own = report.honesty
    if own is not None:
        known = "" if own.trials_known else " (the bundle does not say how many were tried: this flatters it)"
        rows: list[tuple[str, str]] = [
            ("trials", f"{own.trials}{known}"),
            ("probability that the Sharpe ratio is above 0", number(own.probabilistic_sharpe)),
            ("deflated Sharpe ratio (probability, after the trials)", number(own.deflated_sharpe)),
            ("p-value of the mean daily return", number(own.p_value, 3)),
            ("p-value within the family of bundles", number(own.family_p_value, 3)),
            ("probability of backtest overfitting (CSCV)", number(own.overfitting)),
        ]
        for name, found in (
            ("Sharpe ratio, 95 %", own.sharpe),
            ("yearly return, 95 %", own.yearly_return),
            ("maximum drawdown, 95 %", own.max_drawdown),
        ):
            rows.append(
                (name, "–" if found is None else f"{found.value:.2f}, from {found.low:.2f} to {found.high:.2f}")
            )
        if own.seeds:
            rows.append(
                ("seeds", ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in own.seeds.items()))
            )
        page.table(("", ""), rows)
    shown = [
        (
            name.replace("_", " "),
            number(one.net),
            "–" if one.net_low is None else f"{one.net_low:,.2f} to {one.net_high:,.2f}",
            one.draws,
            percent(one.beaten, 0),
        )
        for name, one in report.baselines.items()
    ]
    page.table(("on the same bars", "result", "5 % to 95 %", "draws", "beaten"), shown)


def _trades(page: Page, found: Backtest) -> None:
    trades = found.trades
    if not len(trades):
        return
    page.heading("Where it comes from")
    figure, (left, middle, right) = axes(9.5, 2.6, columns=3)
    states = sorted(set(trades.hmm_state.tolist()))
    nets = [float(trades.net[trades.hmm_state == state].sum()) for state in states]
    left.set_xticks(states)
    left.bar(states, nets, color=[COLOURS[state % len(COLOURS)] for state in states])
    left.set_title("net result by regime", fontsize=9, loc="left")
    hours = trades.opened // 3600 % 24
    nets = [float(trades.net[hours == hour].sum()) for hour in range(24)]
    middle.bar(range(24), nets, color=[GREEN if one > 0 else RED for one in nets])
    middle.set_title("net result by hour of entry, UTC", fontsize=9, loc="left")
    low, high = np.quantile(trades.net, (0.01, 0.99))
    right.hist(np.clip(trades.net, low, high), bins=40, color=BLUE)
    right.set_title("results of the trades", fontsize=9, loc="left")
    page.figure(figure, "The trades of the bars that count above; the outermost 1 % of the results are drawn in.")
