"""One model alone, taken from signal to signal, does what every tick and guard would have done."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from msgspec.structs import replace as with_

from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.market.spec_file import SymbolSettings as Contract
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History, HistoryTape
from oracle_batch.training.backtest.lives import live, see
from oracle_batch.training.backtest.prices import prices_of
from oracle_batch.training.backtest.solo import Solo
from oracle_batch.training.backtest.spreads import Market, Profile
from oracle_batch.types import WINDOW
from tests.backtest import samples
from tests.backtest.cases import Case, cases, compare, made_up, signals, walk


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
        instants = np.arange(begin - 1000, end + 700_000, 450.0)
        marks = [tape.last("EURUSD", at) for at in instants]
        met = [tape.next_open("EURUSD", at) or mark for at, mark in zip(instants, marks, strict=True)]
        for found, looked_up in ((tape.bids, marks), (tape.fill_bids, met)):
            expected = [np.nan if mark is None else mark.bid for mark in looked_up]
            np.testing.assert_array_equal(found("EURUSD", instants), expected)
        known = prices.known(np.array([begin, begin + 5000, begin + 5000, begin + 9000, end + 1]))
        low, high = prices.spans(known)
        for place, (first, last) in enumerate(itertools.pairwise(known)):
            bids = [step.bid for step in steps[max(first - 1, 0) : last]]
            assert (low[place], high[place]) == (min(bids), max(bids))


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
