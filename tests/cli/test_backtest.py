"""``oracle-batch backtest`` and ``models audit`` as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from oracle_batch.cli import confirm, extras
from tests.backtest import samples
from tests.cli.conftest import Cli
from tests.tick.lab import write_bars

COUNT = 349 + 800


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A folder of bars."""
    folder = tmp_path / "bars"
    folder.mkdir()
    for name in ("EURUSD_M15", "GBPUSD_H1"):
        write_bars(folder / f"{name}.parquet", samples.bars(name, COUNT))
    return folder


def test_a_backtest_prints_its_verdict_and_writes_both_files(empty: Cli, bars: Path, tmp_path: Path) -> None:
    ran = empty("backtest", samples.bundle("EURUSD_M15"), "--bars", bars, "--full", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "no evidence of an edge" in ran.out
    assert "account, unseen" in ran.out
    report = json.loads((tmp_path / "out" / "EURUSD_M15.json").read_bytes())
    page = (tmp_path / "out" / "EURUSD_M15.html").read_text()
    assert report["verdict"] == "no evidence of an edge"
    assert report["spread_source"] == "fixed, from the bundle's training_config"
    assert report["account"]["swap_source"] == "none given in config/symbols.json"
    assert list(report["stress"]) == ["1", "1.5", "2"]
    assert set(report["baselines"]) == {"flat", "always_long", "random_same_turnover", "shuffled_regime"}
    assert "account, costs ×1.5" in page
    assert "data:image/png;base64" in page
    assert 'src="http' not in page


def test_json_is_one_document_for_the_whole_family(fresh: Cli, bars: Path) -> None:
    ran = fresh("backtest", samples.bundle("EURUSD_M15"), samples.bundle("GBPUSD_H1"), "--bars", bars, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"EURUSD_M15", "GBPUSD_H1"}
    for name in ran.json:
        assert ran.json[name]["model"] == name
        assert ran.json[name]["bars"] == COUNT


def test_all_takes_the_bundles_of_the_workspace(fresh: Cli, bars: Path) -> None:
    ran = fresh("backtest", "--all", "--bars", bars, "--json")
    assert ran.code == 0, ran.err
    assert list(ran.json) == ["EURUSD_M15"]


def test_a_portfolio_has_odds(empty: Cli, bars: Path, tmp_path: Path) -> None:
    ran = empty(
        "backtest",
        samples.bundle("GBPUSD_H1"),
        "--portfolio",
        "--rules",
        "ftmo_2step",
        "--bars",
        bars,
        "--out",
        tmp_path / "out",
    )
    assert ran.code == 0, ran.err
    assert "1 model under FTMO 2-Step" in ran.out
    assert "return at higher costs: ×1.5" in ran.out
    assert json.loads((tmp_path / "out" / "portfolio.json").read_bytes())["rules"] == "FTMO 2-Step"
    assert (tmp_path / "out" / "portfolio.html").is_file()


def test_hourly_spreads_are_named_and_cost(empty: Cli, bars: Path, tmp_path: Path) -> None:
    profile = tmp_path / "spreads.csv"
    profile.write_text("hour,spread_points\n" + "\n".join(f"{hour},{40 if hour > 20 else 9}" for hour in range(24)))
    asked = ("backtest", samples.bundle("EURUSD_M15"), "--bars", bars, "--full", "--json")
    plain, priced = (empty(*asked, *more) for more in ((), ("--spreads", profile)))
    before, after = (one.json["EURUSD_M15"] for one in (plain, priced))
    assert after["account"]["spread_source"] == "hourly profile spreads.csv"
    assert after["account"]["metrics"]["expectancy"] < before["account"]["metrics"]["expectancy"]


def test_the_costs_of_a_trade_are_those_of_its_own_hour(empty: Cli, bars: Path, tmp_path: Path) -> None:
    profile = tmp_path / "spreads.csv"
    costs = []
    last = int(samples.bars("EURUSD_M15", COUNT).time[-1]) // 3600 % 24
    for wide in ((), (last, (last + 1) % 24)):  # what holds at the end says nothing of the trades before
        rows = (f"{hour},{5000 if hour in wide else 9}" for hour in range(24))
        profile.write_text("hour,spread_points\n" + "\n".join(rows))
        asked = ("backtest", samples.bundle("EURUSD_M15"), "--bars", bars, "--full", "--json", "--rules", "none")
        metrics = empty(*asked, "--spreads", profile).json["EURUSD_M15"]["account"]["metrics"]
        costs.append(metrics["costs"] / metrics["trades"])
    assert costs[1] < 100 * costs[0]


def test_quotes_tell_the_spread_by_hour(empty: Cli, bars: Path, tmp_path: Path) -> None:
    quotes = tmp_path / "quotes.parquet"
    table = {"time": [3600 * hour for hour in range(24)], "bid": [1.1] * 24, "ask": [1.1001] * 24}
    pyarrow.parquet.write_table(pyarrow.table(table), quotes)
    asked = ("backtest", samples.bundle("EURUSD_M15"), "--bars", bars, "--full", "--json", "--spreads", quotes)
    assert empty(*asked).json["EURUSD_M15"]["account"]["spread_source"] == "quotes, hourly medians of quotes.parquet"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hour,spread_points\n0,7\n", "has no spread for the hours 1"),
        ("hour,spread_points\n0,7\n0,8\n", "line 3: hour 0"),
        ("hour,points\n0,7\n", "is no profile of spreads: no column spread_points"),
        ("hour,spread_points\n0,wide\n", "is no profile of spreads"),
    ],
)
def test_a_bad_profile_is_refused(text: str, why: str, empty: Cli, bars: Path, tmp_path: Path) -> None:
    profile = tmp_path / "spreads.csv"
    profile.write_text(text)
    ran = empty("backtest", samples.bundle("EURUSD_M15"), "--bars", bars, "--full", "--spreads", profile)
    assert ran.code == 65
    assert why in ran.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--bars", "x"), "name bundles, or say --all"),
        (("--all", "EURUSD_M15.zip", "--bars", "x"), "name bundles, or say --all"),
        (("a/B_M15.zip", "b/B_M15.zip", "--bars", "x"), "the same model is named twice"),
        (("EURUSD_M15.zip", "--bars", "x", "--rules", "ftmo_2step"), "they need --full or --portfolio"),
        (("EURUSD_M15.zip", "--bars", "x", "--target", "5"), "--target: is the drawn accounts'"),
        (("EURUSD_M15.zip", "--bars", "x", "--horizon", "5"), "--horizon: is the drawn accounts'"),
        (("EURUSD_M15.zip", "--bars", "x", "--steps", "5"), "--steps: is the refits'"),
        (("EURUSD_M15.zip", "--bars", "x", "--balance", "nan"), "--balance: is nan"),
        (("EURUSD_M15.zip", "--bars", "x", "--portfolio", "--target", "inf"), "--target: is inf"),
        (("EURUSD_M15.zip", "--bars", "x", "--portfolio", "--walk-forward", "2"), "leave out --portfolio"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(arguments: tuple[str, ...], why: str, empty: Cli) -> None:
    ran = empty("backtest", *arguments)
    assert (ran.code, why in ran.err) == (64, True)


def test_missing_bars_and_a_short_history_are_data_errors(empty: Cli, bars: Path) -> None:
    ran = empty("backtest", samples.bundle("USDJPY_H1"), "--bars", bars)
    assert (ran.code, "no bars of USDJPY_H1" in ran.err) == (65, True)
    write_bars(bars / "USDJPY_H1.parquet", samples.bars("USDJPY_H1", 300))
    ran = empty("backtest", samples.bundle("USDJPY_H1"), "--bars", bars)
    assert (ran.code, "USDJPY_H1.parquet: time: 300 bars, 350 are needed" in ran.err) == (65, True)


def test_bars_of_another_timeframe_or_of_one_price_are_data_errors(empty: Cli, bars: Path) -> None:
    for command in (("backtest",), ("models", "audit")):
        ran = empty(*command, samples.bundle("EURUSD_M15"), "--bars", bars / "GBPUSD_H1.parquet")
        assert (ran.code, "3600 s apart, which is H1, not M15" in ran.err) == (65, True)
        flat = samples.bars("EURUSD_M15", COUNT)
        level = np.full(COUNT, 1.25)
        write_bars(bars / "flat.parquet", replace(flat, open=level, high=level, low=level, close=level))
        ran = empty(*command, samples.bundle("EURUSD_M15"), "--bars", bars / "flat.parquet")
        assert (ran.code, "is always 1.25" in ran.err) == (65, True)


def test_one_file_of_spreads_is_not_for_several_symbols(empty: Cli, bars: Path, tmp_path: Path) -> None:
    profile = tmp_path / "spreads.csv"
    profile.write_text("hour,spread_points\n" + "\n".join(f"{hour},9" for hour in range(24)))
    both = (samples.bundle("EURUSD_M15"), samples.bundle("GBPUSD_H1"))
    ran = empty("backtest", *both, "--bars", bars, "--full", "--spreads", profile)
    assert (ran.code, "is one file for 2 symbols" in ran.err) == (64, True)


def test_one_models_failure_does_not_stop_the_others(empty: Cli, bars: Path) -> None:
    ran = empty("backtest", samples.bundle("USDJPY_H1"), samples.bundle("EURUSD_M15"), "--bars", bars)
    assert ran.code == 1
    assert "EURUSD_M15" in ran.out
    assert "USDJPY_H1" in ran.err


def test_an_audit_tells_by_its_exit_code(empty: Cli, bars: Path, tmp_path: Path) -> None:
    ran = empty("models", "audit", samples.bundle("EURUSD_M15"), "--bars", bars, "--json", "--out", tmp_path)
    assert ran.code == 3
    assert ran.json["EURUSD_M15"]["severity"] == "critical"
    assert json.loads((tmp_path / "EURUSD_M15.audit.json").read_bytes()) == ran.json["EURUSD_M15"]
    assert (tmp_path / "EURUSD_M15.audit.html").is_file()


def test_an_audit_in_words(empty: Cli, bars: Path) -> None:
    ran = empty("models", "audit", samples.bundle("EURUSD_M15"), "--bars", bars / "EURUSD_M15.parquet")
    assert ran.code == 3
    assert "EURUSD_M15: Do not trade this bundle as it is" in ran.out
    assert "DECODING_DIFFERS" in ran.out


def test_without_the_extra_the_command_says_what_to_install(
    empty: Cli, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "TRAINING", ("json", "no_such_library"))
    ran = empty("backtest", samples.bundle("EURUSD_M15"), "--bars", bars)
    assert (ran.code, "needs no_such_library" in ran.err) == (64, True)


def test_without_evidence_of_an_edge_a_live_account_wants_force(
    fresh: Cli, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh("backtest", "--all", "--bars", bars).code == 0
    said = (fresh.home / "state" / "verdicts" / "EURUSD_M15.jsonl").read_text()
    assert json.loads(said)["edge"] is False
    assert fresh("disable", "EURUSD").code == 0
    assert fresh("enable", "EURUSD").code == 0
    monkeypatch.setattr(confirm, "is_live", lambda _: True)
    assert fresh("disable", "EURUSD").code == 0
    refused = fresh("enable", "EURUSD", "--yes")
    assert (refused.code, "no evidence of an edge" in refused.err, "--force" in refused.err) == (64, True, True)
    assert fresh("enable", "EURUSD", "--yes", "--force").code == 0


def test_a_bundle_that_was_never_judged_is_not_held_back(fresh: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "is_live", lambda _: True)
    assert fresh("enable", "EURUSD", "--yes").code == 0


def test_a_bundle_of_elsewhere_leaves_no_verdict_here(empty: Cli, bars: Path) -> None:
    assert empty("backtest", samples.bundle("EURUSD_M15"), "--bars", bars).code == 0
    assert list(empty.home.iterdir()) == []


def test_other_bundles_of_a_model_count_as_trials(fresh: Cli, bars: Path) -> None:
    before = fresh("backtest", "--all", "--bars", bars, "--json").json["EURUSD_M15"]["honesty"]["trials"]
    record = fresh.home / "state" / "verdicts" / "EURUSD_M15.jsonl"
    other = json.loads(record.read_text()) | {"bundle_sha256": "0" * 64}
    record.write_text(record.read_text() + json.dumps(other) + "\n")
    again = fresh("backtest", "--all", "--bars", bars, "--json").json["EURUSD_M15"]["honesty"]["trials"]
    assert (before, again) == (1, 2)


def test_a_damaged_record_of_verdicts_is_told(fresh: Cli, bars: Path) -> None:
    record = fresh.home / "state" / "verdicts" / "EURUSD_M15.jsonl"
    record.parent.mkdir(parents=True)
    record.write_text("not json\n")
    ran = fresh("backtest", "--all", "--bars", bars)
    assert (ran.code, "is no verdict" in ran.err) == (65, True)
