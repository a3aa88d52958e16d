"""What hands and market do over history is what tick and guard do, and looks that are left out change nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from oracle_batch import guarding
from oracle_batch.bars import Bars
from oracle_batch.broker.paper_account import load_book
from oracle_batch.clock import FrozenClock
from oracle_batch.config import AccountSettings, Settings, SymbolSettings, TickSettings
from oracle_batch.market.book import to_money
from oracle_batch.market.spec_file import SymbolSettings as Contract
from oracle_batch.store.lock import hold
from oracle_batch.store.workspace import Workspace
from oracle_batch.tick import Job, tick
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.lives import live, see
from oracle_batch.training.backtest.spreads import Market
from oracle_batch.training.silent import silent
from oracle_batch.types import STORED_BARS, TIMEFRAME_SECONDS, WINDOW
from oracle_batch.warmup import warm_up
from tests.backtest import samples
from tests.tick.lab import write_bars

FIRST = STORED_BARS - WINDOW + 1
"""The row of the first bar after a warm-up."""
QUIET = {"enabled": True, "lot_weak": 0.01, "lot_moderate": 0.03, "lot_strong": 0.05, "max_spread_pips": 0}


def cut(names: Sequence[str], count: int) -> dict[str, Bars]:
    """Bars of models around one instant: a warm-up's, and ``count`` of the first model's more."""
    pace = samples.all_bars(names[0])
    seconds = TIMEFRAME_SECONDS[samples.model(names[0]).timeframe]
    begin, end = int(pace.time[-count - 10]) + seconds, int(pace.time[-10]) + seconds
    found = {}
    for name in names:
        bars, length = samples.all_bars(name), TIMEFRAME_SECONDS[samples.model(name).timeframe]
        known = int(np.searchsorted(bars.time + length, begin, side="right"))
        last = int(np.searchsorted(bars.time + length, end, side="right"))
        found[name] = bars[known - STORED_BARS : last]
    return found


def traded(
    bars: dict[str, Bars],
    symbols: dict[str, dict[str, Any]],
    *,
    account: AccountSettings | None = None,
    specs: dict[str, Contract] | None = None,
    every_look: bool = False,
    market: Market | None = None,
    finer: dict[str, Bars] | None = None,
) -> tuple[Hands, Trading]:
    lives = [live(see(samples.model(name), one)) for name, one in bars.items()]
    models = [life.model for life in lives]
    series = {(one.broker_symbol, one.timeframe): bars[one.model_id] for one in models}
    for name, one in (finer or {}).items():
        symbol, _, timeframe = name.partition("_")
        series[symbol, timeframe] = one
    history = History(series)
    setup = Setup(
        account or AccountSettings(),
        TickSettings(),
        {one.model_id: SymbolSettings(**symbols[one.symbol]) for one in models},
        specs or {},
        Path("no such folder"),
    )
    hands = Hands(lives, bars, history, setup, [FIRST] * len(lives), market or Market())
    return hands, hands.play(every_look=every_look)


def lived_through(
    folder: Path,
    bars: dict[str, Bars],
    symbols: dict[str, dict[str, Any]],
    looks: Sequence[tuple[float, bool]],
    account: AccountSettings,
    finer: dict[str, Bars] | None = None,
) -> Any:
    """The paper account's book after real ticks (True) and guards at these instants."""
    workspace = Workspace(folder)
    workspace.ensure()
    (folder / "data").mkdir()
    for name, one in bars.items():
        shutil.copyfile(samples.bundle(name), workspace.bundle_path(name))
        write_bars(folder / "data" / f"{name}.parquet", one)
    for name, one in (finer or {}).items():
        write_bars(folder / "data" / f"{name}.parquet", one)
    workspace.executor_symbols.write_text(json.dumps(symbols))
    settings, clock = Settings(accounts=(account,)), FrozenClock(looks[0][0] - 60)
    assert warm_up(workspace, settings, clock, None, silent) == {}
    with hold(workspace.lock):
        for instant, is_tick in looks:
            clock.instant = instant
            if is_tick:
                asyncio.run(tick(Job(workspace, settings, clock)))
            else:
                guarding.run(guarding.Job(workspace, settings, clock))
    return load_book(workspace.paper_path(account.account), account.account, account.paper, clock.now())


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bare": ({"sl_usd": 0}, {}),
    "stops": ({"sl_usd": 4.0, "tp_usd": 6.0}, {}),
    "atr": ({"sl_usd": 0, "sl_atr": 2.0, "tp_atr": 3.0}, {}),
    "trailing": ({"sl_usd": 6.0, "trailing_usd": 3.0, "breakeven_usd": 2.0}, {}),
    "near the limits": ({"sl_usd": 5.0}, {"max_daily_loss_pct": 0.3, "max_drawdown_pct": 1.0}),
    "a target": ({"sl_usd": 5.0}, {"profit_target_pct": 0.1}),
    "a firm": ({"sl_usd": 5.0, "lot_strong": 0.5}, {"preset": "ftmo_2step"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_looks_that_are_left_out_change_nothing(variant: str) -> None:
    entry, risk = VARIANTS[variant]
    names = ("EURUSD_M15", "GBPUSD_H1")
    bars = cut(names, 350)
    symbols = {samples.model(name).symbol: QUIET | entry for name in names}
    account = AccountSettings()
    account = replace(account, risk=replace(account.risk, **risk))
    _, fewer = traded(bars, symbols, account=account)
    _, every = traded(bars, symbols, account=account, every_look=True)
    assert fewer.deals == every.deals
    assert len(fewer.deals) > 20
    assert (fewer.balance[-1], fewer.equity[-1]) == (every.balance[-1], every.equity[-1])
    assert fewer.refusals == every.refusals
    assert fewer.looks < every.looks or variant == "trailing"


@pytest.mark.parametrize("variant", ["stops", "trailing"])
def test_history_is_tick_by_tick_execution_to_the_cent(variant: str, tmp_path: Path) -> None:
    entry, risk = VARIANTS[variant]
    names = ("EURUSD_M15", "USDJPY_H1")
    bars = cut(names, 70)
    symbols = {samples.model(name).symbol: QUIET | entry for name in names}
    account = AccountSettings()
    account = replace(account, risk=replace(account.risk, **risk))
    hands, trading = traded(bars, symbols, account=account)
    book = lived_through(tmp_path, bars, symbols, hands.looks(), account)
    assert list(trading.deals) == list(book.deals)
    assert len(trading.deals) > 10
    assert trading.balance[-1] == to_money(book.balance, book.money_digits)


@pytest.mark.parametrize("trailing", [0, 1.0])
def test_finer_bars_move_stops_between_the_models_own(trailing: float, tmp_path: Path) -> None:
    entry = {"sl_usd": 3.0, "tp_usd": 6.0, "trailing_usd": trailing}
    bars = cut(("EURUSD_M15",), 60)
    finer = {"EURUSD_M5": samples.thirds(bars["EURUSD_M15"])}
    symbols = {"EURUSD": QUIET | entry}
    hands, trading = traded(bars, symbols, finer=finer)
    every = traded(bars, symbols, finer=finer, every_look=True)[1]
    book = lived_through(tmp_path, bars, symbols, hands.looks(), AccountSettings(), finer)
    assert list(trading.deals) == list(every.deals) == list(book.deals)
    assert len(trading.deals) > 10
    assert len(hands.looks()) > 3 * 60
    if trailing:
        assert trading.deals != traded(bars, symbols)[1].deals


def test_a_guard_every_minute_sees_no_more(tmp_path: Path) -> None:
    bars = cut(("EURUSD_M15",), 25)
    symbols = {"EURUSD": QUIET | {"sl_usd": 4.0, "trailing_usd": 3.0}}
    hands, trading = traded(bars, symbols)
    begin, end = int(hands.looks()[0][0]) // 60 * 60, int(hands.looks()[-1][0])
    ticks = [look for look in hands.looks() if look[1]]
    guards = [(minute + 30.0, False) for minute in range(begin, end, 60)]
    book = lived_through(tmp_path, bars, symbols, sorted(ticks + guards), AccountSettings())
    assert list(trading.deals) == list(book.deals)
    assert len(trading.deals) > 4


def test_costs_at_twice_their_height_are_paid_twice() -> None:
    bars, symbols = cut(("GBPUSD_H1",), 150), {"GBPUSD": QUIET | {"sl_usd": 0}}
    account = AccountSettings()
    account = replace(account, risk=replace(account.risk, max_consecutive_losses=0, max_consecutive_losses_account=0))
    once = traded(bars, symbols, account=account)[1]
    twice = traded(bars, symbols, account=account, market=Market(factor=2.0))[1]
    paid = [sum(deal.commission for deal in one.deals) for one in (once, twice)]
    assert len(once.deals) == len(twice.deals)
    assert paid[1] == pytest.approx(2 * paid[0], abs=len(once.deals))
    assert twice.balance[-1] < once.balance[-1]


def test_nights_cost_their_swap() -> None:
    bars, symbols = cut(("GBPUSD_H1",), 150), {"GBPUSD": QUIET | {"sl_usd": 0}}
    without = traded(bars, symbols)[1]
    nights = traded(bars, symbols, specs={"GBPUSD": Contract(swap_long_points=-8.0, swap_short_points=-5.0)})[1]
    assert all(deal.swap == 0 for deal in without.deals)
    assert sum(deal.swap for deal in nights.deals) < 0


def test_the_days_of_an_account_end_before_each_reset() -> None:
    _, trading = traded(cut(("EURUSD_M15",), 300), {"EURUSD": QUIET})
    ends = trading.time[trading.day_end][:-1]
    assert len(ends) >= 3
    assert set((ends % 86400).tolist()) == {86400.0 - 30.0}
