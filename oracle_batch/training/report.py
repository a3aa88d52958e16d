"""The training report: one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from oracle_batch.training import plots
from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.honesty.trials import LEAST_SEEDS
from oracle_batch.training.pages import Page, number, percent
from oracle_batch.training.prepare import Prepared
from oracle_batch.training.score import Result, Score
from oracle_batch.types import utc

_SHARES = ("total_return", "max_drawdown", "exposure", "win_rate")


def page(
    prepared: Prepared, policies: Sequence[FittedPolicy], chosen: FittedPolicy, results: Sequence[Result], told: Any
) -> str:
    """The report. ``results`` are the test part's, in the order of ``policies``; ``told`` the bundle's own summary."""
    result = results[list(policies).index(chosen)]
    states = told["hmm_state_analysis"]
    names = [one["name"] for one in states]
    out = Page(f"{prepared.model_id}: training report", verdict(told))
    out.paragraph(
        f"Seeds: {len(policies)}. Trials on record: {told['selection']['trials']}. The bundle holds the policy of seed "
        f"{chosen.seed}, the median by validation score, after {chosen.best.steps:,} steps. The test part was scored "
        "once, after this choice. Twin equity: every action executed at its bar's close, at the training costs."
    )
    _data(out, prepared)
    out.heading("Out of sample")
    out.table(("", "validation", "test"), _compared(chosen.best.validation, result.score))
    out.figure(plots.equity_and_drawdown(result), "Test part: equity and drawdown")
    out.figure(plots.price_by_regime(result, names), "Test part: price by regime")
    out.figure(plots.trades_by_regime_and_hour(result, names), "Test part: trades by regime and by UTC hour of entry")
    out.heading("Seeds")
    out.table(
        ("seed", "steps", "validation score", "validation profit", "test profit", "test Sharpe", "test trades"),
        [_seed(one, other, one is chosen) for one, other in zip(policies, results, strict=True)],
    )
    out.figure(plots.selection(policies, chosen.seed), "Validation score of each seed in training")
    out.heading("Regimes")
    out.table(
        ("regime", "momentum", "range position", "mean duration, bars", "next bar, bp", "± sd"),
        [
            (
                f"{one['state']} {one['name']}",
                number(one["mean_momentum"], 3),
                number(one["mean_range_position"]),
                number(one["mean_duration_bars"], 1),
                number(one["next_bar_bp"], 3),
                number(one["next_bar_sd_bp"]),
            )
            for one in states
        ],
    )
    out.figure(plots.occupancy(states), "Share of bars in each regime")
    out.heading("Parameters")
    out.table(("parameter", "value"), list(_flat(told["parameters"])))
    return out.text()


def _data(out: Page, prepared: Prepared) -> None:
    time = prepared.history.bars.time
    out.heading("Data")
    out.table(
        ("part", "bars", "first bar", "last bar", "scored"),
        [
            (part.name, len(part), utc(time[part.start]), utc(time[part.stop - 1]), len(part) - part.warmup)
            for part in prepared.parts
        ],
    )
    out.paragraph(f"{prepared.history.source}, sha256 {prepared.history.sha256}", small=True)


def verdict(told: Any) -> str:
    """What the test part says, in plain words."""
    spread = told["backtest_oos"]["seeds"]
    low, middle, high = (spread[name]["net_profit"] for name in ("lowest", "median", "highest"))
    if spread["count"] == 1:
        words = f"Out of sample the only seed made {middle:.2f}"
    else:
        words = f"Out of sample the median seed made {middle:.2f}, the seeds {low:.2f} to {high:.2f}"
    if low > 0 and spread["count"] < LEAST_SEEDS:
        return f"{words}: no evidence of an edge, {LEAST_SEEDS} seeds are the least."
    if low > 0:
        return f"{words}: every seed is above zero; the backtest command says whether that is more than luck."
    return f"{words}: no evidence of an edge."


def _seed(policy: FittedPolicy, result: Result, chosen: bool) -> tuple[object, ...]:
    return (
        f"{policy.seed}{' (in the bundle)' if chosen else ''}",
        policy.best.steps,
        number(policy.best.validation.score, 4),
        number(policy.best.validation.net_profit),
        number(result.score.net_profit),
        number(result.score.sharpe),
        result.score.trades,
    )


def _compared(validation: Score, test: Score) -> Iterator[tuple[str, ...]]:
    for name in Score.__struct_fields__:
        values = (getattr(one, name) for one in (validation, test))
        if name in _SHARES:
            cells = tuple(percent(value, 2) for value in values)
        else:
            cells = tuple(str(value) if isinstance(value, int) else number(value, 4) for value in values)
        yield (name.replace("_", " "), *cells)


def _flat(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for section, values in parameters.items():
        if isinstance(values, dict):
            yield from ((f"{section}.{name}", str(value)) for name, value in values.items())
        else:
            yield section, str(values)
