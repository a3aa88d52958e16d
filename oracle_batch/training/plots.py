"""The training report's figures, each as the text of an ``<img>``; matplotlib without a display."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.score import Result

WIDTH, HEIGHT, DPI = 9.0, 3.0, 80
INK, GOOD, BAD = "#1f4e79", "#2e7d32", "#b3261e"


def image(figure: Figure, title: str) -> str:
    """The figure as an inline PNG."""
    figure.set_layout_engine("constrained")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return f'<img alt="{title}" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'


def _axes(title: str, rows: int = 1, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots(rows, 1, sharex=rows > 1)
    (axes[0] if rows > 1 else axes).set_title(title, loc="left", fontsize=10)
    return figure, axes


def _dates(axes: Axes, time: NDArray[np.int64]) -> NDArray[np.datetime64]:
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return time.astype("datetime64[s]")


def equity_and_drawdown(result: Result) -> str:
    """The equity curve of the twin, and how far it is below its peak."""
    figure, (above, below) = _axes("Out of sample: equity and drawdown", 2, 4.2)
    days = _dates(above, result.time)
    equity = result.equity[1:]
    above.plot(days, equity, color=INK, linewidth=1)
    above.axhline(result.equity[0], color="grey", linewidth=0.6)
    above.set_ylabel("account currency")
    peaks = np.maximum.accumulate(result.equity)[1:]
    below.fill_between(days, 100 * (equity / peaks - 1), 0, color=BAD, alpha=0.5, linewidth=0)
    below.set_ylabel("% below peak")
    return image(figure, "equity and drawdown")


def price_by_regime(result: Result, names: Sequence[str]) -> str:
    """The closes, each bar in its regime's colour."""
    figure, axes = _axes("Out of sample: price by regime")
    days, colours = _dates(axes, result.time), mpl.colormaps["RdYlGn"]
    for state, name in enumerate(names):
        here = result.states == state
        shade = colours(state / max(len(names) - 1, 1))
        axes.plot(days[here], result.close[here], ".", markersize=2, color=shade, label=f"{state} {name}")
    axes.legend(fontsize=7, markerscale=5, ncols=len(names))
    return image(figure, "price by regime")


def _bars(axes: Axes, values: Sequence[float], labels: Sequence[str]) -> None:
    places = np.arange(len(values))
    axes.bar(places, values, color=[GOOD if one >= 0 else BAD for one in values])
    axes.set_xticks(places, labels, fontsize=8)
    axes.axhline(0, color="grey", linewidth=0.6)


def trades_by_regime_and_hour(result: Result, names: Sequence[str]) -> str:
    """Net profit of the closed trades by the regime and by the UTC hour in which they began."""
    figure = Figure(figsize=(WIDTH, 4.6))
    above, below = figure.subplots(2, 1)
    by_state, by_hour = np.zeros(len(names)), np.zeros(24)
    counts = np.zeros(len(names), int)
    for turn in result.turns:
        by_state[turn.hmm_state] += turn.profit
        counts[turn.hmm_state] += 1
        by_hour[turn.entry_time // 3600 % 24] += turn.profit
    _bars(above, by_state.tolist(), [f"{name}\n{count} trades" for name, count in zip(names, counts, strict=True)])
    above.set_title("Out of sample: net profit by regime at entry", loc="left", fontsize=10)
    _bars(below, by_hour.tolist(), [str(hour) for hour in range(24)])
    below.set_title("… and by UTC hour of entry", loc="left", fontsize=10)
    return image(figure, "trades by regime and hour")


def occupancy(states: Sequence[dict[str, Any]]) -> str:
    """Shares of bars in each regime, part by part."""
    figure, axes = _axes("Share of bars in each regime")
    places = np.arange(len(states))
    for shift, part in enumerate(("train", "validation", "test")):
        axes.bar(places + 0.27 * (shift - 1), [one["occupancy"][part] for one in states], 0.25, label=part)
    axes.set_xticks(places, [f"{one['state']} {one['name']}" for one in states], fontsize=8)
    axes.legend(fontsize=8)
    return image(figure, "state occupancy")


def selection(policies: Sequence[FittedPolicy], chosen: int) -> str:
    """The validation score of each seed as training went on."""
    figure, axes = _axes("Validation score (mean reward of a bar) by training steps, one line a seed")
    for policy in policies:
        steps = [one.steps for one in policy.evaluations]
        scores = [one.validation.score for one in policy.evaluations]
        wide = policy.seed == chosen
        axes.plot(steps, scores, linewidth=2 if wide else 0.8, color=INK if wide else "grey")
        axes.plot([policy.best.steps], [policy.best.validation.score], "o", color=INK if wide else "grey", markersize=4)
    axes.axhline(0, color="grey", linewidth=0.6)
    return image(figure, "selection on validation")
