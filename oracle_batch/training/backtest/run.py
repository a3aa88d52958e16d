"""One model's backtest from start to end, on values alone so that a worker can do it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.bundle.model import Model
from oracle_batch.market.specs import Contract
from oracle_batch.training.backtest import spreads
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.ledger import Trades, account_trades, twin_trades
from oracle_batch.training.backtest.lives import Life, live, see
from oracle_batch.training.backtest.metrics import Metrics, daily, day_of, measure, returns_of
from oracle_batch.training.backtest.scored import (
    STRESSES,
    Baseline,
    Honesty,
    compared,
    daily_returns,
    doubts,
    honesty_of,
    metrics_of,
    rebased,
)
from oracle_batch.training.boundaries import Boundaries, boundaries_of
from oracle_batch.training.honesty.trials import Trials
from oracle_batch.types import WINDOW

Float64 = NDArray[np.float64]
NO_EDGE = "no evidence of an edge"
AN_EDGE = "the unseen bars show an edge that chance, costs and selection do not explain"


@dataclass(frozen=True, slots=True)
class Task:
    """A bundle over bars. With ``setup`` the hands trade, too; ``rates`` are bars of other symbols that tell rates.

    ``balance`` is the account's at the start, in its currency; ``bars_from`` names the bars to people. ``rivals`` are
    other bundles of this model that were judged before.
    """

    model: Model
    metadata: Mapping[str, Any]
    bars: Bars
    bars_from: str
    balance: float
    setup: Setup | None = None
    rates: Mapping[tuple[str, str], Bars] = field(default_factory=dict)
    spread_profile: spreads.Profile | None = None
    rivals: int = 0
    trials: Trials = field(default_factory=Trials)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What hands and market made of the same signals. ``refused`` counts refused entries by reason code."""

    metrics: Metrics
    stress: dict[str, Metrics]
    refused: dict[str, int]
    ends: dict[str, int]
    unseen_only: bool
    spread_source: str
    swap_source: str
    rate_sources: tuple[str, ...]
    looks: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest. ``headline`` is from the unseen bars alone, None where nobody knows which those are.

    ``in_sample`` is told apart and is no evidence. ``stress`` are the headline's metrics (else the whole history's) at
    multiples of the costs.
    """

    model: str
    sha256: str
    bars_from: str
    bars: int
    first_bar: int
    last_bar: int
    boundaries: str
    boundaries_source: str
    unseen_from: int | None
    balance: float
    headline: Metrics | None
    in_sample: Metrics | None
    whole: Metrics
    stress: dict[str, Metrics]
    baselines: dict[str, Baseline]
    honesty: Honesty | None
    account: Account | None
    spread_source: str
    swap_source: str
    verdict: str
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backtest:
    """The report and the curves behind it."""

    report: Report
    life: Life
    trades: Trades
    boundaries: Boundaries
    trading: Trading | None


def backtest(task: Task) -> Backtest:
    """Let the brain live through the bars, and, where asked, the hands trade what it says.

    Raises:
        BarError: too few bars.
        ConfigError, DataError: the account's setup cannot trade the symbol.
    """
    model, bars = task.model, task.bars
    sight = see(model, bars)
    life = live(sight)
    bounds = boundaries_of(task.metadata, bars)
    first = bounds.first_unseen(sight.time)
    unseen = rebased(life, slice(first, None)) if first is not None and first < len(life) else None
    seen = rebased(life, slice(0, first)) if first else None
    headline = metrics_of(unseen, task.balance) if unseen is not None else None
    judged = unseen if unseen is not None else life
    stress = {f"{factor:g}": metrics_of(judged, task.balance, factor) for factor in STRESSES}
    rows = slice(first if unseen is not None else 0, None)
    others = compared(judged, sight, rows)
    honesty = None
    if unseen is not None:
        trials = task.trials
        honesty = honesty_of(
            daily_returns(unseen, task.balance),
            trials=max(1, trials.count, _stated_trials(task.metadata)) + task.rivals,
            trials_known=bool(trials.count or _stated_trials(task.metadata)),
            trial_sharpes=trials.sharpes,
            overfitting=trials.overfitting,
            seeds=trials.seeds or _stated_seeds(task.metadata),
        )
    trading, account = None, None
    if task.setup is not None:
        trading, account = _traded(task, task.setup, life, first)
    reasons = doubts(headline, honesty, stress, others)
    if account is not None and headline is not None and headline.total_return > 0 >= account.metrics.total_return:
        reasons.append("the account loses where the model's own books win")
    report = Report(
        model=model.model_id,
        sha256=model.sha256,
        bars_from=task.bars_from,
        bars=len(bars),
        first_bar=int(bars.time[0]),
        last_bar=int(bars.time[-1]),
        boundaries=bounds.words,
        boundaries_source=bounds.source,
        unseen_from=int(sight.time[first]) if first is not None else None,
        balance=task.balance,
        headline=headline,
        in_sample=metrics_of(seen, task.balance) if seen is not None else None,
        whole=metrics_of(life, task.balance),
        stress=stress,
        baselines=others,
        honesty=honesty,
        account=account,
        spread_source="fixed, from the bundle's training_config",
        swap_source="none: the model's own books know no swap",
        verdict=AN_EDGE if not reasons else NO_EDGE,
        doubts=tuple(reasons),
    )
    return Backtest(report, life, twin_trades(judged), bounds, trading)


def _stated_trials(metadata: Mapping[str, Any]) -> int:
    selection = metadata.get("selection")
    found = selection.get("trials") if isinstance(selection, dict) else None
    return found if isinstance(found, int) and found > 0 else 0


def _stated_seeds(metadata: Mapping[str, Any]) -> dict[str, float] | None:
    """Median and spread of the seeds' Sharpe ratios on the test part, as the bundle tells them."""
    told = metadata.get("backtest_oos")
    seeds = told.get("seeds") if isinstance(told, dict) else None
    if not isinstance(seeds, dict):
        return None
    found = {"count": float(seeds.get("count", 0))}
    for name in ("lowest", "median", "highest"):
        value = seeds.get(name, {}).get("sharpe") if isinstance(seeds.get(name), dict) else None
        if isinstance(value, int | float):
            found[f"{name}_sharpe"] = float(value)
    return found


def play(
    setup: Setup,
    lives: Sequence[Life],
    bars: Mapping[str, Bars],
    rates: Mapping[tuple[str, str], Bars],
    first: Sequence[int],
    profile: spreads.Profile | tuple[spreads.Profile, ...] | None,
    factor: float,
) -> tuple[Hands, Trading]:
    """Hands and market over the lives' rows from ``first`` on, at a multiple of all costs."""
    series = dict(rates)
    for life in lives:
        series[life.model.broker_symbol, life.model.timeframe] = bars[life.model.model_id]
    hands = Hands(lives, bars, History(series), setup, first, spreads.Market(profile, factor))
    return hands, hands.play()


def _traded(task: Task, setup: Setup, life: Life, first: int | None) -> tuple[Trading, Account]:
    """The account over the unseen bars, else over all of them but a first window."""
    begin = max(1, first) if first is not None else min(WINDOW, len(life) - 1)
    name = task.model.model_id
    found: dict[str, Metrics] = {}
    kept: tuple[Hands, Trading] | None = None
    for factor in STRESSES:
        hands, trading = play(setup, [life], {name: task.bars}, task.rates, [begin], task.spread_profile, factor)
        held = float(np.mean(life.action[begin:] != 0))
        trades = account_trades(trading.deals, hands.contract_at, trading.money_digits)
        time, equity = on_trading_days(trading, life)
        exposure = _exposure(trades, trading, held)
        found[f"{factor:g}"] = measure(time, equity, trades, exposure=exposure, start=task.balance)
        kept = kept or (hands, trading)
    assert kept is not None
    hands, trading = kept
    symbol = task.model.broker_symbol
    ends: dict[str, int] = {}
    for deal in trading.deals:
        if deal.closing:
            ends[deal.reason] = ends.get(deal.reason, 0) + 1
    return trading, Account(
        metrics=found["1"],
        stress=found,
        refused=dict(trading.refusals),
        ends=ends,
        unseen_only=first is not None,
        spread_source=spread_source(setup, symbol, task.spread_profile),
        swap_source=swap_source(hands.contracts()[symbol]),
        rate_sources=tuple(sorted({deal.rate_source for deal in trading.deals})),
        looks=trading.looks,
    )


def spread_source(setup: Setup, symbol: str, profile: spreads.Profile | None) -> str:
    """Where a symbol's spread comes from, in words."""
    if profile is not None:
        return profile.source
    given = setup.specs.get(symbol)
    own = given is not None and given.spread_points is not None
    return "fixed, from config/symbols.json" if own else "fixed, from the bundle's training_config"


def swap_source(contract: Contract) -> str:
    """What a symbol's nights cost, and who says so."""
    if not (contract.swap_long or contract.swap_short):
        return "none given in config/symbols.json"
    return f"{contract.swap_long:g} long and {contract.swap_short:g} short, in price a night, from config/symbols.json"


def _exposure(trades: Trades, trading: Trading, otherwise: float) -> float:
    """Share of the time in which a position was held, weekends included."""
    span = float(trading.time[-1] - trading.time[0]) if len(trading.time) > 1 else 0.0
    if not span:
        return otherwise
    edges = np.concatenate([trades.opened, trades.closed])
    steps = np.concatenate([np.ones(len(trades)), -np.ones(len(trades))])
    order = np.argsort(edges, kind="stable")
    held = np.cumsum(steps[order])[:-1] > 0
    return float(np.sum(np.diff(edges[order])[held]) / span) if len(trades) else 0.0


def on_trading_days(trading: Trading, *lives: Life) -> tuple[Float64, Float64]:
    """Time and equity of an account's looks on days with bars; one a minute after a day's end still belongs to it."""
    time = trading.time - 60
    days = np.unique(np.concatenate([day_of(life.time) for life in lives]))
    keep = np.isin(day_of(time), days)
    return time[keep], trading.equity[keep]


def account_returns(trading: Trading, balance: float, lives: Sequence[Life]) -> Float64:
    """Returns of an account's trading days."""
    _, equity = daily(*on_trading_days(trading, *lives))
    return returns_of(np.concatenate([[balance], equity]))
