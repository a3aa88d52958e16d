"""The figures of the training report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.pages import BLUE, GREEN, GREY, ORANGE, RED, axes, dates
from oracle_batch.training.score import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIDDLE = "#c9b037"
"""The colour of a regime that leads nowhere."""
MOST_NAMED = 5
"""More regimes than these are told apart by their numbers: their names would not fit."""


def labels(names: Sequence[str]) -> list[str]:
    """What a figure calls the regimes.

    >>> labels(["bearish", "bullish"]), labels(["one"] * 6)
    (['0 bearish', '1 bullish'], ['0', '1', '2', '3', '4', '5'])
    """
    return [f"{state} {name}" if len(names) <= MOST_NAMED else str(state) for state, name in enumerate(names)]


def equity_and_drawdown(result: Result) -> Figure:
    """The equity curve of the twin, and how far it is below its peak."""
    figure, (above, below) = axes(height=4.4, rows=2, sharex=True)
    equity = result.equity[1:]
    above.plot(dates(result.time), equity, color=BLUE, linewidth=1)
    above.axhline(result.equity[0], color=GREY, linewidth=0.6)
    above.set_ylabel("account currency")
    peaks = np.maximum.accumulate(result.equity)[1:]
    below.fill_between(dates(result.time), 100 * (equity / peaks - 1), 0, color=RED, alpha=0.5, linewidth=0)
    below.set_ylabel("% below peak")
    return figure


def price_by_regime(result: Result, names: Sequence[str]) -> Figure:
    """The closes, each bar in its regime's colour, from bearish red to bullish green."""
    import matplotlib as mpl

    figure, one = axes()
    colours = mpl.colors.LinearSegmentedColormap.from_list("regimes", (RED, ORANGE, MIDDLE, "#3f9fae", GREEN))
    for state, label in enumerate(labels(names)):
        here = result.states == state
        shade = colours(state / max(len(names) - 1, 1))
        one.plot(dates(result.time[here]), result.close[here], ".", markersize=3, color=shade, label=label)
    one.legend(fontsize=8, markerscale=4, ncols=min(len(names), 10), frameon=False)
    return figure


def trades_by_regime_and_hour(result: Result, names: Sequence[str]) -> Figure:
    """Net profit of the closed trades by the regime and by the UTC hour in which they began."""
    figure, (above, below) = axes(height=4.6, rows=2)
    by_state, by_hour, counts = np.zeros(len(names)), np.zeros(24), np.zeros(len(names), int)
    for turn in result.turns:
        by_state[turn.hmm_state] += turn.profit
        counts[turn.hmm_state] += 1
        by_hour[turn.entry_time // 3600 % 24] += turn.profit
    _bars(above, by_state, [f"{label}\n{count}" for label, count in zip(labels(names), counts, strict=True)])
    above.set_xlabel("regime, number of trades")
    below.set_xlabel("UTC hour of entry")
    _bars(below, by_hour, [str(hour) for hour in range(24)])
    return figure


def _bars(one: Axes, values: Any, labels: Sequence[str]) -> None:
    one.bar(range(len(values)), values, color=[GREEN if value >= 0 else RED for value in values])
    one.set_xticks(range(len(values)), labels)
    one.axhline(0, color=GREY, linewidth=0.6)
    one.set_ylabel("net profit")


def occupancy(states: Sequence[dict[str, Any]]) -> Figure:
    """Shares of bars in each regime, part by part."""
    figure, one = axes()
    places = np.arange(len(states))
    for shift, (part, colour) in enumerate({"train": GREY, "validation": BLUE, "test": GREEN}.items()):
        shares = [state["occupancy"][part] for state in states]
        one.bar(places + 0.27 * (shift - 1), shares, 0.25, label=part, color=colour)
    one.set_xticks(places, labels([state["name"] for state in states]))
    one.legend(fontsize=8, frameon=False)
    return figure


def selection(policies: Sequence[FittedPolicy], chosen: int) -> Figure:
    """The validation score of each seed as training went on; the chosen one in colour, its best score as a dot."""
    figure, one = axes()
    for policy in policies:
        colour, width = (BLUE, 2.0) if policy.seed == chosen else (GREY, 0.8)
        scores = [evaluation.validation.score for evaluation in policy.evaluations]
        steps = [evaluation.steps / 1000 for evaluation in policy.evaluations]
        one.plot(steps, scores, color=colour, linewidth=width)
        one.plot([policy.best.steps / 1000], [policy.best.validation.score], "o", color=colour, markersize=4)
    one.axhline(0, color=GREY, linewidth=0.6)
    one.set_xlabel("training steps, thousands")
    one.set_ylabel("mean reward of a bar")
    return figure
