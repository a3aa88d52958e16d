"""One account for several models, and the odds under a firm's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle_batch.config import Settings
from oracle_batch.config.risk_limits import preset_rules
from oracle_batch.errors import DataError, UsageError
from oracle_batch.hands.limit_rules import own_rules
from oracle_batch.store.workspace import Workspace
from oracle_batch.training.backtest.materials import Place, Wish, portfolio_task
from oracle_batch.training.backtest.portfolio import odds, portfolio
from oracle_batch.training.backtest.portfolio_page import page_of
from tests.backtest import samples
from tests.tick.lab import write_bars

FIRM = preset_rules("ftmo_2step")
BALANCE = 10_000.0


def test_an_account_that_wins_every_day_passes() -> None:
    found = odds(np.full(30, 100.0), np.zeros(30), FIRM, BALANCE, 10.0, 60, draws=50)
    assert (found.passed, found.broke_daily, found.broke_maximum, found.unfinished) == (1.0, 0.0, 0.0, 0.0)
    assert found.median_days_to_pass == 10.0


def test_without_a_target_nobody_passes() -> None:
    found = odds(np.full(30, 100.0), np.zeros(30), FIRM, BALANCE, 0.0, 60, draws=50)
    assert (found.passed, found.unfinished) == (0.0, 1.0)


def test_a_day_deeper_than_the_daily_limit_breaks_it_although_it_ends_well() -> None:
    found = odds(np.full(30, 10.0), np.full(30, -500.0), FIRM, BALANCE, 10.0, 60, draws=50)
    assert (found.broke_daily, found.passed) == (1.0, 0.0)
    assert found.median_days_to_breach == 1.0


def test_small_losses_end_at_the_maximum_limit() -> None:
    found = odds(np.full(30, -100.0), np.full(30, -100.0), FIRM, BALANCE, 10.0, 60, draws=50)
    assert found.broke_maximum == 1.0
    assert found.median_days_to_breach == 10.0


def test_a_limit_that_trails_is_nearer_after_a_rise() -> None:
    change = np.array([400.0, -250.0] * 20)
    fixed = odds(change, np.minimum(change, 0), FIRM, BALANCE, 1000.0, 30, draws=200)
    trailing = odds(change, np.minimum(change, 0), own_rules(0, 2.0), BALANCE, 1000.0, 30, draws=200)
    assert trailing.broke_maximum == 1.0
    assert fixed.broke_maximum < 0.2


def test_the_shares_add_up() -> None:
    change = np.random.default_rng(1).normal(10, 200, 80)
    found = odds(change, np.minimum(change, 0) - 50, FIRM, BALANCE, 10.0, 100)
    assert found.passed + found.broke_daily + found.broke_maximum + found.unfinished == pytest.approx(1.0)
    assert 0 < found.passed < 1
    assert 0 < found.broke_maximum < 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("GBPUSD_H1", "USDJPY_H1"):
        write_bars(tmp_path / f"{name}.parquet", samples.bars(name, 349 + 950))
    return tmp_path


def test_two_models_share_one_account_under_a_firms_rules(folder: Path) -> None:
    place = Place(Workspace(folder), Settings())
    bundles = [samples.bundle(name) for name in ("GBPUSD_H1", "USDJPY_H1")]
    wish = Wish(folder, balance=5_000.0, full=True, rules="ftmo_2step")
    found, trading = portfolio(portfolio_task(bundles, place, wish, 10.0, 90))
    assert found.rules == "FTMO 2-Step"
    assert set(found.by_model) == {"GBPUSD_H1", "USDJPY_H1"}
    assert found.unseen
    assert found.odds is not None
    labels = {deal.label for deal in trading.deals}
    assert labels == {"oracle:GBPUSD_H1", "oracle:USDJPY_H1"}
    assert {deal.rate_source for deal in trading.deals if deal.symbol == "USDJPY"} <= {
        "pair:1/USDJPY",
        "pair:1/USDJPY ",
    }
    open_lots = sum((deal.direction if not deal.closing else 0) != 0 for deal in trading.deals)
    assert open_lots > 50
    net = sum(found.by_model.values())
    assert trading.balance[-1] == pytest.approx(5_000.0 + net, abs=0.01)
    assert found.stress["1"] == found.metrics
    assert found.stress["2"].costs / found.stress["2"].trades > found.metrics.costs / found.metrics.trades
    assert set(found.spread_source) == set(found.swap_source) == {"GBPUSD", "USDJPY"}
    assert found.spread_source["GBPUSD"] == "fixed, from the bundle's training_config"
    text = page_of(found, trading).text()
    assert "FTMO 2-Step" in text
    assert "costs ×1.5" in text
    assert "none given in config/symbols.json" in text
    assert "breaks the daily limit" in text


def test_each_symbol_has_its_own_spreads(folder: Path) -> None:
    place = Place(Workspace(folder), Settings())
    bundles = [samples.bundle(name) for name in ("GBPUSD_H1", "USDJPY_H1")]
    spreads = folder / "spreads"
    spreads.mkdir()
    (spreads / "GBPUSD.csv").write_text("hour,spread_points\n" + "".join(f"{hour},50\n" for hour in range(24)))
    wish = Wish(folder, full=True, rules="none", spreads=spreads)
    with pytest.raises(DataError, match="has no spreads of USDJPY"):
        portfolio_task(bundles, place, wish, 0.0, 90)
    (spreads / "USDJPY.csv").write_text("hour,spread_points\n" + "".join(f"{hour},{hour}\n" for hour in range(24)))
    task = portfolio_task(bundles, place, wish, 0.0, 90)
    assert {one.symbol: one.spread[3] for one in task.profiles} == {
        "GBPUSD": pytest.approx(0.0005),
        "USDJPY": pytest.approx(0.003),
    }
    cheap, dear = (portfolio(one)[0] for one in (replace(task, profiles=()), task))
    assert dear.metrics.costs / dear.metrics.trades > 2 * cheap.metrics.costs / cheap.metrics.trades
    assert dear.spread_source == {"GBPUSD": "hourly profile GBPUSD.csv", "USDJPY": "hourly profile USDJPY.csv"}
    with pytest.raises(UsageError, match="is one file for 2 symbols"):
        portfolio_task(bundles, place, replace(wish, spreads=spreads / "GBPUSD.csv"), 0.0, 90)


def test_models_without_common_bars_are_told(folder: Path) -> None:
    write_bars(folder / "GBPUSD_H1.parquet", samples.all_bars("GBPUSD_H1")[:800])
    place = Place(Workspace(folder), Settings())
    bundles = [samples.bundle(name) for name in ("GBPUSD_H1", "USDJPY_H1")]
    with pytest.raises(UsageError, match="no unseen bars in common"):
        portfolio(portfolio_task(bundles, place, Wish(folder, full=True), 10.0, 90))


def test_an_unknown_preset_is_refused(folder: Path) -> None:
    place = Place(Workspace(folder), Settings())
    with pytest.raises(UsageError, match="'my firm' is no preset"):
        portfolio_task([samples.bundle("GBPUSD_H1")], place, Wish(folder, full=True, rules="my firm"), 10.0, 90)
