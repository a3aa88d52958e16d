"""``models audit``: every check over one bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.training.audit import costs, decisions, observations, regimes
from oracle_batch.training.audit.findings import Audit, Finding, verdict, worst
from oracle_batch.training.audit.subject import Subject

CHECKS: Final[tuple[Callable[[Subject], Finding], ...]] = (
    regimes.degenerate,
    regimes.decodings,
    observations.ema_skew,
    observations.drift,
    observations.gaps_in_numbers,
    observations.seasonality,
    observations.clock,
    decisions.actions,
    decisions.margins,
    decisions.observation_pnl,
    decisions.convergence,
    decisions.saturation,
    decisions.turnover,
    costs.contract,
    costs.provenance,
)


def audit(subject: Subject, broker: Mapping[str, SymbolSettings]) -> Audit:
    """Every check; ``broker`` is the operator's ``config/symbols.json``."""
    found = [check(subject) for check in CHECKS]
    found.append(costs.trading_costs(subject, broker))
    bars = subject.bars
    return Audit(
        model=subject.model.model_id,
        sha256=subject.model.sha256,
        bars=len(bars),
        first_bar=int(bars.time[0]),
        last_bar=int(bars.time[-1]),
        severity=worst(found),
        verdict=verdict(found),
        findings=tuple(found),
    )
