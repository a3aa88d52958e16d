"""Metrics, baselines and verdicts of the model's own books."""

from __future__ import annotations

import empyrical
import numpy as np
import pytest

from oracle_batch.training.backtest.ledger import Trades, twin_trades
from oracle_batch.training.backtest.lives import live, see
from oracle_batch.training.backtest.metrics import daily, drawdown, measure, returns_of
from oracle_batch.training.backtest.run import NO_EDGE, Task, backtest
from oracle_batch.training.backtest.scored import daily_returns, doubts, metrics_of, rebased
from oracle_batch.training.boundaries import boundaries_of
from oracle_batch.training.honesty import baselines
from tests.backtest import samples

DAY = 86400
BALANCE = 10_000.0


def no_trades() -> Trades:
    whole, real = np.empty(0, np.int64), np.empty(0)
    return Trades(whole, whole, whole, real, real, real, real, real, whole)


def test_ratios_are_those_of_the_library() -> None:
    chance = np.random.default_rng(4)
    equity = BALANCE * np.cumprod(1 + chance.normal(0.0004, 0.01, 300))
    time = np.arange(300) * DAY + 3600
    found = measure(time, equity, no_trades(), exposure=0.5, start=BALANCE)
    returns = returns_of(np.concatenate([[BALANCE], equity]))
    assert found.sharpe == pytest.approx(empyrical.sharpe_ratio(returns))
    assert found.sortino == pytest.approx(empyrical.sortino_ratio(returns))
    assert found.calmar == pytest.approx(empyrical.calmar_ratio(returns))
    assert found.cagr == pytest.approx(empyrical.cagr(returns))
    assert found.max_drawdown == pytest.approx(empyrical.max_drawdown(returns))
    assert found.total_return == pytest.approx(equity[-1] / BALANCE - 1)


def test_an_account_that_never_moves_has_no_ratios() -> None:
    found = measure(np.arange(50) * DAY, np.full(50, BALANCE), no_trades(), exposure=0.0, start=BALANCE)
    assert (found.sharpe, found.profit_factor, found.win_rate, found.expectancy) == (None,) * 4
    assert (found.total_return, found.max_drawdown, found.trades) == (0.0, 0.0, 0)


def test_a_day_ends_at_five_in_new_york_summer_and_winter() -> None:
    sunday_summer, sunday_winter = 1_720_990_800, 1_704_664_800  # 2024-07-14 21:00Z, 2024-01-07 22:00Z
    for opening in (sunday_summer, sunday_winter):
        days, _ = daily(np.array([opening - 1, opening, opening + 3600 * 20]), np.zeros(3))
        assert len(days) == 2


def test_a_fall_is_measured_from_the_peak_before_it() -> None:
    assert drawdown(np.array([100.0, 80.0, 120.0, 90.0])) == pytest.approx(-0.25)
    assert drawdown(np.empty(0)) == 0.0


def test_the_trades_add_up_to_the_books() -> None:
    for name in samples.NAMES:
        life = live(see(samples.model(name), samples.bars(name, 349 + 600)))
        trades = twin_trades(life)
        assert trades.net.sum() == pytest.approx(life.equity[-1], abs=1e-6)
        assert (trades.costs > 0).all()
        assert (trades.closed >= trades.opened).all()
        costs = life.model.costs
        lots, commission = trades.lots[0], costs.commission_per_lot * trades.lots[0]
        pips = (costs.spread_points + 2 * costs.slippage_points) / costs.points_per_pip
        assert trades.costs[0] == pytest.approx(pips * costs.pip_value * lots + commission)


def test_stress_takes_the_costs_once_more_and_changes_no_decision() -> None:
    life = live(see(samples.model("EURUSD_M15"), samples.bars("EURUSD_M15", 349 + 800)))
    plain, harder = metrics_of(life, BALANCE), metrics_of(life, BALANCE, 2.0)
    assert harder.trades == plain.trades
    assert harder.costs == pytest.approx(2 * plain.costs)
    lost = (plain.total_return - harder.total_return) * BALANCE
    assert lost == pytest.approx(plain.costs, rel=1e-6)


def test_baselines_trade_as_much_as_they_should() -> None:
    life = live(see(samples.model("GBPUSD_H1"), samples.bars("GBPUSD_H1", 349 + 500)))
    held = baselines.always_long(life)
    assert len(held.changes) == 1
    turns = len(np.flatnonzero(np.diff(life.action, prepend=-1)))
    for one in baselines.random_same_turnover(life, draws=5):
        assert np.bincount(one.action, minlength=7).tolist() == np.bincount(life.action, minlength=7).tolist()
        assert len(np.flatnonzero(np.diff(one.action, prepend=-1))) <= turns


def test_a_stretch_begins_flat() -> None:
    life = live(see(samples.model("USDJPY_H1"), samples.bars("USDJPY_H1", 349 + 300)))
    cut = rebased(life, slice(100, None))
    assert len(cut) == 200
    assert cut.action.tolist() == life.action[100:].tolist()
    assert abs(cut.equity[0]) < 60


METADATA = {"data_info": {"date_start": "2020-01-01", "date_end": "2021-01-01"}}


def test_bars_after_the_bundles_data_are_unseen() -> None:
    bars = samples.bars("EURUSD_M15", 900)
    found = boundaries_of(METADATA, bars)
    assert found.source == "inferred"
    assert found.first_unseen(bars.time) == 0


def test_boundaries_that_a_bundle_states_count() -> None:
    bars = samples.bars("EURUSD_M15", 900)
    info = {"train_start": int(bars.time[0]), "train_end": int(bars.time[499]), "test_start": int(bars.time[700])}
    found = boundaries_of({"data_info": info}, bars)
    assert (found.source, found.trained_until, found.unseen_from) == ("stated", bars.time[499], bars.time[700])
    assert found.first_unseen(bars.time) == 700


def test_parts_that_overlap_tell_nothing_of_what_is_unseen() -> None:
    bars = samples.bars("EURUSD_M15", 900)
    info = {"train_start": int(bars.time[0]), "train_end": int(bars.time[700]), "test_start": int(bars.time[600])}
    found = boundaries_of({"data_info": info}, bars)
    assert (found.source, found.unseen_from) == ("unknown", None)
    assert "the bundle's parts overlap" in found.words


def test_boundaries_are_inferred_where_the_bars_are_the_bundles_own() -> None:
    bars = samples.bars("EURUSD_M15", 900)
    days = [np.datetime64(int(one), "s").astype("datetime64[D]").astype(str) for one in (bars.time[0], bars.time[-1])]
    info = {"total_bars": 900, "train_bars": 630, "date_start": days[0], "date_end": days[1]}
    assert boundaries_of({"data_info": info}, bars).unseen_from == bars.time[630]
    other = boundaries_of({"data_info": info | {"total_bars": 901}}, bars)
    assert other.first_unseen(bars.time) is None


@pytest.mark.parametrize("metadata", [{}, {"data_info": 3}, {"data_info": {"date_start": "soon", "date_end": "later"}}])
def test_a_bundle_without_boundaries_has_no_headline(metadata: dict[str, object]) -> None:
    bars = samples.bars("EURUSD_M15", 349 + 500)
    report = backtest(Task(samples.model("EURUSD_M15"), metadata, bars, "bars", BALANCE)).report
    assert report.headline is None
    assert report.boundaries == "the bundle does not say which bars it was made from"
    assert report.verdict == NO_EDGE
    assert report.doubts == ("no bar is known to be unseen by the model, so nothing here is evidence",)


def test_seen_bars_are_kept_out_of_the_headline() -> None:
    bars = samples.bars("EURUSD_M15", 349 + 900)
    info = {"train_end": int(bars.time[700]), "test_start": int(bars.time[800])}
    report = backtest(Task(samples.model("EURUSD_M15"), {"data_info": info}, bars, "bars", BALANCE)).report
    assert report.headline is not None
    assert report.in_sample is not None
    assert report.unseen_from == bars.time[800]
    assert report.headline.days + report.in_sample.days >= report.whole.days
    assert report.headline.trades < report.whole.trades


def test_an_edge_is_only_seen_where_nothing_speaks_against_it() -> None:
    bars = samples.bars("EURUSD_M15", 349 + 900)
    found = backtest(Task(samples.model("EURUSD_M15"), METADATA, bars, "bars", BALANCE))
    report = found.report
    assert report.honesty is not None
    assert report.verdict == NO_EDGE
    assert any("too few" in doubt for doubt in report.doubts)
    assert report.headline is not None
    good = replace_metrics(report.headline, total_return=0.3)
    sure = replace_metrics(
        report.honesty, days=300, deflated_sharpe=0.99, sharpe=None, overfitting=0.1, family_p_value=0.01
    )
    beaten = {"random_same_turnover": replace_metrics(report.baselines["random_same_turnover"], beaten=1.0)}
    assert doubts(good, sure, {"1.5": good}, beaten) == []
    assert len(doubts(good, replace_metrics(sure, overfitting=0.8), {"1.5": good}, beaten)) == 1
    losing = {"1.5": replace_metrics(good, total_return=-0.1)}
    assert doubts(good, sure, losing, beaten) == ["it loses as soon as costs are half as high again"]


def replace_metrics(value: object, **changes: object) -> object:
    import msgspec

    return msgspec.structs.replace(value, **changes)  # type: ignore[type-var]


def test_daily_returns_begin_at_the_balance() -> None:
    life = live(see(samples.model("EURUSD_M15"), samples.bars("EURUSD_M15", 349 + 400)))
    returns = daily_returns(life, BALANCE)
    assert np.prod(1 + returns) * BALANCE == pytest.approx(BALANCE + life.equity[-1])
