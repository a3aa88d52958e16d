"""What the policy sees: the EMA's window, drift since training, gaps in the numbers, hours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.brain import features
from oracle_batch.market.spec_table import CURRENCIES
from oracle_batch.training.audit.findings import Finding, Severity
from oracle_batch.training.audit.subject import Subject
from oracle_batch.types import WINDOW

Float64 = NDArray[np.float64]
NAMES: Final = ("roc", "atr", "ema_distance", "range_position", "volume_ratio", "hour")
REGIME_NAMES: Final = ("momentum", "consistency", "regime_range_position")
BINS: Final = 10
PSI_NOTE, PSI_WARNING = 0.1, 0.25
"""The usual reading of the population stability index: below the first little has moved, above the second much has."""
PSI_OTHER: Final = 1.0
"""Beyond this one feature alone is another market; volatility by itself passes 0.25 from season to season."""
LEAST_ROWS: Final = 200
WEEK_OPEN: Final = range(20, 24)
"""UTC hours at which the FX week opens, on Sunday."""


def ema_skew(subject: Subject) -> Finding:
    """The EMA of a 350-bar window against one over all of history."""
    span, close = subject.model.features.ema_period, subject.bars.close
    whole = _recursive_ema(close, span)[WINDOW - 1 :]
    true = np.tanh(20 * (subject.sight.close - whole) / whole)
    seen = subject.sight.market[:, 2].astype(np.float64)
    settled = np.arange(len(seen)) >= min(4 * span, len(seen) // 2)
    gap = np.abs(seen - true)[settled]
    weight = float(features.ema_weights(span)[0])
    market = subject.sight.market.copy()
    market[:, 2] = true
    other = subject.logits(replace(subject.sight, market=market)).argmax(axis=1)
    differs = float(np.mean((other != subject.life.action)[settled]))
    numbers: dict[str, Any] = {
        "span": span,
        "weight_of_first_close": weight,
        "mean_gap": float(gap.mean()),
        "max_gap": float(gap.max()),
        "actions_differ": differs,
    }
    severity: Severity = "warning" if differs > 0.02 else "note" if differs > 0 else "ok"
    text = (
        f"The window's first close still weighs {weight:.2%} in the EMA({span}); against an EMA over all of history "
        f"the feature is off by {gap.mean():.4f} on average and {gap.max():.4f} at most, and {differs:.2%} of the "
        "actions would be others. It matters only if training used the long EMA."
    )
    return Finding("EMA_SKEW", severity, text, numbers)


def drift(subject: Subject) -> Finding:
    """How far each feature has moved since the training part: PSI and Kolmogorov-Smirnov distance."""
    before, after = subject.part("train"), subject.part("after")
    if before.sum() < LEAST_ROWS or after.sum() < LEAST_ROWS:
        text = "These bars do not hold both a training part and what came after; drift cannot be measured on them."
        few = {"train_rows": int(before.sum()), "later_rows": int(after.sum())}
        return Finding("DRIFT_UNKNOWN", "note", text, few)
    found: dict[str, dict[str, float]] = {}
    for place, name in enumerate(NAMES):
        values = subject.sight.market[:, place].astype(np.float64)
        found[name] = {"psi": psi(values[before], values[after]), "ks": ks_distance(values[before], values[after])}
    n_states = subject.model.regime.n_states
    states = subject.sight.hmm_state
    shares = [np.bincount(states[part], minlength=n_states) / part.sum() for part in (before, after)]
    found["hmm_state"] = {"psi": _psi_of_shares(*shares), "ks": float(np.abs(np.cumsum(shares[0] - shares[1])).max())}
    largest = max(found, key=lambda name: found[name]["psi"])
    top = found[largest]["psi"]
    moved = sum(one["psi"] > PSI_WARNING for one in found.values())
    severity: Severity = "warning" if moved > 1 or top > PSI_OTHER else "note" if top > PSI_NOTE else "ok"
    numbers: dict[str, Any] = {"features": found, "train_rows": int(before.sum()), "later_rows": int(after.sum())}
    text = f"Since training {largest} has moved most (PSI {top:.2f}, KS {found[largest]['ks']:.2f})"
    text += f"; {moved} of {len(found)} are beyond {PSI_WARNING}"
    text += ": the policy sees a market it was not trained on." if severity == "warning" else "."
    return Finding("DRIFT", severity, text, numbers)


def psi(before: Float64, after: Float64) -> float:
    """Population stability index over the deciles of ``before``.

    >>> psi(np.arange(100.0), np.arange(100.0))
    0.0
    """
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part) for part in (before, after)
    ]
    return _psi_of_shares(*shares)


def _psi_of_shares(before: Float64, after: Float64) -> float:
    before, after = np.maximum(before, 1e-4), np.maximum(after, 1e-4)
    return float(np.sum((after - before) * np.log(after / before)))


def ks_distance(before: Float64, after: Float64) -> float:
    """The largest gap between two empirical distribution functions.

    >>> ks_distance(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    1.0
    """
    points = np.concatenate([before, after])
    shares = [np.searchsorted(np.sort(part), points, side="right") / len(part) for part in (before, after)]
    return float(np.abs(shares[0] - shares[1]).max())


def gaps_in_numbers(subject: Subject) -> Finding:
    """Features that are NaN before they are zeroed, and bars that leave them nothing to say."""
    bars = subject.bars
    count = len(subject.sight)
    nan = _nan_share(subject, count)
    zero_volume = float(np.mean(bars.volume == 0))
    still = float(np.mean(bars.high == bars.low))
    numbers = {"nan_share": nan, "zero_volume": zero_volume, "bars_without_range": still}
    dead_volume = bool(np.ptp(bars.volume) == 0)
    numbers["volume_is_constant"] = dead_volume
    if max(nan.values()) > 0.001 or dead_volume or zero_volume > 0.05:
        text = f"NaN share {max(nan.values()):.2%}, bars without volume {zero_volume:.1%}"
        text += ", and the volume never changes: one feature is dead." if dead_volume else "."
        return Finding("NAN_OR_DEAD_FEATURES", "warning", text, numbers)
    text = f"No feature is NaN; {zero_volume:.2%} of the bars have no volume, {still:.2%} no range."
    return Finding("NAN_SHARE", "ok", text, numbers)


def _nan_share(subject: Subject, count: int) -> dict[str, float]:
    """Share of rows on which a value is NaN before it is zeroed."""
    bars, params = subject.bars, subject.model.features
    columns = features.Columns(*(getattr(bars, name)[:, None] for name in ("high", "low", "close", "volume")))
    regime, own = features.both_positions(columns, params, count, count)
    ema = features.window_ema(np.ascontiguousarray(bars.close[None]), params.ema_period, count)
    market = features.market_values(columns, own, ema, bars.time[-count:, None], params, count)[:, 0]
    inputs = features.regime_values(columns, regime, params, count)[:, 0]
    named = dict(zip(NAMES, market.T, strict=True)) | dict(zip(REGIME_NAMES, inputs.T, strict=True))
    return {name: float(np.mean(np.isnan(values))) for name, values in named.items()}


def seasonality(subject: Subject) -> Finding:
    """How much of the volume feature is only the hour."""
    hour = subject.sight.time // 3600 % 24
    value = subject.sight.market[:, 4].astype(np.float64)
    volume = subject.bars.volume[-len(value) :]
    means = np.array([volume[hour == one].mean() if np.any(hour == one) else np.nan for one in range(24)])
    fitted = np.array([value[hour == one].mean() if np.any(hour == one) else 0.0 for one in range(24)])[hour]
    spread = value.var()
    share = float(fitted.var() / spread) if spread > 0 else 0.0
    busiest = float(np.nanmax(means) / max(np.nanmin(means), 1e-9))
    numbers = {
        "volume_by_hour": [None if np.isnan(one) else float(one) for one in means],
        "explained_by_hour": share,
        "busiest_over_quietest": busiest,
    }
    severity: Severity = "note" if share > 0.2 else "ok"
    text = f"The busiest hour has {busiest:.1f} times the volume of the quietest; the hour explains {share:.0%} of the "
    text += "volume feature" + (", so it is mostly a second clock." if share > 0.2 else ".")
    return Finding("VOLUME_SEASONALITY", severity, text, numbers)


def clock(subject: Subject) -> Finding:
    """Whether the bars' hours can be UTC: the FX week opens on Sunday evening."""
    time = subject.bars.time
    if subject.model.timeframe == "D1":
        return Finding("CLOCK_UNKNOWN", "ok", "Bars of a day do not tell when the week opens.", {})
    after = time[1:][np.diff(time) > 30 * 3600]
    symbol = subject.model.symbol
    if len(after) < 8 or symbol[:3] not in CURRENCIES or symbol[3:6] not in CURRENCIES:
        return Finding("CLOCK_UNKNOWN", "ok", "Too few weekends, or no FX pair: the bars' clock is not judged.", {})
    hours, days = after // 3600 % 24, (after // 86400 + 3) % 7
    evening = float(np.mean((days == 6) & np.isin(hours, WEEK_OPEN)))
    usual = int(np.bincount(hours).argmax())
    numbers = {"weeks": len(after), "opens_on_sunday_evening": evening, "usual_opening_hour": usual}
    if evening < 0.5:
        text = (
            f"The FX week opens on Sunday between 21:00 and 22:00 UTC; in these bars it opens at {usual:02}:00 on "
            f"{'Monday' if np.mean(days == 0) > 0.5 else 'another day'}. They look like server time written as UTC. A "
            "model trained on them sees the wrong hour on a feed that is really UTC."
        )
        return Finding("CLOCK_NOT_UTC", "warning", text, numbers)
    return Finding("CLOCK_UTC", "ok", f"The weeks open at {usual:02}:00 UTC on Sunday, as they should.", numbers)


def _recursive_ema(close: Float64, span: int) -> Float64:
    alpha, found = 2.0 / (span + 1), np.empty(len(close))
    value = float(close[0])
    for row, price in enumerate(close.tolist()):
        value += alpha * (price - value)
        found[row] = value
    return found
