"""``oracle-batch guard`` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

from oracle_batch.store.lock import hold
from tests.cli.conftest import LATER, MODEL, ROOT, Cli, snapshot

BETWEEN = "2026-07-24T08:20:30Z"

WITHOUT = """
import sys
from oracle_batch.cli import run
code = run(sys.argv[1:])
heavy = ("pyarrow", "asyncio", "ssl", "torch", "pandas", "apscheduler", "oracle_batch.brain", "oracle_batch.tick")
print(code, [name for name in heavy if name in sys.modules])
"""


def test_a_guard_between_bars_says_nothing_and_writes_nothing(traded: Cli) -> None:
    assert traded("guard", "--now", BETWEEN).code == 0
    before = snapshot(traded.home)
    ran = traded("guard", "--now", BETWEEN)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert snapshot(traded.home) == before


def test_the_json_is_one_object(traded: Cli) -> None:
    ran = traded("guard", "--now", BETWEEN, "--json", "--account", "paper")
    found = ran.json
    assert found["accounts"]["paper"] == {"level": "ok", "closes": [], "amends": [], "recovered": [], "error": None}
    assert found["exit_code"] == ran.code == 0
    assert found["peak_rss_mb"] > 0


def test_a_held_lock_is_somebody_elses_work(traded: Cli) -> None:
    before = snapshot(traded.home)
    with hold(traded.home / "state" / "lock"):
        ran = traded("guard", "--now", BETWEEN)
        quiet = traded("guard", "--now", BETWEEN, "--log-level", "warning")
    assert (ran.code, ran.out) == (75, "")
    assert "ERROR" not in ran.err
    assert "holds the lock" in ran.err
    assert (quiet.code, quiet.err) == (75, "")
    assert snapshot(traded.home) == before


def test_a_dry_run_needs_no_lock_and_writes_nothing(traded: Cli) -> None:
    before = snapshot(traded.home)
    with hold(traded.home / "state" / "lock"):
        ran = traded("guard", "--now", BETWEEN, "--dry-run")
    assert ran.code == 0
    assert "nothing was written" in ran.err
    assert snapshot(traded.home) == before


def test_what_is_done_is_told(traded: Cli) -> None:
    (traded.home / "config" / "oracle.toml").write_text(
        "[risk]\nprofit_target_pct = 0.0001\ninitial_balance = 5000.0\n"
    )
    ran = traded("guard", "--now", BETWEEN)
    assert ran.code == 0
    assert f"paper: close {MODEL} " in ran.err
    assert "PROFIT_TARGET OK" in ran.err
    assert traded("status", "--json", "--now", LATER).json["accounts"]["paper"]["models"][MODEL]["real"] == "FLAT"


def test_wrong_words_are_usage_and_configuration(traded: Cli) -> None:
    assert traded("guard", "--now", "tomorrow").code == 64
    assert traded("guard", "--account", "other").code == 78
    assert traded.bare("guard", "--home", "/nowhere").code == 78


def test_a_workspace_without_models_has_nothing_to_look_after(empty: Cli) -> None:
    (empty.home / "data").mkdir()
    assert empty("guard").code == 0


def test_a_guard_leaves_the_brain_and_the_heavy_libraries_alone(traded: Cli) -> None:
    command = [sys.executable, "-c", WITHOUT, "--home", str(traded.home), "--log-level", "error", "guard"]
    ran = subprocess.run([*command, "--now", BETWEEN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0 []"


def test_it_is_lean(traded: Cli) -> None:
    """With room for other Pythons; the benchmark holds it to 70."""
    command = [sys.executable, "-m", "oracle_batch", "--home", str(traded.home), "guard", "--json", "--now", BETWEEN]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["peak_rss_mb"] < 70
