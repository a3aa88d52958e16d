"""``oracle-batch tick`` as a command: JSON, exit codes, the lock, dry runs, and every documented key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tick.lab import Lab, came_to, outcome, tree
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, NOOP, OPENED, TURNED

ROOT = Path(__file__).parents[2]
GBPUSD = "GBPUSD_M15"
MODEL_KEYS = ["bar_time", "signal", "hmm_state", "decision", "ack", "reason", "error"]
STAGES = ["start", "gather", "decide", "plan", "journal", "send", "commit", "trigger_to_last_order"]
DOCUMENTED = """
[broker]
kind = "paper"
account = "paper"
[broker.paper]
data = "data"
balance = 10000.0
currency = "USD"
leverage = 100
[broker.ctrader]
environment = "demo"
host = ""
port = 5035
cafile = ""
account_id = 0
[tick]
entry_deadline_s = 60
arm_s = 20
bar_poll_s = 5
first_signal = "wait"
same_volume = "hold"
same_symbol = "independent"
auto_warmup = true
max_blind_bars = 4
[risk]
max_daily_loss_pct = 4.0
max_drawdown_pct = 8.0
max_open_positions = 20
max_consecutive_losses = 5
"""


def command(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real thing in a child process."""
    return subprocess.run(
        [sys.executable, "-m", "oracle_batch", "--home", str(lab.workspace.home), *arguments],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def tick_json(lab: Lab, bar: int, *more: str) -> tuple[dict[str, Any], int]:
    done = command(lab, "tick", "--json", "--now", str(lab.close_of(bar) + 1), *more)
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout), done.returncode


def numbers(document: Any) -> Iterator[float]:
    for value in document.values() if isinstance(document, dict) else ():
        yield from numbers(value) if isinstance(value, dict) else [value]


@pytest.fixture
def pair(lab: Lab) -> Lab:
    lab.add("EURUSD", "M15", "W L1 S2 W")
    lab.add("GBPUSD", "M15", "W W L1 W", enabled=False)
    lab.tick(0)
    return lab


def test_json_is_one_object_with_the_documented_keys(pair: Lab) -> None:
    report, code = tick_json(pair, 1)
    assert list(report) == ["now", "account", "models", "accounts", "timing_ms", "peak_rss_mb", "exit_code"]
    assert (report["now"], report["account"], report["exit_code"], code) == (pair.close_of(1) + 1, "paper", 0, 0)
    assert report["accounts"]["paper"]["models"] == report["models"]
    assert all(list(one) == MODEL_KEYS for one in report["models"].values())
    assert list(report["timing_ms"]) == STAGES
    assert all(isinstance(value, float) and value >= 0 for value in numbers(report["timing_ms"]))
    assert 20 < report["peak_rss_mb"] < 400
    opened = {"bar_time": pair.time(EURUSD, 1), "signal": "LONG_WEAK", "decision": "OPEN", "ack": "OK", "reason": None}
    assert report["models"][EURUSD].items() >= opened.items()
    assert report["models"][EURUSD]["hmm_state"] in (0, 1)
    flat = {"signal": "WAIT", "decision": "NOOP", "ack": None, "reason": None, "error": None}
    assert report["models"][GBPUSD].items() >= flat.items()


def test_with_nothing_due_there_are_no_models_and_no_last_order(pair: Lab) -> None:
    report, code = tick_json(pair, 0)
    assert (report["models"], code) == ({}, 0)
    assert report["timing_ms"]["trigger_to_last_order"] is None


def test_now_takes_iso_8601_with_an_offset(pair: Lab) -> None:
    done = command(pair, "tick", "--json", "--now", "2024-01-08T01:30:01+01:00")
    assert json.loads(done.stdout)["models"][EURUSD]["decision"] == "OPEN"


@pytest.mark.parametrize("now", ["2024-01-08T01:30:01", "soon"])
def test_now_that_is_no_instant_is_a_usage_error(pair: Lab, now: str) -> None:
    done = command(pair, "tick", "--now", now)
    assert done.returncode == 64
    assert "--now" in done.stderr


def test_a_model_that_failed_makes_exit_code_1_and_is_named(pair: Lab) -> None:
    pair.workspace.twin_path(EURUSD).write_bytes(b"{")
    pair.trade("GBPUSD")
    report, code = tick_json(pair, 2)
    assert (report["exit_code"], code) == (1, 1)
    assert "EURUSD_M15.json" in report["models"][EURUSD]["error"]
    assert report["models"][GBPUSD]["ack"] == "OK"


def test_a_bad_configuration_is_78_and_names_the_key(pair: Lab) -> None:
    pair.workspace.config_file.write_text("[tick]\nentry_dedline_s = 60\n")
    done = command(pair, "tick", "--now", str(pair.close_of(1) + 1))
    assert done.returncode == 78
    assert "did you mean tick.entry_deadline_s?" in done.stderr
    assert pair.deals() == []


def test_damaged_books_are_65_and_nothing_is_sent(pair: Lab) -> None:
    pair.workspace.executor_path("paper").write_bytes(b"{")
    done = command(pair, "tick", "--json", "--now", str(pair.close_of(1) + 1))
    assert done.returncode == 65
    assert "executor/paper.json" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 65
    assert pair.deals() == []


def test_a_second_tick_is_75_at_once(pair: Lab) -> None:
    from oracle_batch.store.lock import hold

    with hold(pair.workspace.lock):
        done = command(pair, "tick", "--now", str(pair.close_of(1) + 1))
    assert done.returncode == 75
    assert "holds the lock" in done.stderr
    assert pair.deals() == []


def test_every_documented_key_is_accepted(pair: Lab) -> None:
    pair.workspace.config_file.write_text(DOCUMENTED)
    report, code = tick_json(pair, 1)
    assert (report["models"][EURUSD]["ack"], code) == ("OK", 0)


def test_one_account_may_be_chosen(pair: Lab) -> None:
    pair.workspace.config_file.write_text('[[accounts]]\naccount = "paper"\n[[accounts]]\naccount = "other"\n')
    report, code = tick_json(pair, 1, "--account", "other")
    assert (report["account"], list(report["accounts"]), code) == ("other", ["other"], 0)
    assert report["models"][EURUSD]["ack"] == "OK"
    assert pair.deals() == []
    assert command(pair, "tick", "--account", "third").returncode == 78


def test_pause_and_resume_are_the_operators_switch(pair: Lab) -> None:
    assert command(pair, "pause").returncode == 0
    assert tick_json(pair, 1)[0]["models"][EURUSD]["reason"] == "PAUSED"
    assert command(pair, "resume").returncode == 0
    assert tick_json(pair, 2)[0]["models"][EURUSD]["ack"] == "OK"


# dry runs


def test_a_dry_run_changes_no_byte_and_no_time_and_shows_the_same_decisions(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S2 W")
    lab.add("GBPUSD", "M15", "L3 L3 W W")
    lab.workspace.executor_symbols.write_text('{"EURUSD": {"enabled": true, "sl_usd": 0, "max_spread_pips": 0}}')
    expected = [NOOP, OPENED, TURNED, CLOSED]
    for bar in range(4):
        before = tree(lab.workspace.home)
        dry = lab.tick(bar, dry_run=True)
        assert tree(lab.workspace.home) == before
        assert came_to(dry, EURUSD) == (expected[bar][0], None, None)
        wet = lab.tick(bar)
        assert came_to(wet, EURUSD) == expected[bar]
        for name in (EURUSD, GBPUSD):
            one, two = outcome(dry, name), outcome(wet, name)
            assert (one.bar_time, one.action, one.hmm_state) == (two.bar_time, two.action, two.hmm_state)
            assert one.decision == two.decision


def test_a_dry_run_over_an_interrupted_run_changes_nothing_either(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.tick.test_tick_crash import Killer

    lab.add("EURUSD", "M15", "W L1 S2 W")
    lab.play(EURUSD, 2)
    Killer(monkeypatch).run(lab, 2, 3)
    with (lab.workspace.journal_folder("paper") / "2024-01.jsonl").open("ab") as file:
        file.write(b'{"torn')
    before = tree(lab.workspace.home)
    assert came_to(lab.tick(2, dry_run=True), EURUSD) == ("CLOSE_OPEN", "OK", "RECOVERED")
    assert tree(lab.workspace.home) == before


def test_a_dry_run_in_a_new_workspace_makes_nothing(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "L1")
    for folder in sorted(lab.workspace.state.rglob("*"), reverse=True):
        folder.rmdir()
    lab.workspace.state.rmdir()
    before = tree(lab.workspace.home)
    done = command(lab, "tick", "--dry-run", "--json", "--now", str(lab.close_of(0) + 1))
    assert json.loads(done.stdout)["models"][EURUSD]["decision"] == "OPEN"
    assert tree(lab.workspace.home) == before


# the log


def test_the_log_says_what_every_model_came_to(pair: Lab) -> None:
    done = command(pair, "tick", "--now", str(pair.close_of(1) + 1))
    assert done.stdout == ""
    assert "SIGNAL|EURUSD|LONG_WEAK|" in done.stderr
    assert "ACK|EURUSD|LONG_WEAK|OK|T:1|P:1.10009" in done.stderr
    assert "paper: EURUSD_M15 LONG_WEAK OPEN OK" in done.stderr
    assert "paper: GBPUSD_M15 WAIT NOOP" in done.stderr
