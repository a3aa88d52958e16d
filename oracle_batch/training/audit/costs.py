"""The bundle's money against the market's: digits, pip value, spread, and what the broker's files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from oracle_batch.market.rates import PLAUSIBLE
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.spec_table import CURRENCIES, shipped
from oracle_batch.training.audit.findings import Finding, Severity
from oracle_batch.training.audit.subject import Subject

ACCOUNT: Final = "USD"
NEAR, FAR = 1.15, 1.5
"""Factors by which a pip value may be off: rates move by less than the first in a quiet year, mistakes by more than the
second."""
FREE: Final = 0.005
"""A round turn that costs less than this share of a mean bar is no cost at all."""
COSTLY: Final = 1.0
SHORT_TRAINING: Final = 200_000
"""Steps below which a policy can hardly have settled, unless a rule on validation stopped it."""


def contract(subject: Subject) -> Finding:
    """Digits and pip value against the usual contract of the symbol, at the price of these bars."""
    costs, symbol = subject.model.costs, subject.model.broker_symbol
    terms = shipped(symbol)
    if terms is None:
        text = f"No usual contract of {symbol} is known; digits and pip value are not judged."
        return Finding("CONTRACT_UNKNOWN", "note", text, {"symbol": symbol})
    price = float(np.median(subject.bars.close[-2000:]))
    pip = 10.0**-terms.digits * (10 if terms.digits in (3, 5) else 1)
    rate, source = _rate(terms.base, terms.quote, price)
    expected = terms.lot_size * pip * rate if rate is not None else None
    per_unit = costs.pip_value / (costs.point * costs.points_per_pip)
    numbers: dict[str, Any] = {
        "digits": costs.digits,
        "usual_digits": terms.digits,
        "pip_value": costs.pip_value,
        "usual_pip_value": expected,
        "rate_from": source,
        "money_per_price_unit_and_lot": per_unit,
        "usual_money_per_price_unit_and_lot": terms.lot_size * rate if rate is not None else None,
        "price": price,
    }
    problems: list[str] = []
    scaled = False
    severity: Severity = "ok"
    if costs.digits != terms.digits:
        severity = "critical" if terms.base in CURRENCIES else "warning"  # brokers differ in how they quote an index
        problems.append(f"it counts {costs.digits} digits, the usual contract has {terms.digits}")
    if rate is not None:
        factor = per_unit / (terms.lot_size * rate)
        numbers["factor"] = factor
        off = max(factor, 1 / factor)
        if off > FAR:
            severity = "critical"
        elif off > NEAR and severity == "ok":
            severity = "warning"
        scaled = off > NEAR
        if scaled:
            problems.append(
                f"a lot makes {factor:.3g} times the money of the usual contract (pip value {costs.pip_value:g})"
            )
    if problems:
        text = f"The bundle's contract of {symbol} is not the market's: {'; '.join(problems)}. "
        text += (
            "The twin's profits, and so what the policy sees of them, are on another scale than the account's."
            if scaled
            else "Its points, in which spread and slippage are counted, may not be the broker's."
        )
        return Finding("CONTRACT_DIFFERS", severity, text, numbers)
    return Finding("CONTRACT", "ok", f"Digits and pip value fit the usual contract of {symbol}.", numbers)


def _rate(base: str, quote: str, price: float) -> tuple[float | None, str]:
    """USD per unit of the quote asset: exact for pairs with USD, else a plausible one."""
    if quote == ACCOUNT:
        return 1.0, "same"
    if base == ACCOUNT:
        return 1.0 / price, "these bars"
    rough = PLAUSIBLE.get(quote)
    return (1.0 / rough, "rough") if rough else (None, "unknown")


def trading_costs(subject: Subject, broker: Mapping[str, SymbolSettings]) -> Finding:
    """What a round turn costs in the bundle, in bars' ranges, and against the operator's symbols.json."""
    costs, symbol = subject.model.costs, subject.model.broker_symbol
    bars = subject.bars
    mean_range = float(np.mean(bars.high - bars.low))
    per_unit = costs.pip_value / (costs.point * costs.points_per_pip)
    turn = (costs.spread_points + 2 * costs.slippage_points) * costs.point + costs.commission_per_lot / per_unit
    share = turn / mean_range if mean_range else float("inf")
    numbers: dict[str, Any] = {
        "spread_points": costs.spread_points,
        "slippage_points": costs.slippage_points,
        "commission_per_lot": costs.commission_per_lot,
        "round_turn_price": turn,
        "mean_bar_range": mean_range,
        "round_turn_in_bars": share,
    }
    severity: Severity = "ok"
    text = f"A round turn costs {turn:.6g} of price, {share:.1%} of a mean bar's range."
    spread_share = (costs.spread_points * costs.point) / mean_range if mean_range else 0.0
    numbers["spread_in_bars"] = spread_share
    if spread_share < FREE:
        severity = "critical"
        text += f" The spread is {spread_share:.4%} of a bar: the model learnt to trade for nothing."
    elif share > COSTLY:
        severity = "warning"
        text += " A trade must earn more than a whole bar before it pays."
    given = broker.get(symbol)
    if given is not None:
        point = 10.0 ** -(given.digits if given.digits is not None else costs.digits)
        for name, unit in (("spread_points", point), ("slippage_points", point), ("commission_per_lot", 1.0)):
            theirs: float | None = getattr(given, name)
            if theirs is None:
                continue
            ours = getattr(costs, name) * (costs.point if unit != 1.0 else 1.0)
            numbers[f"broker_{name}"] = theirs
            if theirs * unit > ours * FAR:
                severity = "critical" if severity == "critical" or name == "spread_points" else "warning"
                text += f" The broker's {name} ({theirs:g}) is more than {FAR:g} times the trained one."
    else:
        text += " The broker's own costs are not in config/symbols.json, so they could not be compared."
    return Finding("TRADING_COSTS", severity, text, numbers)


def provenance(subject: Subject) -> Finding:
    """Whether the bundle says what it was made from, and how long it was trained."""
    info = subject.metadata.get("data_info")
    steps = subject.metadata.get("training_config", {}).get("total_timesteps")
    missing = [] if isinstance(info, dict) else ["data_info"]
    if subject.boundaries.source != "stated":
        missing.append("the boundaries of validation and test")
    if "backtest_oos" not in subject.metadata:
        missing.append("backtest_oos")
    if "decoding" not in subject.metadata.get("hmm_config", {}):
        missing.append("hmm_config.decoding")
    numbers = {"boundaries": subject.boundaries.source, "missing": missing, "total_timesteps": steps}
    numbers["sizes_equal_format"] = subject.model.format_version
    severity: Severity = "note" if missing else "ok"
    text = subject.boundaries.words[:1].upper() + subject.boundaries.words[1:] + "."
    if missing:
        text += f" Not in the bundle: {', '.join(missing)}."
    stopped_by_rule = "selection" in subject.metadata
    if isinstance(steps, int | float) and steps < SHORT_TRAINING and not stopped_by_rule:
        severity = "warning"
        text += f" It was trained for {steps:,} steps; the original's default is 2,000,000."
    return Finding("PROVENANCE", severity, text, numbers)
