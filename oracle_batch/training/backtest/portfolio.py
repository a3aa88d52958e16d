"""All models on one account under a firm's rules, and how often such an account passes or breaks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace as with_
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.bundle.model import Model
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.errors import OracleBatchError, UsageError
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.market.specs import Contract
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.ledger import Trades, account_trades
from oracle_batch.training.backtest.lives import Life, live, see
from oracle_batch.training.backtest.metrics import Metrics, day_of, measure
from oracle_batch.training.backtest.run import on_trading_days, play, spread_source, swap_source
from oracle_batch.training.backtest.scored import STRESSES
from oracle_batch.training.backtest.spreads import Profile
from oracle_batch.training.boundaries import boundaries_of
from oracle_batch.training.fleet import Fleet, ShowProgress
from oracle_batch.training.honesty.chance import block_draws
from oracle_batch.training.silent import silent
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW, utc

Float64 = NDArray[np.float64]
DRAWS: Final = 4000
LEAST_DAYS: Final = 20


@dataclass(frozen=True, slots=True)
class PortfolioTask:
    """Models with their metadata and bars, by model id; how the account trades; a target and a horizon in days.

    ``target_pct`` is what passes, in per cent of the balance at the start.
    """

    models: Mapping[str, Model]
    metadata: Mapping[str, Mapping[str, Any]]
    bars: Mapping[str, Bars]
    setup: Setup
    target_pct: float
    horizon: int
    rates: Mapping[tuple[str, str], Bars] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()


class Odds(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the draws: passed, broke the daily or the maximum limit, neither within the horizon.

    Each draw is a sequence of whole days, in blocks, of the same account without any loss limit; a day brings its
    change and its lowest equity. Our own stops before a limit are not counted on.
    """

    passed: float
    broke_daily: float
    broke_maximum: float
    unfinished: float
    median_days_to_pass: float | None
    median_days_to_breach: float | None
    draws: int
    days: int


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """One account over the stretch on which all models have bars. ``unseen`` says whether none had seen them.

    ``stress`` are the account's metrics at multiples of all costs. ``spread_source`` and ``swap_source`` name for each
    symbol where its costs come from.
    """

    models: tuple[str, ...]
    rules: str
    balance: float
    first: int
    last: int
    unseen: bool
    metrics: Metrics
    stress: dict[str, Metrics]
    spread_source: dict[str, str]
    swap_source: dict[str, str]
    by_model: dict[str, float]
    refused: dict[str, int]
    events: dict[str, int]
    worst_day: float
    target_pct: float
    horizon: int
    odds: Odds | None


@dataclass(frozen=True, slots=True)
class Playing:
    """One life of the account, for whichever process does it: the arguments of :func:`play`."""

    setup: Setup
    lives: Sequence[Life]
    bars: Mapping[str, Bars]
    rates: Mapping[tuple[str, str], Bars]
    first: Sequence[int]
    profiles: tuple[Profile, ...]
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Played:
    """What became of it; ``contracts`` by symbol, at the end."""

    trading: Trading
    trades: Trades
    contracts: dict[str, Contract]


def played(one: Playing) -> Played:
    """Let the account live."""
    hands, trading = play(one.setup, one.lives, one.bars, one.rates, one.first, one.profiles or None, one.factor)
    trades = account_trades(trading.deals, hands.contract_at, trading.money_digits)
    return Played(trading, trades, hands.contracts())


def portfolio(
    task: PortfolioTask, crew: Fleet | None = None, progress: ShowProgress = silent
) -> tuple[Portfolio, Trading]:
    """Trade all models together, also at higher costs and without limits, then draw accounts from the days.

    Raises:
        UsageError: the models have no bars in common.
        ConfigError, DataError: the account's setup cannot trade a symbol.
    """
    lives = {name: live(see(model, task.bars[name])) for name, model in task.models.items()}
    begin, unseen = _begin(task, lives)
    end = min(int(life.time[-1]) + TIMEFRAME_SECONDS[life.model.timeframe] for life in lives.values())
    if begin >= end:
        spans = ", ".join(f"{name} {utc(life.time[0])} to {utc(life.time[-1])}" for name, life in lives.items())
        raise UsageError("the models have no unseen bars in common", field="--portfolio", fix=f"their bars: {spans}")
    cut = [_until(life, end) for life in lives.values()]
    first = [max(1, int(np.searchsorted(life.time, begin))) for life in cut]
    own = Playing(task.setup, cut, task.bars, task.rates, first, task.profiles)
    ways = {f"costs ×{factor:g}": replace(own, factor=factor) for factor in STRESSES}
    ways["no limits"] = replace(own, setup=_without_limits(task.setup))
    answers = (crew or Fleet()).fan_out(played, ways, progress, "accounts")
    for answer in answers.values():
        if isinstance(answer, OracleBatchError):
            raise answer
    *priced, free = [answer for answer in answers.values() if isinstance(answer, Played)]
    trading = priced[0].trading
    balance = task.setup.account.paper.balance
    rules = limit_rules(task.setup.account.risk, task.setup.home)
    _, low = _days(*on_trading_days(trading, *cut), balance)
    drawn = _days(*on_trading_days(free.trading, *cut), balance)
    stress = {
        f"{factor:g}": measure(
            *on_trading_days(one.trading, *cut), one.trades, exposure=_in_position(one.trading), start=balance
        )
        for factor, one in zip(STRESSES, priced, strict=True)
    }
    profiles = {one.symbol: one for one in task.profiles}
    contracts = priced[0].contracts
    return Portfolio(
        models=tuple(lives),
        rules=rules.name,
        balance=balance,
        first=begin,
        last=end,
        unseen=unseen,
        metrics=stress["1"],
        stress=stress,
        spread_source={symbol: spread_source(task.setup, symbol, profiles.get(symbol)) for symbol in sorted(contracts)},
        swap_source={symbol: swap_source(contracts[symbol]) for symbol in sorted(contracts)},
        by_model=_by_model(trading),
        refused=dict(trading.refusals),
        events={name: count for name, count in trading.events.items() if name in ("account_paused", "profit_target")},
        worst_day=float(low.min()) / balance if len(low) else 0.0,
        target_pct=task.target_pct,
        horizon=task.horizon,
        odds=odds(*drawn, rules, balance, task.target_pct, task.horizon) if len(drawn[0]) >= LEAST_DAYS else None,
    ), trading


def _without_limits(setup: Setup) -> Setup:
    """The same account with no loss limit and no target, so that no day is missing because an earlier one was bad."""
    risk = with_(setup.account.risk, preset="none", max_daily_loss_pct=0.0, max_drawdown_pct=0.0, profit_target_pct=0.0)
    return replace(setup, account=with_(setup.account, risk=risk))


def _begin(task: PortfolioTask, lives: Mapping[str, Life]) -> tuple[int, bool]:
    """The first instant at which every model has bars, unseen ones where all say which those are."""
    unseen = [boundaries_of(task.metadata[name], task.bars[name]).unseen_from for name in lives]
    window = max(int(life.time[min(WINDOW, len(life) - 1)]) for life in lives.values())
    known = [one for one in unseen if one is not None]
    return max([window, *known]), len(known) == len(unseen)


def _until(life: Life, end: int) -> Life:
    rows = slice(0, int(np.searchsorted(life.time + TIMEFRAME_SECONDS[life.model.timeframe], end, side="right")))
    columns = ("time", "close", "hmm_state", "action", "entry_price", "floating_pnl", "realized_pnl")
    return Life(life.model, *(getattr(life, name)[rows] for name in columns))


def _by_model(trading: Trading) -> dict[str, float]:
    """Net result of each model's closed positions."""
    found: dict[str, int] = {}
    for deal in trading.deals:
        name = deal.label.partition(":")[2]
        found[name] = found.get(name, 0) + deal.profit + deal.swap - deal.commission
    return {name: minor / 10.0**trading.money_digits for name, minor in sorted(found.items())}


def _in_position(trading: Trading) -> float:
    """Share of the time in which anything was held."""
    opened, held, since, total = 0, 0.0, 0.0, float(trading.time[-1] - trading.time[0]) if len(trading.time) else 0.0
    for deal in trading.deals:
        if not deal.closing:
            since = deal.time if opened == 0 else since
            opened += 1
        else:
            opened -= 1
            held += deal.time - since if opened == 0 else 0.0
    if opened:
        held += float(trading.time[-1]) - since
    return held / total if total else 0.0


def _days(time: Float64, equity: Float64, balance: float) -> tuple[Float64, Float64]:
    """Of each day: the change of equity, and its lowest point against the day's start."""
    days, starts = np.unique(day_of(time), return_index=True)
    if not len(days):
        return np.empty(0), np.empty(0)
    last = np.concatenate([starts[1:], [len(equity)]]) - 1
    before = np.concatenate([[balance], equity[last][:-1]])
    return equity[last] - before, np.minimum(np.minimum.reduceat(equity, starts) - before, 0.0)


def odds(
    change: Float64,
    low: Float64,
    rules: LimitRules,
    balance: float,
    target_pct: float,
    horizon: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Odds:
    """Draw accounts of ``horizon`` days from days with a change and a lowest point, in account currency.

    A day's limit is judged at its lowest point against the day's start; the maximum limit against the initial balance,
    or against the highest end of a day where it trails.
    """
    rows = block_draws(len(change), draws, seed, take=horizon)
    moves, lows = change[rows], low[rows]
    after = balance + np.cumsum(moves, axis=1)
    before = after - moves
    depth = before + lows
    none = np.zeros(after.shape, np.bool_)
    day, maximum = none, none
    if rules.daily != "none":
        base = balance if rules.daily.of == "initial" else before
        day = lows <= -np.asarray(base) * rules.daily.loss_pct / 100
    if rules.maximum != "none":
        peak = np.maximum(np.maximum.accumulate(before, axis=1), balance)
        reference = balance if rules.maximum.trails == "never" else peak
        base = balance if rules.maximum.of == "initial" else reference
        maximum = depth <= reference - np.asarray(base) * rules.maximum.loss_pct / 100
    passed = after >= balance * (1 + target_pct / 100) if target_pct else none
    at = [_first(found, horizon) for found in (passed, day, maximum)]
    won = (at[0] < at[1]) & (at[0] < at[2]) & (at[0] < horizon)
    by_day = ~won & (at[1] <= at[2]) & (at[1] < horizon)
    by_maximum = ~won & ~by_day & (at[2] < horizon)
    lost = by_day | by_maximum
    return Odds(
        passed=float(won.mean()),
        broke_daily=float(by_day.mean()),
        broke_maximum=float(by_maximum.mean()),
        unfinished=float((~won & ~lost).mean()),
        median_days_to_pass=float(np.median(at[0][won] + 1)) if won.any() else None,
        median_days_to_breach=float(np.median(np.minimum(at[1], at[2])[lost] + 1)) if lost.any() else None,
        draws=draws,
        days=len(change),
    )


def _first(found: NDArray[np.bool_], otherwise: int) -> NDArray[np.intp]:
    """The first True of each row."""
    return np.where(found.any(axis=1), found.argmax(axis=1), otherwise)
