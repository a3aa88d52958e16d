"""What the policy says: actions, margins, the order of events it was trained with, and whether its twin forgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.training.audit.findings import Finding, Severity
from oracle_batch.training.audit.subject import Subject
from oracle_batch.training.backtest.ledger import twin_trades
from oracle_batch.training.backtest.lives import joins, live
from oracle_batch.training.pages import counted
from oracle_batch.types import ACTIONS, STORED_BARS, WINDOW

NARROW: Final = 0.05
"""Probability by which the best action leads the next: below this the choice hangs on a hair."""
STARTS: Final = 60
SATURATED: Final = 265.0
"""Profit at which tanh(profit / 100) is 0.99."""
BLIND: Final = 1.0
WARM_UP: Final = STORED_BARS - WINDOW + 1
"""Silent decisions of a warm-up."""


def actions(subject: Subject) -> Finding:
    """Which actions are used."""
    shares = np.bincount(subject.life.action, minlength=len(ACTIONS)) / len(subject.life)
    unused = [action.name for action in ACTIONS if not shares[action.index]]
    longs, shorts = float(shares[1:4].sum()), float(shares[4:].sum())
    numbers: dict[str, Any] = {
        "shares": {action.name: float(shares[action.index]) for action in ACTIONS},
        "unused": unused,
        "long": longs,
        "short": shorts,
        "flat": float(shares[0]),
    }
    top = ACTIONS[int(shares.argmax())]
    severity: Severity = "ok"
    text = f"Long on {longs:.0%} of the bars, short on {shorts:.0%}, flat on {shares[0]:.0%}."
    if unused:
        severity = "note"
        text += f" Never used: {', '.join(unused)}."
    if shares.max() > 0.9:
        severity = "warning"
        idle = "it hardly trades" if longs + shorts else "it never trades"
        why = "close to holding one position for ever" if top.direction else idle
        text += f" {top.name} is said on {shares.max():.0%} of the bars: {why}."
    if longs + shorts and (max(longs, shorts) > 0.95 or min(longs, shorts) == 0):
        severity = "critical" if max(longs, shorts) > 0.95 else "warning"
        text += " It trades one direction only, so its result is mostly the market's own."
    return Finding("ACTIONS", severity, text, numbers)


def margins(subject: Subject) -> Finding:
    """How far the best action leads."""
    lead = leads(subject)
    numbers = {
        "median_lead": float(np.median(lead)),
        "p5_lead": float(np.quantile(lead, 0.05)),
        "narrow": NARROW,
        "narrow_share": float(np.mean(lead < NARROW)),
    }
    severity: Severity = "note" if numbers["narrow_share"] > 0.2 else "ok"
    text = f"The best action leads the next by {numbers['median_lead']:.2f} in probability at the median; on "
    text += f"{numbers['narrow_share']:.1%} of the bars by less than {NARROW}: there a small difference turns it."
    return Finding("ARGMAX_MARGINS", severity, text, numbers)


def leads(subject: Subject) -> NDArray[np.float64]:
    """Probability of the best action less that of the next, on each row."""
    logits = subject.logits().astype(np.float64)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    best = np.sort(chances, axis=1)
    found: NDArray[np.float64] = best[:, -1] - best[:, -2]
    return found


def observation_pnl(subject: Subject) -> Finding:
    """What changes if training showed the policy the floating profit of the other bar."""
    own = subject.model.observation_pnl
    other = "current" if own == "previous" else "previous"
    life = live(replace(subject.sight, model=replace(subject.model, observation_pnl=other)))  # type: ignore[arg-type]
    differs = float(np.mean(life.action != subject.life.action))
    numbers = {
        "observation_pnl": own,
        "actions_differ": differs,
        "result": float(subject.life.equity[-1]),
        "result_otherwise": float(life.equity[-1]),
    }
    stated = "observation_pnl" in subject.metadata or "observation_pnl" in subject.metadata.get("rl_config", {})
    numbers["stated"] = stated
    severity: Severity = "ok" if stated or differs < 0.02 else "warning" if differs > 0.1 else "note"
    text = f"With `{other}` instead of `{own}` {differs:.1%} of the actions are others, and the twin ends at "
    text += f"{numbers['result_otherwise']:.2f} instead of {numbers['result']:.2f}."
    if not stated:
        text += " The bundle does not say which one it was trained with."
    return Finding("OBSERVATION_PNL", severity, text, numbers)


def convergence(subject: Subject) -> Finding:
    """After how many bars a twin that starts anywhere is the one that has always been there."""
    found = joined_after(subject)
    never = float(np.mean(found < 0))
    met = found[found >= 0]
    late = float(np.mean((found < 0) | (found > WARM_UP)))
    numbers: dict[str, Any] = {
        "starts": len(found),
        "median_bars": float(np.median(met)) if len(met) else None,
        "p95_bars": float(np.quantile(met, 0.95)) if len(met) else None,
        "max_bars": int(met.max()) if len(met) else None,
        "never": never,
        "not_within_a_warm_up": late,
    }
    severity: Severity = "critical" if late > 0.2 else "warning" if late else "ok"
    text = f"From {len(found)} start bars the twin "
    text += (
        f"becomes the same after {numbers['median_bars']:.0f} bars at the median and {numbers['max_bars']} at most"
        if len(met)
        else "never becomes the same"
    )
    text += f"; {late:.0%} do not within the {WARM_UP} bars of a warm-up."
    if late:
        text += " Two machines that warmed up at different times may hold different positions."
    return Finding("TWIN_CONVERGENCE", severity, text, numbers)


def joined_after(subject: Subject) -> NDArray[np.int64]:
    """Bars until twins from evenly spread start rows are the one from row 0; -1: never."""
    last = max(1, len(subject.sight) - WARM_UP - 1)
    return joins(subject.sight, np.linspace(1, last, STARTS).astype(int).tolist())


def turnover(subject: Subject) -> Finding:
    """What trading so often costs, against what it makes before costs."""
    trades = twin_trades(subject.life)
    days = max(1, len(np.unique(subject.life.time // 86400)))
    gross, costs, net = float(trades.gross.sum()), float(trades.costs.sum()), float(trades.net.sum())
    held = len(subject.life) / max(1, len(trades))
    numbers: dict[str, Any] = {
        "trades": len(trades),
        "trades_per_day": len(trades) / days,
        "bars_per_trade": held,
        "gross": gross,
        "costs": costs,
        "net": net,
        "costs_over_gross": costs / gross if gross > 0 else None,
    }
    severity: Severity = "ok"
    if net < 0:
        severity = "critical"
    elif gross > 0 and costs > 0.5 * gross:
        severity = "warning"
    if not len(trades):
        return Finding("TURNOVER", "ok", "It never trades.", numbers)
    text = f"{counted(len(trades), 'trade')}, {numbers['trades_per_day']:.1f} a day, a new one every {held:.1f} bars: "
    text += f"{gross:.2f} before costs, {costs:.2f} of costs, {net:.2f} left (all bars, in-sample ones too)."
    if net < 0 < gross:
        text += " The costs eat more than the signal makes."
    elif gross < 0:
        text += " It loses even before costs."
    return Finding("TURNOVER", severity, text, numbers)


def saturation(subject: Subject) -> Finding:
    """Whether the policy can still tell one floating profit from another: tanh(profit / 100) ends at ±1."""
    life = subject.life
    held = life.action != 0
    size = np.abs(life.floating_pnl[held])
    full = float(np.mean(size > SATURATED)) if len(size) else 0.0
    blind = float(np.mean(size < BLIND)) if len(size) else 0.0
    numbers = {
        "median_floating_pnl": float(np.median(size)) if len(size) else 0.0,
        "saturated_share": full,
        "below_a_hundredth_share": blind,
    }
    if full > 0.2:
        text = f"On {full:.0%} of the bars in a position the floating profit is beyond ±{SATURATED:g}, where the "
        text += "observation is all but ±1: the policy cannot see how much it wins or loses."
        return Finding("PNL_SATURATED", "warning", text, numbers)
    if blind > 0.8:
        text = f"On {blind:.0%} of the bars in a position the floating profit moves the observation by less than 0.01: "
        text += "with these lots the policy hardly sees its own result."
        return Finding("PNL_UNSEEN", "note", text, numbers)
    return Finding("PNL_SEEN", "ok", "The floating profit stays where the observation tells it apart.", numbers)
