"""The training report: one HTML page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import msgspec

from oracle_batch.bars import utc
from oracle_batch.training import plots
from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.prepare import Prepared
from oracle_batch.training.score import Result, Score

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .6rem 0 } td, th { padding: .15rem .7rem; text-align: right }
th { border-bottom: 1px solid #888; font-weight: 600 } td:first-child, th:first-child { text-align: left }
img { max-width: 100%; display: block; margin: .8rem 0 } .note { color: #555 } .verdict { font-size: 1.1rem }
"""


def page(
    prepared: Prepared, policies: Sequence[FittedPolicy], chosen: FittedPolicy, results: Sequence[Result], told: Any
) -> str:
    """The report. ``results`` are the test part's, in the order of ``policies``; ``told`` the bundle's own summary."""
    result = results[list(policies).index(chosen)]
    states = told["hmm_state_analysis"]
    names = [one["name"] for one in states]
    history, parts = prepared.history, prepared.parts
    time = history.bars.time
    sections = [
        f"<h1>{html.escape(prepared.model_id)}: training report</h1>",
        f'<p class="verdict">{html.escape(verdict(told))}</p>',
        f'<p class="note">{len(policies)} seeds, {told["selection"]["trials"]} trials on record. The bundle holds the '
        f"policy of seed {chosen.seed}, the median by validation score, after {chosen.best.steps:,} steps. The test "
        "part was scored once, after this choice. Twin equity: every action executed at its bar's close, at the "
        "training costs.</p>",
        "<h2>Data</h2>",
        table(
            ("part", "bars", "first bar", "last bar", "scored"),
            [
                (
                    part.name,
                    f"{len(part):,}",
                    utc(time[part.start]),
                    utc(time[part.stop - 1]),
                    f"{len(part) - part.warmup:,}",
                )
                for part in parts
            ],
        ),
        f'<p class="note">{html.escape(history.source)}, sha256 {history.sha256[:16]}…</p>',
        "<h2>Out of sample</h2>",
        table(("", "validation", "test"), _compared(chosen.best.validation, result.score)),
        plots.equity_and_drawdown(result),
        plots.price_by_regime(result, names),
        plots.trades_by_regime_and_hour(result, names),
        "<h2>Seeds</h2>",
        table(
            ("seed", "steps", "validation score", "validation profit", "test profit", "test Sharpe", "test trades"),
            [
                (
                    f"{one.seed}{' (in the bundle)' if one is chosen else ''}",
                    f"{one.best.steps:,}",
                    f"{one.best.validation.score:.4f}",
                    f"{one.best.validation.net_profit:.2f}",
                    f"{other.score.net_profit:.2f}",
                    number(other.score.sharpe),
                    str(other.score.trades),
                )
                for one, other in zip(policies, results, strict=True)
            ],
        ),
        plots.selection(policies, chosen.seed),
        "<h2>Regimes</h2>",
        table(
            ("regime", "momentum", "range position", "mean duration", "next bar, bp", "± sd"),
            [
                (
                    f"{one['state']} {one['name']}",
                    f"{one['mean_momentum']:.3f}",
                    f"{one['mean_range_position']:.2f}",
                    f"{one['mean_duration_bars']:.1f} bars",
                    number(one["next_bar_bp"], 3),
                    number(one["next_bar_sd_bp"]),
                )
                for one in states
            ],
        ),
        plots.occupancy(states),
        "<h2>Parameters</h2>",
        f"<pre>{html.escape(msgspec.json.format(msgspec.json.encode(prepared.parameters), indent=2).decode())}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(prepared.model_id)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n'


def verdict(told: Any) -> str:
    """What the test part says, in plain words."""
    spread = told["backtest_oos"]["seeds"]
    low, middle, high = (spread[name]["net_profit"] for name in ("lowest", "median", "highest"))
    words = f"Out of sample the median seed made {middle:.2f}, the seeds {low:.2f} to {high:.2f}"
    if low > 0:
        return f"{words}: every seed is above zero; the backtest command says whether that is more than luck."
    return f"{words}: no evidence of an edge."


def number(value: float | None, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _compared(validation: Score, test: Score) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in Score.__struct_fields__:
        one, other = getattr(validation, name), getattr(test, name)
        digits = 4 if name in ("score", "total_return", "max_drawdown", "exposure", "win_rate") else 2
        cells = (str(value) if isinstance(value, int) else number(value, digits) for value in (one, other))
        rows.append((name.replace("_", " "), *cells))
    return rows
