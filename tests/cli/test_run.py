"""``oracle-batch run``, a process: what it starts, how it ends, and what it says of itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from oracle_batch import heartbeat
from oracle_batch.heartbeat import SILENT_S, Ended, Heartbeat
from oracle_batch.store.workspace import Workspace
from tests.cli.conftest import ROOT, Cli


def test_the_command_ends_at_once_where_there_is_nothing_to_wait_for(
    warm: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_batch.market_hours.nothing_closes", lambda workspace, now, arm_s: arm_s == 7.0)
    ran = warm("tick", "--arm", "7")
    assert (ran.code, ran.out) == (0, "")
    assert "by their schedules all markets are closed" in ran.err


def test_a_wrong_setting_is_told_at_its_start(fresh: Cli) -> None:
    Workspace(fresh.home).config_file.write_text("[tick]\narm_s = 301\n")
    ran = fresh("run")
    assert (ran.code, ran.out) == (78, "")
    assert "tick.arm_s" in ran.err
    assert not Workspace(fresh.home).heartbeat.exists()


def test_a_state_folder_that_cannot_be_locked_is_told(fresh: Cli) -> None:
    Workspace(fresh.home).ensure()
    Workspace(fresh.home).resident.mkdir()
    ran = fresh("run")
    assert ran.code == 65
    assert "resident.lock: cannot lock" in ran.err


# the heartbeat


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"schema":1}', b'{"schema":2,"process":1,"started_at":0,"beat_at":0}']
)
def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "heartbeat.json"
    path.write_bytes(data)
    assert heartbeat.read(path) is None


BEAT = Heartbeat(
    process=4711, started_at=0.0, beat_at=1784880000.0, next_tick=1784880880.0, last_tick=Ended(1.0, 0, 2.5)
)


def test_the_status_tells_the_next_fire_and_a_heart_that_stopped(traded: Cli) -> None:
    assert traded("status", "--json").json["resident"] is None
    heartbeat.write(Workspace(traded.home).heartbeat, BEAT)
    soon, late = int(BEAT.beat_at + 30), int(BEAT.beat_at + SILENT_S + 1)
    assert "next tick 08:14:40Z" in traded("status", "--now", soon).out
    told = traded("status", "--json", "--now", soon).json
    assert (told["resident"]["stale"], told["resident"]["next_tick"]) == (False, BEAT.next_tick)
    assert told["problems"] == []
    assert "next tick" not in traded("status", "--now", late).out
    told = traded("status", "--json", "--now", late).json
    assert told["resident"]["stale"]
    assert told["problems"][0].startswith("`oracle-batch run` (process 4711) has said nothing for 3 min")


@pytest.mark.parametrize(("code", "told"), [(0, None), (1, None), (75, None), (78, "exit code 78"), (-9, "signal 9")])
def test_the_status_tells_of_a_tick_that_did_not_get_far(code: int, told: str | None, traded: Cli) -> None:
    beat = replace(BEAT, last_tick=Ended(BEAT.beat_at - 60, code, 1.0))
    heartbeat.write(Workspace(traded.home).heartbeat, beat)
    problems = traded("status", "--json", "--now", int(BEAT.beat_at + 30)).json["problems"]
    expected = f"the last tick of `oracle-batch run` (process 4711) ended with {told} at 2026-07-24 07:59Z: see its log"
    assert problems == ([] if told is None else [expected])


# the process

EVERY_SECOND = """
import sys
from oracle_batch import children, waking
waking.Waking.next_tick = lambda self, timeframes, after: int(after) + 1.0
waking.Waking.next_guard = lambda self, after: after + 1e6
children.command = lambda home, options, what, *more: [sys.executable, "-c", sys.argv[1], str(home), *options]
from oracle_batch.cli import run
sys.exit(run(sys.argv[2:]))
"""
NOTE = """
import pathlib, sys, time
with (pathlib.Path(sys.argv[1]) / "ticks").open("a") as notes:
    notes.write(f"{time.time()}\\n")
"""


FINISHING = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(1)
    (pathlib.Path(sys.argv[1]) / "done").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
"""


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_each_close_wakes_one_child_until_told_to_stop(number: int, code: int, fresh: Cli) -> None:
    began = time.time()
    process = resident(fresh.home, NOTE, "--log-format", "json")
    assert len(wait_for(fresh.home / "ticks", 2)) <= int(time.time()) - int(began), "so many closes have come"
    beat = heartbeat.read(Workspace(fresh.home).heartbeat)
    assert beat is not None
    assert beat.process == process.pid
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert messages[0].startswith("waking a tick for each close of M15; the next one at ")
    assert messages[1] == f"stopping on {signal.Signals(number).name}"
    rest = [one for one in messages[2:] if "ended as it was told to" not in one]
    assert rest == (["interrupted"] if code else [])
    assert not Workspace(fresh.home).heartbeat.exists(), "who ends in order says so"


def test_a_running_tick_is_told_to_end_and_waited_for(fresh: Cli) -> None:
    process = resident(fresh.home, FINISHING + NOTE + "time.sleep(60)")
    wait_for(fresh.home / "ticks", 1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (fresh.home / "done").exists()
    assert err.count("stopping on SIGTERM") == 1
    assert "the tick ended as it was told to" in err


def test_ticks_that_overlap_happen_one_after_another(fresh: Cli) -> None:
    process = resident(fresh.home, NOTE + "time.sleep(1.6)")
    instants = [float(line) for line in wait_for(fresh.home / "ticks", 3)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert all(later - one > 1.5 for one, later in pairwise(instants))


def test_a_failing_tick_does_not_stop_the_trigger(fresh: Cli) -> None:
    process = resident(fresh.home, NOTE + "sys.exit(1)")
    wait_for(fresh.home / "ticks", 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the tick ended with exit code 1" in err


@pytest.mark.usefixtures("unwatched")
def test_the_resident_is_small(fresh: Cli) -> None:
    found = Workspace(fresh.home)
    for number in range(20):
        found.bundle_path(f"AAA{number:02}_M15").write_bytes(found.bundle_path("EURUSD_M15").read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle_batch", "--home", fresh.home, "run"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(found.heartbeat, 1)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not any(name in maps for name in ("numpy", "arrow", "openblas", "_ssl"))
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak_kb < 30 * 1024


def test_a_second_resident_is_refused_and_takes_over_when_the_first_is_gone(fresh: Cli) -> None:
    first = resident(fresh.home, NOTE)
    wait_for(fresh.home / "ticks", 1)
    second = resident(fresh.home, NOTE)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 75
    assert f"`oracle-batch run` is at work here already, as process {first.pid}" in err
    assert Workspace(fresh.home).heartbeat.exists(), "the first one's heartbeat stays"
    first.kill()
    first.communicate(timeout=60)
    assert Workspace(fresh.home).heartbeat.exists(), "who is killed cannot say so"
    third = resident(fresh.home, NOTE)
    seen = len(wait_for(fresh.home / "ticks", 1))
    wait_for(fresh.home / "ticks", seen + 1)
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=60)
    assert third.returncode == 0


def test_a_child_outlives_a_killed_resident(fresh: Cli) -> None:
    process = resident(fresh.home, NOTE + "time.sleep(2)\n(pathlib.Path(sys.argv[1]) / 'done').touch()")
    wait_for(fresh.home / "ticks", 1)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while not (fresh.home / "done").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (fresh.home / "done").exists(), "what it sends is put on record"


def test_a_tick_that_is_killed_is_told_of_and_the_next_one_comes(fresh: Cli) -> None:
    process = resident(fresh.home, NOTE + "import os; os.kill(os.getpid(), 9)")
    wait_for(fresh.home / "ticks", 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the tick was ended by SIGKILL" in err


def test_nohup_is_respected(fresh: Cli) -> None:
    quiet = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    command = [sys.executable, "-c", quiet + EVERY_SECOND, NOTE, "--home", str(fresh.home), "run"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        wait_for(fresh.home / "ticks", 1)
        process.send_signal(signal.SIGHUP)
        wait_for(fresh.home / "ticks", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
