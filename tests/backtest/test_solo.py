"""One model alone, taken from signal to signal, does what every tick and guard would have done."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.config.rules import LowProfit, StoplossGuard
from oracle_batch.market.spec_file import SymbolSettings as Contract
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History, HistoryTape
from oracle_batch.training.backtest.lives import Life, live, obey, see
from oracle_batch.training.backtest.prices import prices_of
from oracle_batch.training.backtest.solo import Solo
from oracle_batch.training.backtest.spreads import Market, Profile
from oracle_batch.types import WINDOW
from tests.backtest import samples

SYMBOLS = {"EURUSD_M15": (1.1, 5), "USDJPY_H1": (150.0, 3)}
STEP = {"EURUSD_M15": 900, "USDJPY_H1": 3600}


@dataclass(frozen=True)
class Case:
    """A made-up history with made-up signals, and how they are to be traded."""

    name: str
    bars: Bars
    actions: tuple[int, ...]
    entry: SymbolSettings
    account: AccountSettings
    rules: TickSettings
    spec: Contract
    market: Market
    finer: Bars | None = None

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


@st.composite
def cases(draw: st.DrawFn, count: int = 80) -> Case:
    name, seed = draw(some(*SYMBOLS)), draw(st.integers(0, 2**31))
    bars = walk(name, seed, count, draw(some(0.5, 3.0, 15.0)), draw(some(0.0, 0.1)), draw(some(0, 1)))
    risk, account = draw(RISKS), AccountSettings()
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
        draw(ENTRIES),
        account,
        TickSettings(same_volume=draw(some("hold", "reopen")), first_signal=draw(some("wait", "enter"))),
        draw(SPECS),
        draw(MARKETS),
        samples.thirds(bars) if name == "EURUSD_M15" and draw(some(False, False, True)) else None,
    )


def compare(case: Case) -> tuple[Trading, Trading]:
    """Both ways to trade a case, held to the same deals, refusals and money at every look that both made."""
    fewer, every = case.hands().play(), case.hands().play(every_look=True)
    assert list(fewer.deals) == list(every.deals)
    assert fewer.refusals == every.refusals
    at = np.searchsorted(every.time, fewer.time)
    assert every.time[at].tolist() == fewer.time.tolist()
    assert every.balance[at].tolist() == fewer.balance.tolist()
    assert every.equity[at].tolist() == fewer.equity.tolist()
    assert every.day_end[at].tolist() == fewer.day_end.tolist()
    return fewer, every


@settings(max_examples=25)
@given(cases())
def test_a_model_alone_trades_as_if_every_look_were_made(case: Case) -> None:
    compare(case)


REAL: dict[str, dict[str, Any]] = {
    "bare": {"sl_usd": 0.0},
    "a near stop": {"sl_usd": 3.0, "tp_usd": 5.0},
    "ranges": {"sl_usd": 0.0, "sl_atr": 2.0, "tp_atr": 3.0},
    "a share at risk": {"sl_usd": 10.0, "risk_per_trade_pct": 0.05},
    "larger lots": {"lot_weak": 0.1, "lot_moderate": 0.5, "lot_strong": 1.0, "sl_usd": 30.0},
}


def real(name: str, entry: dict[str, Any], count: int, market: Market, spec: Contract, **risk: Any) -> Case:
    bars = samples.bars(name, WINDOW - 1 + count)
    account = AccountSettings()
    return Case(
        name,
        bars,
        tuple(live(see(samples.model(name), bars)).action.tolist()),
        SymbolSettings(enabled=True, max_spread_pips=0.0, **entry),
        with_(account, risk=with_(account.risk, **risk)),
        TickSettings(),
        spec,
        market,
    )


@pytest.mark.parametrize("name", samples.NAMES)
@pytest.mark.parametrize("variant", REAL)
def test_real_bars_are_traded_the_same_way(name: str, variant: str) -> None:
    spec = Contract(swap_long_points=-4.0, swap_short_points=1.0) if variant == "larger lots" else Contract()
    market = Market(factor=1.5) if variant == "ranges" else Market()
    fewer, every = compare(real(name, REAL[variant], 300, market, spec, max_consecutive_losses=0))
    assert len(fewer.deals) > 10
    assert fewer.looks < every.looks / 2


def test_whole_looks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = []
    look = Hands._look
    monkeypatch.setattr(
        Hands, "_look", lambda self, place, all_due: [whole.append(place), look(self, place, all_due=all_due)]
    )
    trading = real("GBPUSD_H1", {"sl_usd": 5.0}, 2000, Market(), Contract()).hands().play()
    assert len(trading.deals) > 200
    assert len(whole) < 0.02 * trading.looks


@pytest.mark.parametrize(
    ("entry", "risk"),
    [
        ({"trailing_usd": 3.0}, {}),
        ({"breakeven_usd": 3.0}, {}),
        ({}, {"profit_target_pct": 1.0}),
        ({}, {"max_spread_vs_median": 2.0}),
        ({}, {"max_trades_per_day": 3}),
        ({}, {"max_symbol_exposure": 5000.0}),
        ({}, {"flat_before_break_min": 30.0}),
        ({}, {"max_bar_age_s": 0.5}),
    ],
)
def test_what_goes_by_the_clock_or_by_every_price_is_left_to_whole_looks(
    entry: dict[str, Any], risk: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Solo, "run", lambda *_: pytest.fail("taken over"))
    case = real("EURUSD_M15", {"sl_usd": 8.0} | entry, 60, Market(), Contract(), **risk)
    assert case.hands().play().looks > 0


def test_columns_of_prices_are_the_tape() -> None:
    bars = walk("EURUSD_M15", 7, 60, 3.0, 0.1, 1)
    for finer in ({}, {("EURUSD", "M5"): samples.thirds(bars[100:300])}):
        history = History({("EURUSD", "M15"): bars, **finer})
        tape = HistoryTape(history)
        prices = prices_of(history, tape, "EURUSD")
        begin, end = float(bars.time[0]) - 1, float(bars.time[-1]) + 900
        steps = [
            step for day in np.arange(begin, end, 7200.0) for step in tape.steps("EURUSD", day, min(day + 7200.0, end))
        ]
        assert [prices.step(row) for row in range(len(prices.bid))] == steps
        known = prices.known(np.array([begin, begin + 5000, begin + 5000, begin + 9000, end + 1]))
        low, high = prices.spans(known)
        for place, (first, last) in enumerate(itertools.pairwise(known)):
            bids = [step.bid for step in steps[max(first - 1, 0) : last]]
            assert (low[place], high[place]) == (min(bids), max(bids))


def made_up(seed: int, among: tuple[int, ...], entry: dict[str, Any], market: Market, count: int, **risk: Any) -> Case:
    account = AccountSettings()
    return Case(
        "EURUSD_M15",
        walk("EURUSD_M15", seed, count, 3.0, 0.05, 0),
        signals(seed, count, 0.6, among),
        SymbolSettings(enabled=True, max_spread_pips=0.0, **entry),
        with_(account, risk=with_(account.risk, **risk)),
        TickSettings(),
        Contract(),
        market,
    )


def test_a_volume_that_stays_the_same_is_kept() -> None:
    lots = {"lot_weak": 0.02, "lot_moderate": 0.021, "lot_strong": 0.05, "sl_usd": 40.0}
    fewer, _ = compare(made_up(1, (1, 2, 3), lots, Market(), 100, max_consecutive_losses=0))
    changes = int(np.count_nonzero(np.diff(signals(1, 100, 0.6, (1, 2, 3)))))
    assert 10 < len(fewer.deals) < 2 * changes


def test_a_rest_in_which_the_spread_forbids_some_hours_anyway() -> None:
    profile = Profile("EURUSD", tuple(0.0001 if hour % 3 else 0.01 for hour in range(24)), "made up")
    case = made_up(5, (1, 4), {"sl_usd": 5.0}, Market(profile), 250, max_consecutive_losses=2, cooldown_min=600.0)
    fewer, _ = compare(case)
    assert min(fewer.refusals["STOP_TOO_CLOSE"], fewer.refusals["CONSECUTIVE_LOSSES_MODEL"]) > 10


@pytest.mark.parametrize(("stop", "refusal"), [(0.0, "DAILY_LOSS"), (12.0, "LOSS_BUDGET")])
def test_near_a_limit_whole_looks_judge(stop: float, refusal: str) -> None:
    entry = {"sl_usd": stop, "lot_strong": 0.2}
    case = made_up(9, (0, 3, 6), entry, Market(), 250, max_daily_loss_pct=0.2, max_consecutive_losses=0)
    fewer, _ = compare(case)
    assert fewer.refusals[refusal] > 0


def test_a_rest_ends_at_its_minute_and_a_day_within_it_is_reset() -> None:
    case = made_up(3, (1, 5), {"sl_usd": 4.0}, Market(), 300, max_consecutive_losses=1, cooldown_min=1000.0)
    fewer, _ = compare(case)
    assert fewer.refusals["CONSECUTIVE_LOSSES_MODEL"] > 40
    assert len(fewer.deals) > 4
    assert np.count_nonzero(fewer.day_end) > 3
