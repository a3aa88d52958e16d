"""An audit finds what was put wrong on purpose, and says so with numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.model import Model, PolicyNet
from oracle_batch.errors import BarError
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.training.audit import costs, decisions, observations, regimes
from oracle_batch.training.audit.findings import Finding
from oracle_batch.training.audit.page import page_of
from oracle_batch.training.audit.run import audit
from oracle_batch.training.audit.subject import Subject, look
from oracle_batch.training.audit.work import task_of, work
from oracle_batch.training.tape import blank_policy
from tests.backtest import samples
from tests.tick.lab import write_bars

COUNT = 349 + 1100


def subject(name: str = "EURUSD_M15", *, bars: Bars | None = None, info: Any = None, **changes: Any) -> Subject:
    """A shipped model over its newest bars, changed on purpose."""
    model: Model = replace(samples.model(name), **changes)
    return look(model, {"data_info": info} if info else {}, bars if bars is not None else samples.bars(name, COUNT))


def with_columns(bars: Bars, **columns: Any) -> Bars:
    return Bars(**{name: columns.get(name, getattr(bars, name)) for name in FIELDS})


def test_a_one_hot_start_under_single_decoding_is_a_degenerate_regime() -> None:
    model = samples.model("EURUSD_M15")
    start = np.full(model.regime.n_states, 1e-300)
    start[2] = 1.0
    found = regimes.degenerate(subject(regime=replace(model.regime, startprob=start)))
    assert (found.code, found.severity) == ("REGIME_DEGENERATE", "critical")
    assert found.numbers["startprob_is_one_hot"]
    assert found.numbers["state_shares"][2] > 0.99
    assert "one-hot" in found.text


def test_a_healthy_regime_is_called_so() -> None:
    found = regimes.degenerate(subject())
    assert (found.code, found.severity) == ("REGIME_SEEN", "ok")
    assert sum(found.numbers["state_shares"]) == pytest.approx(1)


def test_decodings_are_compared_on_the_same_bars() -> None:
    found = regimes.decodings(subject())
    assert found.code == "DECODING_DIFFERS"
    assert 0 < found.numbers["state_differs_from_filter"] < 0.5
    assert found.numbers["action_differs_from_filter"] <= found.numbers["state_differs_from_filter"]
    filtered = regimes.decodings(subject(decoding="filter"))
    assert (filtered.code, filtered.severity) == ("DECODING", "ok")
    assert filtered.numbers["state_differs_from_single"] == pytest.approx(
        found.numbers["state_differs_from_filter"], abs=1e-9
    )


def test_the_windows_ema_is_measured_against_all_of_history() -> None:
    found = observations.ema_skew(subject())
    assert found.numbers["weight_of_first_close"] == pytest.approx((1 - 2 / 201) ** 349)
    assert 0 < found.numbers["mean_gap"] < found.numbers["max_gap"] < 0.05
    short = replace(samples.model("EURUSD_M15").features, ema_period=5)
    assert observations.ema_skew(subject(features=short)).numbers["max_gap"] < 1e-6


def test_drift_needs_both_parts_and_sees_a_wilder_market() -> None:
    bars = samples.bars("EURUSD_M15", COUNT)
    middle = int(bars.time[900])
    assert observations.drift(subject()).code == "DRIFT_UNKNOWN"
    info = {"train_start": int(bars.time[0]), "train_end": middle, "test_start": middle}
    quiet = observations.drift(subject(info=info))
    wild = np.where(bars.time > middle, 6.0, 1.0)
    centre = (bars.high + bars.low) / 2
    wilder = with_columns(
        bars, high=centre + (bars.high - centre) * wild, low=np.maximum(centre - (centre - bars.low) * wild, 0.1)
    )
    found = observations.drift(subject(bars=wilder, info=info))
    assert found.severity == "warning"
    assert found.numbers["features"]["atr"]["psi"] > quiet.numbers["features"]["atr"]["psi"]
    assert found.numbers["features"]["atr"]["ks"] > 0.5


def test_identical_samples_do_not_drift() -> None:
    values = np.random.default_rng(1).normal(size=500)
    assert observations.psi(values, values) == 0.0
    assert observations.ks_distance(values, values) == 0.0
    assert observations.psi(values, values + 3) > 2


def test_a_volume_that_never_changes_is_a_dead_feature() -> None:
    bars = samples.bars("EURUSD_M15", COUNT)
    found = observations.gaps_in_numbers(subject(bars=with_columns(bars, volume=np.full(len(bars), 5.0))))
    assert (found.code, found.severity) == ("NAN_OR_DEAD_FEATURES", "warning")
    assert observations.gaps_in_numbers(subject()).severity == "ok"


def test_volume_that_only_follows_the_hour_is_seen() -> None:
    bars = samples.bars("EURUSD_M15", COUNT)
    hours = bars.time // 3600 % 24
    found = observations.seasonality(subject(bars=with_columns(bars, volume=np.where(hours == 14, 1000.0, 100.0))))
    assert found.numbers["busiest_over_quietest"] == pytest.approx(10)
    assert found.numbers["explained_by_hour"] > 0.5


def test_bars_in_server_time_are_recognised_by_the_week() -> None:
    bars = samples.all_bars("EURUSD_M15")
    assert observations.clock(subject(bars=bars)).code == "CLOCK_UTC"
    found = observations.clock(subject(bars=with_columns(bars, time=bars.time + 3 * 3600)))
    assert (found.code, found.severity) == ("CLOCK_NOT_UTC", "warning")
    assert "Monday" in found.text


def test_a_policy_of_one_direction_is_critical() -> None:
    model = samples.model("EURUSD_M15")
    bias = model.policy.biases[-1].copy()
    bias[2] += 100
    stubborn = PolicyNet(model.policy.weights, (*model.policy.biases[:-1], bias), model.policy.activation)
    found = decisions.actions(subject(policy=stubborn))
    assert (found.severity, found.numbers["long"]) == ("critical", 1.0)
    assert "SHORT_STRONG" in found.numbers["unused"]


def test_a_policy_that_always_waits_holds_nothing_for_ever() -> None:
    model = samples.model("EURUSD_M15")
    bias = model.policy.biases[-1].copy()
    bias[0] += 100
    idle = PolicyNet(model.policy.weights, (*model.policy.biases[:-1], bias), model.policy.activation)
    found = decisions.actions(subject(policy=idle))
    assert (found.severity, found.numbers["flat"]) == ("warning", 1.0)
    assert found.text.endswith("WAIT is said on 100% of the bars: it never trades.")


def test_margins_are_of_the_best_against_the_next() -> None:
    one = subject()
    lead = decisions.leads(one)
    assert ((lead >= 0) & (lead <= 1)).all()
    assert decisions.margins(one).numbers["narrow_share"] == pytest.approx(np.mean(lead < decisions.NARROW))


def test_the_order_of_events_is_tried_the_other_way() -> None:
    found = decisions.observation_pnl(subject("GBPUSD_H1"))
    assert found.numbers["actions_differ"] >= 0
    assert not found.numbers["stated"]
    assert decisions.observation_pnl(subject("GBPUSD_H1")).numbers["observation_pnl"] == "previous"


def test_twins_that_forget_and_one_that_never_does() -> None:
    found = decisions.convergence(subject())
    assert (found.severity, found.numbers["never"]) == ("ok", 0.0)
    assert found.numbers["median_bars"] <= found.numbers["p95_bars"] <= found.numbers["max_bars"]
    model = samples.model("EURUSD_M15")
    weights = [weight.copy() for weight in model.policy.weights]
    bias = model.policy.biases[-1].copy()
    bias[:] = 0
    bias[2] = 100
    holder = PolicyNet(tuple(weights), (*model.policy.biases[:-1], bias), model.policy.activation)
    never = decisions.convergence(subject(policy=holder))
    assert (never.severity, never.numbers["never"]) == ("critical", 1.0)
    assert FLAT.direction == 0


def test_costs_that_eat_the_signal_are_critical() -> None:
    found = decisions.turnover(subject())
    assert found.numbers["net"] == pytest.approx(found.numbers["gross"] - found.numbers["costs"])
    assert (found.severity == "critical") is (found.numbers["net"] < 0)


def test_what_never_trades_is_not_given_a_length_of_its_trades() -> None:
    model = samples.model("EURUSD_M15")
    idle = blank_policy(model.regime.n_states)
    assert decisions.turnover(subject(policy=idle)).text == "It never trades."
    for_ever = replace(idle, biases=(np.roll(idle.biases[0], 3),))
    found = decisions.convergence(subject(policy=for_ever))
    assert (found.severity, "the twin never becomes the same; 100%" in found.text) == ("critical", True)
    assert decisions.turnover(subject(policy=for_ever)).text.startswith("1 trade, ")


def test_daily_bars_do_not_tell_the_clock() -> None:
    time = 345_600 + 86_400 * np.flatnonzero(np.arange(1400) % 7 < 5)
    bars = with_columns(samples.bars("EURUSD_M15", len(time)), time=time)
    assert observations.clock(subject(bars=bars)).code == "CLOCK_NOT_UTC"
    assert observations.clock(subject(bars=bars, timeframe="D1")).code == "CLOCK_UNKNOWN"


def test_a_contract_of_other_digits_or_money_is_told() -> None:
    model = samples.model("EURUSD_M15")
    assert costs.contract(subject()).severity == "ok"
    tenth = costs.contract(subject(costs=replace(model.costs, pip_value=1.0)))
    assert (tenth.code, tenth.severity) == ("CONTRACT_DIFFERS", "critical")
    assert tenth.numbers["factor"] == pytest.approx(0.1)
    coarse = costs.contract(subject(costs=replace(model.costs, digits=4, point=0.0001)))
    assert coarse.severity == "critical"
    index = replace(model.costs, digits=1, point=0.1, pip_value=0.1)
    quoted = costs.contract(subject(costs=index, broker_symbol="US30"))
    assert (quoted.severity, quoted.numbers["factor"]) == ("warning", pytest.approx(1.0))
    assert "another scale" not in quoted.text
    assert "another scale" in tenth.text
    unknown = costs.contract(subject(broker_symbol="XYZ"))
    assert (unknown.code, unknown.severity) == ("CONTRACT_UNKNOWN", "note")


def test_costs_below_the_brokers_or_of_nothing_are_told() -> None:
    model = samples.model("EURUSD_M15")
    one = subject()
    assert costs.trading_costs(one, {}).severity == "ok"
    dear = costs.trading_costs(one, {"EURUSD": SymbolSettings(spread_points=20.0)})
    assert dear.severity == "critical"
    assert dear.numbers["broker_spread_points"] == 20.0
    free = costs.trading_costs(subject(costs=replace(model.costs, spread_points=0.01)), {})
    assert free.severity == "critical"


def test_profits_beyond_what_the_policy_can_see_are_told() -> None:
    model = samples.model("EURUSD_M15")
    huge = replace(model.costs, lot_sizes=(0.0, 10.0, 30.0, 50.0))
    assert decisions.saturation(subject(costs=huge)).code == "PNL_SATURATED"


def test_the_whole_audit_has_a_verdict_and_a_page() -> None:
    one = subject()
    found = audit(one, {})
    assert found.model == "EURUSD_M15"
    assert found.verdict.startswith("Do not trade")
    assert found.exit_code == 3
    assert len({finding.code for finding in found.findings}) == len(found.findings)
    text = page_of(found, one).text()
    assert text.count("<img") == 5
    assert "http" not in text.replace("http-equiv", "")
    assert all(finding.code in text for finding in found.findings)


def test_severities_decide_the_exit_code() -> None:
    from oracle_batch.training.audit.findings import EXIT_CODES, verdict, worst

    findings = [Finding("A", "ok", "", {}), Finding("B", "warning", "", {}), Finding("C", "note", "", {})]
    assert worst(findings) == "warning"
    assert verdict(findings) == "Can run, but look at this first: B."
    assert [EXIT_CODES[one] for one in ("ok", "note", "warning", "critical")] == [0, 0, 2, 3]
    assert "no evidence of an edge" in verdict(findings[:1])


def test_too_few_bars_are_refused(tmp_path: Any) -> None:
    write_bars(tmp_path / "EURUSD_M15.parquet", samples.bars("EURUSD_M15", 600))
    with pytest.raises(BarError, match="600 bars, 700 are needed"):
        task_of(samples.bundle("EURUSD_M15"), tmp_path, {})


def test_a_task_is_done_anywhere_with_the_same_result(tmp_path: Any) -> None:
    import pickle

    import msgspec

    write_bars(tmp_path / "EURUSD_M15.parquet", samples.bars("EURUSD_M15", COUNT))
    task = task_of(samples.bundle("EURUSD_M15"), tmp_path, {})
    there = work(pickle.loads(pickle.dumps(task)))
    assert msgspec.json.encode(there.audit) == msgspec.json.encode(work(task).audit)
