"""An audit as a page to read."""

from __future__ import annotations

import numpy as np

from oracle_batch.training.audit.decisions import NARROW, WARM_UP, joined_after, leads
from oracle_batch.training.audit.findings import SEVERITIES, Audit, Finding
from oracle_batch.training.audit.subject import Subject
from oracle_batch.training.pages import BLUE, COLOURS, GREY, MUTED, ORANGE, RED, Page, axes, dates
from oracle_batch.types import ACTIONS, utc


def page_of(audit: Audit, subject: Subject) -> Page:
    """Verdict, findings by weight, and the pictures behind them."""
    page = Page(f"Audit of {audit.model}", audit.verdict)
    page.paragraph(
        f"{audit.bars} bars from {utc(audit.first_bar)} to {utc(audit.last_bar)}; bundle {audit.sha256[:16]}…",
        small=True,
    )
    order = sorted(audit.findings, key=lambda one: -SEVERITIES.index(one.severity))
    page.heading("What was found")
    page.table(("severity", "code", "what it means"), [(one.severity, one.code, one.text) for one in order])
    numbers = {one.code: one for one in audit.findings}
    _regimes(page, subject)
    _actions(page, subject)
    _features(page, numbers)
    _twin(page, subject)
    return page


def _regimes(page: Page, subject: Subject) -> None:
    page.heading("Regimes")
    figure, (left, right) = axes(9.5, 2.8, columns=2, width_ratios=(2.2, 1))
    states, time, close = subject.sight.hmm_state, subject.sight.time, subject.sight.close
    rows = slice(-min(1500, len(states)), None)
    for state in range(subject.model.regime.n_states):
        mine = states[rows] == state
        left.scatter(
            dates(time[rows][mine]), close[rows][mine], s=3, color=COLOURS[state % len(COLOURS)], label=f"state {state}"
        )
    left.set_title("price, coloured by the decoded state", fontsize=9, loc="left")
    left.legend(fontsize=7, frameon=False, markerscale=3)
    shares = np.bincount(states, minlength=subject.model.regime.n_states) / len(states)
    right.bar(range(len(shares)), 100 * shares, color=[COLOURS[one % len(COLOURS)] for one in range(len(shares))])
    right.set_title("share of bars, %", fontsize=9, loc="left")
    right.set_xticks(range(len(shares)))
    right.set_xlabel("state")
    page.figure(figure, f"The last {len(states[rows])} bars, and the occupancy of each state over all bars.")


def _actions(page: Page, subject: Subject) -> None:
    page.heading("Decisions")
    figure, (left, right) = axes(9.5, 2.6, columns=2)
    shares = np.bincount(subject.life.action, minlength=len(ACTIONS)) / len(subject.life)
    names = [action.name.replace("_", " ").lower() for action in ACTIONS]
    left.barh(names[::-1], 100 * shares[::-1], color=BLUE)
    left.set_title("actions, % of bars", fontsize=9, loc="left")
    lead = leads(subject)
    right.hist(lead, bins=50, range=(0, 1), color=BLUE)
    right.axvline(NARROW, color=RED, linewidth=1)
    right.set_title("lead of the best action over the next, in probability", fontsize=9, loc="left")
    right.set_ylabel("bars")
    page.figure(figure, f"Left of the red line ({NARROW}) a small difference in the data turns the decision.")
    figure, one = axes(9.5, 2.4)
    one.plot(dates(subject.life.time), subject.life.equity, color=BLUE, linewidth=1)
    until = subject.boundaries.trained_until
    if until is not None and until > subject.life.time[0]:
        one.axvspan(
            dates(subject.life.time[:1])[0], dates([min(until, subject.life.time[-1])])[0], color=GREY, alpha=0.2
        )
    one.set_ylabel("account currency")
    one.set_title("the twin's profit, realized and floating", fontsize=9, loc="left")
    page.figure(
        figure,
        f"Grey: bars that the model was fitted on. The bundle's boundaries: {subject.boundaries.words}.",
    )


def _features(page: Page, numbers: dict[str, Finding]) -> None:
    page.heading("What it sees")
    found = numbers["VOLUME_SEASONALITY"].numbers["volume_by_hour"]
    drift = numbers["DRIFT"].numbers["features"] if "DRIFT" in numbers else {}
    figure, (left, right) = axes(9.5, 2.6, columns=2)
    left.bar(range(24), [one or 0 for one in found], color=BLUE)
    left.set_title("mean volume by hour of the bar, UTC", fontsize=9, loc="left")
    left.set_xlabel("hour")
    if drift:
        names = list(drift)[::-1]
        values = [drift[name]["psi"] for name in names]
        right.barh(
            [name.replace("_", " ") for name in names], values, color=[RED if one > 0.25 else BLUE for one in values]
        )
        right.axvline(0.25, color=MUTED, linewidth=1, linestyle="--")
        right.set_title("drift since training, PSI", fontsize=9, loc="left")
    else:
        right.text(0.5, 0.5, "no training part in these bars", ha="center", va="center", color=MUTED)
        right.set_axis_off()
    page.figure(figure, "A PSI above 0.25 (dashed) is commonly read as another population.")


def _twin(page: Page, subject: Subject) -> None:
    page.heading("Does the twin forget where it started?")
    found = joined_after(subject)
    met = np.sort(found[found >= 0])
    figure, one = axes(9.5, 2.4)
    one.step(np.concatenate([[0], met]), 100 * np.arange(len(met) + 1) / len(found), where="post", color=BLUE)
    one.axvline(WARM_UP, color=ORANGE, linewidth=1)
    one.set_ylim(0, 103)
    one.set_xlabel("bars since the start")
    one.set_ylabel("starts that agree, %")
    page.figure(
        figure,
        f"Twins from {len(found)} start bars against the one that was always there; orange: a warm-up of {WARM_UP}.",
    )
