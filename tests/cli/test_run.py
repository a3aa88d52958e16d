"""``oracle-batch run``: a tick in a child process at each distinct bar close plus one second."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch import scheduler
from oracle_batch.errors import ConfigError
from oracle_batch.scheduler import (
    BarClose,
    BetweenBars,
    child_command,
    next_fire,
    run_child,
    run_guard,
    tick_command,
    timeframes_in,
)
from oracle_batch.types import TIMEFRAME_SECONDS
from tests.cli.conftest import ROOT, Cli

SOME = st.sets(st.sampled_from(sorted(TIMEFRAME_SECONDS)), min_size=1)
INSTANTS = st.floats(0, 4e9) | st.integers(0, 4_000_000).map(lambda steps: float(steps * 900 + 1))

EVERY_SECOND = """
import sys
from oracle_batch import scheduler
scheduler.next_fire = lambda timeframes, after: int(after) + 1
scheduler.tick_command = lambda home, options: [sys.executable, "-c", sys.argv[1], str(home), *options]
from oracle_batch.cli import run
sys.exit(run(sys.argv[2:]))
"""
NOTE = """
import pathlib, sys, time
with (pathlib.Path(sys.argv[1]) / "ticks").open("a") as notes:
    notes.write(f"{time.time()}\\n")
"""


@given(SOME, INSTANTS)
def test_a_fire_is_a_close_plus_one_second_and_none_is_left_out(timeframes: set[str], after: float) -> None:
    steps = {min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes}
    fire = next_fire(timeframes, after)
    assert fire > after
    assert any((fire - 1) % step == 0 for step in steps)
    nearest = [(int(after - 1) // step + more) * step + 1 for step in steps for more in (0, 1, 2)]
    assert fire == min(close for close in nearest if close > after)


@given(SOME, INSTANTS)
def test_fires_are_distinct_and_in_order(timeframes: set[str], after: float) -> None:
    first = next_fire(timeframes, after)
    second = next_fire(timeframes, first)
    assert second - first == min(min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes)
    assert next_fire(timeframes, (after + first) / 2) == first or (after + first) / 2 >= first


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-07-24T{text}+00:00")


def models(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / f"{name}.zip").touch()
    return folder


def fires(trigger: BarClose, now: datetime, count: int) -> list[str]:
    """The next fire times, as a scheduler asks for them."""
    found: list[datetime] = []
    for _ in range(count):
        found.append(trigger.get_next_fire_time(found[-1] if found else None, now))
        now = max(now, found[-1])
    return [f"{one.astimezone(UTC):%H:%M:%S}" for one in found]


def test_a_close_of_several_timeframes_fires_once(tmp_path: Path) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_M15", "EURUSD_H1", "GBPUSD_H1", "US500.cash_H4"))
    assert fires(trigger, at("07:59:00"), 6) == [
        "08:00:01", "08:15:01", "08:30:01", "08:45:01", "09:00:01", "09:15:01",
    ]  # fmt: skip


def test_slow_grids_are_looked_at_every_hour(tmp_path: Path) -> None:
    assert fires(BarClose(models(tmp_path, "EURUSD_D1")), at("07:59:00"), 2) == ["08:00:01", "09:00:01"]


def test_a_late_wakeup_skips_what_is_past(tmp_path: Path) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_M15"))
    assert trigger.get_next_fire_time(at("08:00:01"), at("09:07:00")) == at("09:15:01")
    assert trigger.get_next_fire_time(at("08:00:01"), at("08:00:00.5")) == at("08:15:01"), "a clock that was set back"


def test_a_bundle_added_later_is_woken_for(tmp_path: Path) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_H1"))
    assert fires(trigger, at("08:20:00"), 1) == ["09:00:01"]
    models(tmp_path, "EURUSD_M15")
    assert fires(trigger, at("08:20:00"), 1) == ["08:30:01"]


def test_a_folder_that_was_emptied_goes_on_as_before(tmp_path: Path) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_M15"))
    (tmp_path / "EURUSD_M15.zip").unlink()
    assert fires(trigger, at("08:20:00"), 1) == ["08:30:01"]


def test_no_bundle_no_trigger(tmp_path: Path) -> None:
    models(tmp_path, "notes", "EURUSD_M7")
    with pytest.raises(ConfigError, match="no model bundle"):
        timeframes_in(tmp_path)


def test_the_child_is_this_program(tmp_path: Path) -> None:
    command = tick_command(tmp_path, ["--log-format", "json"])
    assert command == [sys.executable, "-m", "oracle_batch", "--home", str(tmp_path), "--log-format", "json", "tick"]


@pytest.mark.parametrize(
    ("program", "code", "level", "message"),
    [
        ("pass", 0, None, None),
        ("raise SystemExit(75)", 75, "WARNING", "another run held the lock"),
        ("raise SystemExit(1)", 1, "ERROR", "exit code 1"),
        ("import os; os.kill(os.getpid(), 9)", -9, "ERROR", "SIGKILL"),
    ],
)
def test_how_a_tick_ended_is_told(
    program: str, code: int, level: str | None, message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_child([sys.executable, "-c", program]) == code
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(told) == (level is not None)
    if message is not None:
        assert told[0][0] == level
        assert message in told[0][1]


def test_a_tick_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(scheduler, "TICK_TIMEOUT_S", 0.3)
    began = time.monotonic()
    assert run_child([sys.executable, "-c", "import time; time.sleep(60)"]) < 0
    assert time.monotonic() - began < 10
    assert "was ended after" in caplog.text


# guards in between


def test_a_guard_is_woken_each_minute_half_a_minute_from_the_bar_closes() -> None:
    trigger = BetweenBars()
    fires = [trigger.get_next_fire_time(None, at("07:59:00"))]
    for _ in range(3):
        fires.append(trigger.get_next_fire_time(fires[-1], fires[-1]))
    assert [f"{one:%H:%M:%S}" for one in fires] == ["07:59:31", "08:00:31", "08:01:31", "08:02:31"]
    assert trigger.get_next_fire_time(at("08:00:31"), at("08:07:31.5")) == at("08:08:31"), "what is past is skipped"


@given(SOME, st.integers(0, 60_000_000))
def test_no_tick_is_due_while_a_guard_starts(timeframes: set[str], minute: int) -> None:
    start = 60 * minute + scheduler.GUARD_SECOND
    assert next_fire(timeframes, start) - start >= scheduler.GUARD_CLEARANCE_S + 20


@pytest.mark.parametrize(("until_tick", "runs"), [(3.0, False), (60.0, True)])
def test_no_guard_starts_when_a_tick_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until_tick: float, runs: bool
) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_M15"))
    monkeypatch.setattr(scheduler, "next_fire", lambda timeframes, after: after + until_tick)
    note = tmp_path / "ran"
    code = run_guard([sys.executable, "-c", f"open({str(note)!r}, 'w')"], trigger)
    assert (code, note.exists()) == ((0, True) if runs else (None, False))


def test_a_guard_that_hangs_is_ended_before_the_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = BarClose(models(tmp_path, "EURUSD_M15"))
    monkeypatch.setattr(scheduler, "next_fire", lambda timeframes, after: after + scheduler.GUARD_CLEARANCE_S + 0.3)
    began = time.monotonic()
    assert run_guard([sys.executable, "-c", "import time; time.sleep(60)"], trigger) == -9
    assert time.monotonic() - began < 10
    assert "the guard was ended after" in caplog.text


def test_a_guard_that_finds_the_lock_held_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert run_child([sys.executable, "-c", "raise SystemExit(75)"], what="guard") == 75
    assert caplog.records == []


def test_a_real_guard_in_a_child(warm: Cli) -> None:
    assert run_child(child_command(warm.home, ["--log-level", "error"], "guard"), what="guard") == 0


# the resident


def resident(home: Path, program: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", EVERY_SECOND, program, "--home", str(home), "run", *options]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, lines: int) -> list[str]:
    """The lines of a file, once there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and len(found := path.read_text().splitlines()) >= lines:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {lines} lines in {path}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_each_close_wakes_one_child_until_told_to_stop(number: int, code: int, fresh: Cli) -> None:
    process = resident(fresh.home, NOTE, "--log-format", "json")
    instants = [float(line) for line in wait_for(fresh.home / "ticks", 2)]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert instants[1] - instants[0] > 0.3
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert messages[0].startswith("waking a tick at each close of M15; the next at ")
    assert messages[1] == f"stopping on {signal.Signals(number).name}"
    assert messages[2:] == (["interrupted"] if code else [])


def test_a_running_tick_is_waited_for(fresh: Cli) -> None:
    program = NOTE + "time.sleep(1.5)\n(pathlib.Path(sys.argv[1]) / 'done').touch()\n"
    process = resident(fresh.home, program)
    wait_for(fresh.home / "ticks", 1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (fresh.home / "done").exists()
    assert err.count("stopping on SIGTERM") == 1


def test_a_failing_tick_does_not_stop_the_trigger(fresh: Cli) -> None:
    process = resident(fresh.home, NOTE + "sys.exit(1)")
    wait_for(fresh.home / "ticks", 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the tick ended with exit code 1" in err


def test_a_real_tick_in_a_child(warm: Cli) -> None:
    assert run_child(tick_command(warm.home, ["--log-level", "error"])) == 0
    assert warm("status", "--json").json["last_run"] > time.time() - 60
