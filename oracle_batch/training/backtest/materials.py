"""From files to tasks: bundles, their bars, what tells rates, and how the account trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.config import RiskSettings, Settings, SymbolSettings, load_executor_symbols
from oracle_batch.config.risk_limits import PRESETS
from oracle_batch.errors import BarError, UsageError
from oracle_batch.market import spec_file
from oracle_batch.market.spec_table import shipped
from oracle_batch.replay import read_bars
from oracle_batch.store import verdicts
from oracle_batch.store.verdicts import Verdict
from oracle_batch.store.workspace import Workspace
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.portfolio import PortfolioTask
from oracle_batch.training.backtest.run import Report, Task
from oracle_batch.training.backtest.spreads import Profile, read_profile
from oracle_batch.training.boundaries import read_comment
from oracle_batch.training.data import read_market
from oracle_batch.training.honesty.trials import trials_beside
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW, split_model_id

SUFFIXES: Final = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks of a backtest. ``bars`` is a file, or a folder of ``SYMBOL_TF.parquet`` or ``.csv``."""

    bars: Path
    balance: float | None = None
    full: bool = False
    rules: str | None = None
    spreads: Path | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The workspace, if there is one, and its settings."""

    workspace: Workspace
    settings: Settings


def bars_of(path: Path, model: Model) -> tuple[Path, Bars]:
    """A model's bars, from a file or a folder.

    Raises:
        BarError: there are none, or they break the rules.
    """
    if not path.is_dir():
        return path, read_market(path, model.symbol, model.timeframe)
    for suffix in SUFFIXES:
        file = path / f"{model.model_id}{suffix}"
        if file.is_file():
            return file, read_market(file, model.symbol, model.timeframe)
    raise BarError(f"no bars of {model.model_id}", file=path, fix=f"put {model.model_id}.parquet or .csv there")


def rates_for(path: Path, model: Model) -> dict[tuple[str, str], Bars]:
    """Bars of the pairs in a folder that tell what the model's assets are worth; a file tells nothing of others."""
    terms = shipped(model.broker_symbol)
    if not path.is_dir() or terms is None:
        return {}
    wanted = {terms.base, terms.quote} - {"USD"}
    found: dict[str, tuple[str, Path]] = {}
    for file in sorted(path.iterdir()):
        identity = split_model_id(file.stem) if file.suffix in SUFFIXES else None
        if identity is None or identity[0] == model.symbol:
            continue
        symbol, timeframe = identity
        if symbol not in {f"{asset}USD" for asset in wanted} | {f"USD{asset}" for asset in wanted}:
            continue
        if symbol not in found or _nearer(timeframe, found[symbol][0], model.timeframe):
            found[symbol] = (timeframe, file)
    return {(symbol, frame): read_bars(file, symbol, frame) for symbol, (frame, file) in found.items()}


def _nearer(timeframe: str, than: str, to: str) -> bool:
    """Whether a timeframe is nearer to another one's length."""
    length = TIMEFRAME_SECONDS[to]
    return abs(TIMEFRAME_SECONDS[timeframe] - length) < abs(TIMEFRAME_SECONDS[than] - length)


def setup_of(models: Sequence[Model], place: Place, wish: Wish) -> Setup:
    """The first account of the workspace, with its execution settings, contracts and rules.

    A model without execution settings trades the lots that it was trained with and has no stop.

    Raises:
        ConfigError: a file is malformed, or there is no such preset.
    """
    workspace, account = place.workspace, place.settings.accounts[0]
    known = load_executor_symbols(workspace.home / account.symbols)
    symbols: dict[str, SymbolSettings] = {}
    for model in models:
        given = known.find(model.model_id, model.symbol, model.broker_symbol)
        weak, moderate, strong = model.costs.lot_sizes[1:]
        trained = SymbolSettings(
            lot_weak=weak, lot_moderate=moderate, lot_strong=strong, sl_usd=0.0, max_spread_pips=0.0
        )
        symbols[model.model_id] = with_(given or trained, enabled=True)
    if wish.balance is not None:
        account = with_(account, paper=with_(account.paper, balance=wish.balance))
    if wish.rules is not None:
        if wish.rules not in (*PRESETS, "none", "custom"):
            fix = "one of: " + ", ".join(("none", *PRESETS, "custom"))
            raise UsageError(f"{wish.rules!r} is no preset", field="--rules", fix=fix)
        risk: RiskSettings = with_(account.risk, preset=wish.rules, initial_balance=account.paper.balance)
        account = with_(account, risk=risk)
    specs = spec_file.load_settings(workspace.symbols)
    return Setup(with_(account, kind="paper"), place.settings.tick, symbols, specs, workspace.home)


def task_of(bundle: Path, place: Place, wish: Wish) -> Task:
    """A backtest of one bundle.

    Raises:
        BundleError, BarError, DataError, ConfigError: naming the file.
    """
    model = load_model(bundle, None)
    file, bars = bars_of(wish.bars, model)
    balance = wish.balance if wish.balance is not None else place.settings.accounts[0].paper.balance
    profile = None
    if wish.spreads is not None:
        if not wish.full:
            raise UsageError("spreads are the market's: they need --full", field="--spreads")
        profile = read_profile(wish.spreads, model.broker_symbol, model.costs.point)
    if len(bars) < WINDOW:
        raise BarError(f"{len(bars)} bars, {WINDOW} are needed", file=file, field="time", fix="give a longer history")
    before = {one.bundle_sha256 for one in verdicts.read(place.workspace, model.model_id)}
    others = before - {model.sha256}
    return Task(
        model,
        read_comment(bundle),
        bars,
        file.name,
        balance,
        setup_of([model], place, wish) if wish.full else None,
        rates_for(wish.bars, model) if wish.full else {},
        profile,
        len(others),
        trials_beside(bundle, model.model_id),
    )


def remember(place: Place, report: Report, now: float) -> None:
    """Put a verdict on record, where the workspace trades this very bundle and the model has unseen bars.

    Raises:
        StateError: the record cannot be written.
    """
    bundle = place.workspace.bundle_path(report.model)
    if report.headline is None or not bundle.is_file() or load_model(bundle, None).sha256 != report.sha256:
        return
    said = Verdict(
        now, report.model, report.sha256, not report.doubts, report.verdict, report.unseen_from, report.last_bar
    )
    verdicts.record(place.workspace, said)


def portfolio_task(bundles: Sequence[Path], place: Place, wish: Wish, target_pct: float, horizon: int) -> PortfolioTask:
    """A backtest of several bundles on one account.

    Raises:
        BundleError, BarError, ConfigError, DataError: naming the file.
        UsageError: one file of spreads for several symbols.
    """
    models = {model.model_id: model for model in (load_model(bundle, None) for bundle in bundles)}
    metadata: dict[str, Mapping[str, Any]] = {bundle.stem: read_comment(bundle) for bundle in bundles}
    bars = {name: bars_of(wish.bars, model)[1] for name, model in models.items()}
    rates: dict[tuple[str, str], Bars] = {}
    for model in models.values():
        rates |= rates_for(wish.bars, model)
    setup = setup_of(list(models.values()), place, wish)
    if target_pct:
        risk = with_(setup.account.risk, profit_target_pct=target_pct)
        setup = replace(setup, account=with_(setup.account, risk=risk))
    profiles: tuple[Profile, ...] = ()
    if wish.spreads is not None:
        refuse_common_spreads(wish, {model.broker_symbol for model in models.values()})
        by_symbol = {model.broker_symbol: model for model in models.values()}
        profiles = tuple(read_profile(wish.spreads, name, one.costs.point) for name, one in by_symbol.items())
    return PortfolioTask(models, metadata, bars, setup, target_pct, horizon, rates, profiles)


def refuse_common_spreads(wish: Wish, symbols: AbstractSet[str]) -> None:
    """Points of one symbol are not another's.

    Raises:
        UsageError: one file of spreads for several symbols.
    """
    if wish.spreads is not None and not wish.spreads.is_dir() and len(symbols) > 1:
        raise UsageError(
            f"is one file for {len(symbols)} symbols",
            file=wish.spreads,
            field="--spreads",
            fix="name a folder with SYMBOL.csv for each of them",
        )
