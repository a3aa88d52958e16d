"""Made-up histories with made-up signals, and one way to trade them held to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.config.rules import LowProfit, StoplossGuard
from oracle_batch.market.spec_file import SymbolSettings as Contract
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.lives import Life, obey
from oracle_batch.training.backtest.spreads import Market, Profile
from oracle_batch.types import WINDOW
from tests.backtest import samples

SYMBOLS = {"EURUSD_M15": (1.1, 5), "USDJPY_H1": (150.0, 3)}
STEP = {"EURUSD_M15": 900, "USDJPY_H1": 3600}


@dataclass(frozen=True)
class Case:
    """A made-up history with made-up signals, and how they are to be traded."""

    name: str
    bars: Bars = field(repr=False)
    actions: tuple[int, ...] = field(repr=False)
    entry: SymbolSettings
    account: AccountSettings
    rules: TickSettings
    spec: Contract
    market: Market
    finer: Bars | None = field(default=None, repr=False)

    def life(self) -> Life:
        model = samples.model(self.name)
        count = len(self.actions)
        blank = np.zeros(count)
        over = Life(
            model,
            self.bars.time[-count:],
            self.bars.close[-count:],
            np.arange(count) % model.regime.n_states,
            np.zeros(count, np.intp),
            blank,
            blank,
            blank,
        )
        return obey(model, over, np.array(self.actions, np.intp))

    def hands(self) -> Hands:
        life = self.life()
        model = life.model
        series = {(model.broker_symbol, model.timeframe): self.bars}
        if self.finer is not None:
            series[model.broker_symbol, "M5"] = self.finer
        bars = self.bars[len(self.bars) - len(life) - WINDOW + 1 :]
        setup = Setup(
            self.account, self.rules, {self.name: self.entry}, {model.broker_symbol: self.spec}, Path("no such folder")
        )
        return Hands([life], {self.name: bars}, History(series), setup, [1], self.market)


def walk(name: str, seed: int, count: int, pips: float, gaps: float, grid: int) -> Bars:
    """A random walk on the model's grid with holes in it; some prices carry more digits than the contract."""
    rng = np.random.default_rng(seed)
    price, digits = SYMBOLS[name]
    point = 10.0**-digits
    length = WINDOW + count
    close = np.round(price + np.cumsum(rng.standard_t(3, length)) * pips * 10 * point, digits + grid)
    close = np.maximum(close, price / 4)
    jump = rng.normal(0, pips * 3 * point, length) * (rng.random(length) < 0.3)
    open_ = np.round(np.concatenate([[price], close[:-1]]) + jump, digits + grid)
    reach = np.abs(rng.normal(0, pips * 6 * point, (2, length)))
    high = np.round(np.maximum(open_, close) + reach[0], digits + grid)
    low = np.round(np.minimum(open_, close) - reach[1], digits + grid)
    steps = np.where(rng.random(length) < gaps, rng.integers(2, 60, length), 1)
    time = 1_752_000_000 // STEP[name] * STEP[name] + STEP[name] * np.cumsum(steps)
    return Bars(time.astype(np.int64), open_, high, low, close, np.full(length, 100.0))


def signals(seed: int, count: int, turn: float, among: tuple[int, ...]) -> tuple[int, ...]:
    rng = np.random.default_rng(seed + 1)
    drawn = rng.choice(among, count)
    kept = np.maximum.accumulate(np.where(rng.random(count) < turn, np.arange(count), 0))
    return tuple(drawn[kept].tolist())


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


ENTRIES = st.builds(
    SymbolSettings,
    enabled=st.just(True),
    lot_weak=some(0.01, 0.02),
    lot_moderate=some(0.02, 0.05, 0.3),
    lot_strong=some(0.05, 0.5),
    sl_usd=some(0.0, 4.0, 10.0, 40.0, 150.0),
    tp_usd=some(0.0, 0.0, 8.0, 60.0),
    max_spread_pips=some(0.0, 0.0, 0.0, 1.2),
    max_slippage_points=some(0.0, 0.0, 0.0, 3.0),
    sl_atr=some(0.0, 0.0, 0.0, 3.0),
    tp_atr=some(0.0, 0.0, 0.0, 2.5),
    stop_trigger_method=some("trade", "opposite", "double_trade"),
    require_stop=some(False, False, False, True),
    max_stop_pct=some(0.0, 0.0, 0.0, 0.3),
    risk_per_trade_pct=some(0.0, 0.0, 0.0, 0.5),
)
RISKS = st.fixed_dictionaries(
    {
        "max_daily_loss_pct": some(0.0, 0.5, 4.0),
        "max_drawdown_pct": some(0.0, 1.0, 8.0),
        "max_consecutive_losses": some(0, 0, 3, 5),
        "max_consecutive_losses_account": some(0, 0, 4),
        "cooldown_min": some(60.0, 300.0),
        "min_free_margin_pct": some(0.0, 50.0),
        "stoploss_guard": some(StoplossGuard(), StoplossGuard(), StoplossGuard(trade_limit=2, stop_duration_min=120.0)),
        "low_profit": some(
            LowProfit(), LowProfit(), LowProfit(trade_limit=3, lookback_min=600.0, stop_duration_min=120.0)
        ),
        "trading_hours": some((), (), (), ("Mon-Fri 06:00-20:00",)),
    },
    optional={"preset": some("ftmo_2step", "the5ers_high_stakes")},
)
PROFILE = Profile("EURUSD", tuple(0.00001 * (3 + hour % 7) for hour in range(24)), "made up")
MARKETS = some(Market(), Market(factor=1.5), Market(PROFILE), Market(PROFILE, 2.0))
SPECS = st.builds(
    Contract,
    spread_points=some(None, 3.0, 7.5),
    commission_per_lot=some(None, 3.33),
    min_stop_points=some(0.0, 0.0, 40.0),
    swap_long_points=some(0.0, 0.0, -7.0),
    swap_short_points=some(0.0, 0.0, 1.3),
)


CERTAIN = st.builds(
    SymbolSettings,
    enabled=st.just(True),
    lot_weak=some(0.01, 0.02),
    lot_moderate=some(0.02, 0.021, 0.3),
    lot_strong=some(0.05, 0.5),
    sl_usd=some(0.0, 10.0, 40.0, 150.0),
    tp_usd=some(0.0, 0.0, 60.0),
    max_spread_pips=some(0.0, 3.0),
    stop_trigger_method=some("trade", "opposite"),
)
"""Entries whose trips are mostly certain."""
LOSSES = st.fixed_dictionaries(
    {
        "max_daily_loss_pct": some(0.0, 0.5, 4.0),
        "max_drawdown_pct": some(0.0, 1.0, 8.0),
        "max_consecutive_losses": some(0, 0, 3, 5),
        "max_consecutive_losses_account": some(0, 0, 4),
        "cooldown_min": some(60.0, 300.0),
        "min_free_margin_pct": some(0.0, 50.0),
    },
    optional={"preset": some("ftmo_2step", "the5ers_high_stakes")},
)


@st.composite
def cases(draw: st.DrawFn, count: int = 80, *, certain: bool = False) -> Case:
    name, seed = draw(some(*SYMBOLS)), draw(st.integers(0, 2**31))
    bars = walk(name, seed, count, draw(some(0.5, 3.0, 15.0)), draw(some(0.0, 0.1)), draw(some(0, 1, 12)))
    risk, account = draw(LOSSES if certain else RISKS), AccountSettings()
    balance, leverage = draw(some(10_000.0, 10_000.0, 777.77)), draw(some(100.0, 20.0))
    account = with_(
        account,
        risk=with_(account.risk, **risk),
        paper=with_(account.paper, balance=balance, leverage=leverage, currency=draw(some("USD", "USD", "EUR"))),
    )
    among = draw(some((0, 1, 2, 3, 4, 5, 6), (1, 6), (0, 2), (1, 2, 3)))
    return Case(
        name,
        bars,
        signals(seed, count, draw(some(0.1, 0.5, 1.0)), among),
        draw(CERTAIN if certain else ENTRIES),
        account,
        TickSettings(same_volume=draw(some("hold", "reopen")), first_signal=draw(some("wait", "enter"))),
        draw(SPECS),
        draw(MARKETS) if not certain else draw(some(Market(), Market(factor=1.5))),
        samples.thirds(bars) if name == "EURUSD_M15" and draw(some(False, False, True)) else None,
    )


def compare(case: Case) -> tuple[Trading, Trading]:
    """Both ways to trade a case, held to the same deals, refusals and money at every look that both made."""
    return same(case.hands().play(), case.hands().play(every_look=True))


def same(fewer: Trading, every: Trading) -> tuple[Trading, Trading]:
    """The same deals, refusals and money at every look of ``fewer``."""
    assert list(fewer.deals) == list(every.deals)
    assert fewer.refusals == every.refusals
    at = np.searchsorted(every.time, fewer.time)
    assert every.time[at].tolist() == fewer.time.tolist()
    assert every.balance[at].tolist() == fewer.balance.tolist()
    assert every.equity[at].tolist() == fewer.equity.tolist()
    assert every.day_end[at].tolist() == fewer.day_end.tolist()
    return fewer, every


def made_up(
    seed: int,
    among: tuple[int, ...],
    entry: dict[str, Any],
    market: Market,
    count: int,
    spec: Contract = Contract(),  # noqa: B008  a frozen value
    leverage: float = 100.0,
    **risk: Any,
) -> Case:
    account = AccountSettings()
    return Case(
        "EURUSD_M15",
        walk("EURUSD_M15", seed, count, 3.0, 0.05, 0),
        signals(seed, count, 0.6, among),
        SymbolSettings(enabled=True, **({"max_spread_pips": 0.0} | entry)),
        with_(account, risk=with_(account.risk, **risk), paper=with_(account.paper, leverage=leverage)),
        TickSettings(),
        spec,
        market,
    )
