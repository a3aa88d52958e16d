"""``oracle-batch tick`` as a trigger calls it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.store.lock import hold
from tests.cli.conftest import LATER, MODEL, ROOT, TICKS, Cli, child, snapshot

KEYS = {"now", "account", "models", "accounts", "timing_ms", "peak_rss_mb", "exit_code"}
MODEL_KEYS = {"bar_time", "signal", "hmm_state", "decision", "ack", "reason", "error"}
STAGES = {"start", "gather", "decide", "plan", "journal", "send", "commit", "trigger_to_last_order"}

TOO_HEAVY = (
    "torch", "stable_baselines3", "hmmlearn", "pandas", "gymnasium", "dask", "twisted", "google.protobuf",
    "rich", "apscheduler", "scipy", "matplotlib", "pydantic", "requests",
)  # fmt: skip

LEAN = f"""
import sys
from oracle_batch.cli import run
code = run(sys.argv[1:])
loaded = [name for name in {TOO_HEAVY!r} if name in sys.modules]
sys.stdout.write(f"\\n{{code}} {{loaded}}")
"""


def test_a_tick_trades_and_says_so(warm: Cli) -> None:
    ran = warm("tick", "--now", TICKS[0])
    assert ran.code == 0
    assert ran.out == ""
    assert "SIGNAL|EURUSD|" in ran.err
    assert f"paper: {MODEL} " in ran.err


def test_json_is_stable_and_alone_on_stdout(warm: Cli) -> None:
    ran = warm("tick", "--json", "--now", TICKS[0], "--log-format", "json")
    report = ran.json
    assert ran.out.count("\n") == 1
    assert [json.loads(line)["level"] for line in ran.err.splitlines()]
    assert set(report) == KEYS
    assert set(report["models"]) == {MODEL}
    assert set(report["models"][MODEL]) == MODEL_KEYS
    assert set(report["timing_ms"]) == STAGES
    assert report["account"] == "paper"
    assert report["accounts"]["paper"]["models"] == report["models"]
    assert (report["models"][MODEL]["decision"], report["models"][MODEL]["ack"]) == ("OPEN", "OK")
    assert report["exit_code"] == 0


def test_the_same_bar_again_is_nothing_new(traded: Cli) -> None:
    before = snapshot(traded.home)
    ran = traded("tick", "--now", LATER, "--json")
    assert (ran.code, ran.json["models"]) == (0, {})
    assert snapshot(traded.home) == before


def test_a_dry_run_writes_nothing(warm: Cli) -> None:
    before = snapshot(warm.home)
    ran = warm("tick", "--dry-run", "--json", "--now", TICKS[0])
    assert (ran.code, ran.json["models"][MODEL]["decision"]) == (0, "OPEN")
    assert snapshot(warm.home) == before


def test_a_dry_run_needs_no_state_at_all(fresh: Cli) -> None:
    ran = fresh("tick", "--dry-run", "--json", "--now", TICKS[0])
    assert ran.code == 0
    assert not (fresh.home / "state").exists()


def test_the_first_tick_disables_what_it_does_not_know(warm: Cli) -> None:
    (warm.home / "config" / "executor_symbols.json").unlink()
    ran = warm("tick", "--json", "--now", TICKS[0])
    assert ran.json["models"][MODEL]["reason"] == "DISABLED"
    written = json.loads((warm.home / "config" / "executor_symbols.json").read_text())
    assert written["EURUSD"]["enabled"] is False


def test_a_second_run_ends_at_once_with_75(warm: Cli) -> None:
    with hold(warm.home / "state" / "lock"):
        ran = warm("tick", "--now", TICKS[0])
    assert ran.code == 75
    assert "holds the lock" in ran.err


def test_one_broken_model_does_not_stop_the_others(warm: Cli) -> None:
    (warm.home / "models" / "GBPUSD_H1.zip").write_bytes(b"broken")
    ran = warm("tick", "--json", "--now", TICKS[0])
    assert ran.code == 1
    assert ran.json["models"][MODEL]["ack"] == "OK"
    assert "GBPUSD_H1" in ran.json["models"]["GBPUSD_H1"]["error"]
    assert "GBPUSD_H1" in ran.err


@pytest.mark.parametrize("broken", ["oracle.toml", "executor_symbols.json"])
def test_a_broken_configuration_trades_nothing(broken: str, warm: Cli) -> None:
    (warm.home / "config" / broken).write_text("{ nonsense", encoding="utf-8")
    ran = warm("tick", "--now", TICKS[0], "--json")
    assert (ran.code, ran.json["exit_code"], ran.json["models"]) == (78, 78, {})
    assert ran.json["account"] == (None if broken == "oracle.toml" else "paper")
    assert set(ran.json) == KEYS
    assert broken in ran.err
    assert not (warm.home / "state" / "journal" / "paper").exists()


def test_where_all_markets_are_closed_there_is_nothing_to_wait_for_and_nothing_to_write(
    warm: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_batch.market_hours.nothing_closes", lambda *_: True)
    before = snapshot(warm.home)
    ran = warm("tick", "--arm", "20")
    assert (ran.code, "all markets are closed" in ran.err) == (0, True)
    assert snapshot(warm.home) == before
    ran = warm("tick", "--arm", "20", "--trace", tmp_path / "nowhere" / "trace.json")
    assert (ran.code, "cannot be written" in ran.err) == (65, True)


def test_another_configuration_file(warm: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[broker]\naccount = "second"\n', encoding="utf-8")
    ran = warm("tick", "--config", other, "--json", "--now", TICKS[0])
    assert ran.json["account"] == "second"
    assert (warm.home / "state" / "executor" / "second.json").exists()


def test_a_paper_tick_loads_no_heavy_library(warm: Cli) -> None:
    command = [sys.executable, "-c", LEAN, "--home", str(warm.home), "tick", "--now", TICKS[0], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    assert json.loads(done.stdout.splitlines()[0])["models"][MODEL]["ack"] == "OK"


def test_two_children_at_once_trade_once(warm: Cli) -> None:
    children = [child("--home", warm.home, "tick", "--now", TICKS[0]) for _ in range(2)]
    for one in children:
        one.communicate(timeout=60)
    assert sorted(one.returncode for one in children) in ([0, 0], [0, 75])
    assert len(warm("status", "--json", "--now", LATER).json["accounts"]["paper"]["models"]) == 1
    journal = "".join(path.read_text() for path in (warm.home / "state" / "journal" / "paper").iterdir())
    assert journal.count('"kind":"fill"') == 1


def test_a_damaged_twin_stops_its_model_and_stays(traded: Cli) -> None:
    twin = traded.home / "state" / "twin" / f"{MODEL}.json"
    twin.write_text("{", encoding="utf-8")
    ran = traded("tick", "--json", "--now", "2026-07-24T08:30:01Z")
    assert ran.code == 1
    assert twin.read_text(encoding="utf-8") == "{"
    shutil.rmtree(traded.home / "state" / "twin")
