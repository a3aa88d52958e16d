"""``oracle-batch run``: a tick in a child process ahead of each distinct bar close, and a guard each minute."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch import children, heartbeat
from oracle_batch.errors import ConfigError
from oracle_batch.heartbeat import SILENT_S, Ended, Heartbeat
from oracle_batch.market_hours import nothing_closes
from oracle_batch.scheduler import GUARD_CLEARANCE_S, Resident
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS
from oracle_batch.waking import GUARD_SECOND, Fires, Waking
from tests.cli.conftest import ROOT, Cli

SOME = st.sets(st.sampled_from(sorted(TIMEFRAME_SECONDS)), min_size=1)
INSTANTS = st.floats(0, 4e9) | st.integers(0, 4_000_000).map(lambda steps: float(steps * 900 + 1))
LEADS = st.sampled_from([0.0, 1.0, 20.0, 30.0, 300.0])


def waking(arm_s: float, home: Path = Path("nowhere")) -> Waking:
    return Waking(Workspace(home), arm_s)


# when


@given(SOME, INSTANTS, LEADS)
def test_a_fire_is_a_lead_before_a_close_and_none_is_left_out(timeframes: set[str], after: float, arm_s: float) -> None:
    when = waking(arm_s)
    lead = when.lead(timeframes)
    fire = when.next_tick(timeframes, after)
    steps = {min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes}
    assert fire > after
    assert any((fire + lead) % step == 0 for step in steps)
    nearest = [(int((after + lead) // step) + more) * step - lead for step in steps for more in (0, 1, 2)]
    assert fire == min(close for close in nearest if close > after)


@given(SOME, INSTANTS, LEADS)
def test_fires_are_distinct_and_in_order(timeframes: set[str], after: float, arm_s: float) -> None:
    when = waking(arm_s)
    first = when.next_tick(timeframes, after)
    second = when.next_tick(timeframes, first)
    assert second - first == min(min(TIMEFRAME_SECONDS[one], 3600) for one in timeframes)


@given(SOME, st.integers(0, 60_000_000), LEADS)
def test_a_guard_has_time_between_two_ticks(timeframes: set[str], minute: int, arm_s: float) -> None:
    when = waking(min(arm_s, 30.0))
    start = 60.0 * minute + GUARD_SECOND
    assert when.next_tick(timeframes, start) - start >= GUARD_CLEARANCE_S + 5
    since = start - when.next_tick(timeframes, start - 60 - when.lead(timeframes)) - when.lead(timeframes)
    assert since >= 19 or since < 0, "the close before it is not closer than that"


def test_a_close_of_several_timeframes_fires_once(tmp_path: Path) -> None:
    assert fires(tmp_path, 20.0, "07:59:00", 6, "EURUSD_M15", "EURUSD_H1", "GBPUSD_H1", "US500.cash_H4") == [
        "07:59:40", "08:14:40", "08:29:40", "08:44:40", "08:59:40", "09:14:40",
    ]  # fmt: skip


def test_without_a_lead_a_tick_starts_a_second_after_the_close(tmp_path: Path) -> None:
    assert fires(tmp_path, 0.0, "07:59:00", 2, "EURUSD_M15") == ["08:00:01", "08:15:01"]


def test_slow_grids_are_looked_at_every_hour(tmp_path: Path) -> None:
    assert fires(tmp_path, 20.0, "07:59:50", 2, "EURUSD_D1") == ["08:59:40", "09:59:40"]


def fires(home: Path, arm_s: float, start: str, count: int, *names: str) -> list[str]:
    """The next fire times, as a scheduler asks for them."""
    when = waking(arm_s, workspace(home, *names).home)
    trigger, now = Fires(lambda after: when.next_tick(when.timeframes(), after)), at(start)
    found: list[datetime] = []
    for _ in range(count):
        found.append(trigger.get_next_fire_time(found[-1] if found else None, now))
        now = max(now, found[-1])
    return [f"{one.astimezone(UTC):%H:%M:%S}" for one in found]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-07-24T{text}+00:00")


def workspace(home: Path, *names: str) -> Workspace:
    """A home with bundles by name; nobody reads them here."""
    found = Workspace(home)
    found.ensure()
    for name in names:
        found.bundle_path(name).touch()
    return found


def test_a_late_wakeup_skips_what_is_past(tmp_path: Path) -> None:
    when = waking(20.0, workspace(tmp_path, "EURUSD_M15").home)
    trigger = Fires(lambda after: when.next_tick({"M15"}, after))
    assert trigger.get_next_fire_time(at("07:59:40"), at("09:07:00")) == at("09:14:40")
    assert trigger.get_next_fire_time(at("07:59:40"), at("07:59:39.5")) == at("08:14:40"), "a clock that was set back"


def test_guards_come_each_minute_and_what_is_past_is_skipped(tmp_path: Path) -> None:
    trigger = Fires(waking(20.0, workspace(tmp_path, "EURUSD_M15").home).next_guard)
    found = [trigger.get_next_fire_time(None, at("07:59:00"))]
    for _ in range(3):
        found.append(trigger.get_next_fire_time(found[-1], found[-1]))
    assert [f"{one:%H:%M:%S}" for one in found] == ["07:59:20", "08:00:20", "08:01:20", "08:02:20"]
    assert trigger.get_next_fire_time(at("08:00:20"), at("08:07:20.5")) == at("08:08:20")


SATURDAY = 1784980800.0  # 2026-07-25 12:00Z
FOREX = {"zone": "America/New_York", "sessions": [[61500, 493140]], "holidays": []}


def closed(home: Path, told_at: float, *names: str) -> Workspace:
    """A home whose markets are known to be closed at the weekend."""
    found = workspace(home, *names)
    found.market_hours.write_text(
        json.dumps({"schema": 1, "told_at": told_at, "models": {name: [FOREX] for name in names}})
    )
    return found


def test_at_the_weekend_nothing_is_woken_but_a_guard_before_each_full_hour(tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15", "GBPUSD_M15").home
    when = waking(20.0, home)
    assert when.next_tick({"M15"}, SATURDAY) > SATURDAY + 20 * 3600
    guards = [when.next_guard(SATURDAY)]
    for _ in range(2):
        guards.append(when.next_guard(guards[-1]))
    assert [one % 3600 for one in guards] == [59 * 60 + GUARD_SECOND] * 3
    assert [later - one for one, later in pairwise(guards)] == [3600, 3600]


def test_a_model_that_comes_at_the_weekend_is_woken_for_until_its_hours_are_known(tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15").home
    workspace(home, "BTCUSD_M15")
    assert waking(20.0, home).next_tick({"M15"}, SATURDAY) == SATURDAY + 880


@pytest.mark.parametrize(("seconds", "idle"), [(0.0, True), (270.0, True), (90000.0, False)])
def test_a_tick_that_would_wait_for_a_close_at_the_weekend_does_not(seconds: float, idle: bool, tmp_path: Path) -> None:
    home = closed(tmp_path, SATURDAY - 3600, "EURUSD_M15")
    assert nothing_closes(home, SATURDAY + 620 + seconds, 300.0) is idle
    assert not nothing_closes(home, SATURDAY + seconds, 300.0), "the next close is not near: it acts on the last one"


def test_the_command_ends_at_once_where_there_is_nothing_to_wait_for(
    warm: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_batch.market_hours.nothing_closes", lambda workspace, now, arm_s: arm_s == 7.0)
    ran = warm("tick", "--arm", "7")
    assert (ran.code, ran.out) == (0, "")
    assert "by their schedules all markets are closed" in ran.err


# the children


def test_the_child_is_this_program(tmp_path: Path) -> None:
    line = children.command(tmp_path, ["--log-format", "json"], "tick", "--arm", "20")
    program = [sys.executable, "-m", "oracle_batch", "--home", str(tmp_path)]
    assert line == [*program, "--log-format", "json", "tick", "--arm", "20"]


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
    assert children.run([sys.executable, "-c", program], 60.0, "tick") == code
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(told) == (level is not None)
    if message is not None:
        assert told[0][0] == level
        assert message in told[0][1]


@pytest.mark.parametrize(("program", "code"), [("pass", -15), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", -9)])
def test_a_child_that_hangs_is_told_to_end_and_killed_if_it_does_not(
    program: str, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "END_S", 0.5)
    line = [sys.executable, "-c", f"import signal, time; {program}; time.sleep(60)"]
    assert children.run(line, 1.0, "tick") == code
    assert "was told to end after 1 s" in caplog.text


def test_a_child_that_finishes_when_told_to_end_is_not_killed() -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)"
    assert children.run([sys.executable, "-c", program], 1.5, "tick") == 0


def test_a_guard_that_finds_the_lock_held_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert children.run([sys.executable, "-c", "raise SystemExit(75)"], 60.0, "guard") == 75
    assert caplog.records == []


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], float, str]]:
    """What the resident starts, instead of starting it."""
    started: list[tuple[list[str], float, str]] = []

    def run(line: Sequence[str], timeout_s: float, what: str) -> int:
        started.append((list(line), timeout_s, what))
        return 0

    monkeypatch.setattr(children, "run", run)
    return started


@pytest.mark.parametrize(("arm_s", "names", "told"), [
    (20.0, ["EURUSD_M15"], ["--arm", "20"]), (90.0, ["EURUSD_M1", "EURUSD_H1"], ["--arm", "30"]),
    (0.0, ["EURUSD_M15"], []),
])  # fmt: skip
def test_a_tick_is_told_how_long_to_wait(
    arm_s: float, names: list[str], told: list[str], tmp_path: Path, runs: list[Any]
) -> None:
    Resident(workspace(tmp_path, *names), arm_s, [], None).tick()
    ((line, _, what),) = runs
    assert what == "tick"
    assert line[line.index("tick") + 1 :] == told


@pytest.mark.parametrize(("until_tick", "runs_for"), [(3.0, None), (30.0, 25.0), (600.0, 50.0)])
def test_a_guard_is_over_before_the_next_tick(
    until_tick: float, runs_for: float | None, tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = Resident(workspace(tmp_path, "EURUSD_M15"), 20.0, [], None)
    monkeypatch.setattr(resident, "next_tick", lambda after: after + until_tick)
    resident.guard()
    assert [what for _, _, what in runs] == ([] if runs_for is None else ["guard"])
    assert runs_for is None or runs[0][1] == pytest.approx(runs_for)


def test_a_bundle_added_later_is_woken_for_and_an_emptied_folder_goes_on_as_before(tmp_path: Path) -> None:
    found = workspace(tmp_path, "EURUSD_H1")
    resident = Resident(found, 20.0, [], None)
    assert resident.next_tick(0.0) == 3580
    workspace(tmp_path, "EURUSD_M15")
    assert resident.next_tick(0.0) == 880
    for path in found.models.iterdir():
        path.unlink()
    assert resident.next_tick(0.0) == 880


def test_no_bundle_no_trigger(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model bundle"):
        Resident(workspace(tmp_path, "notes", "EURUSD_M7"), 20.0, [], None)


# the heartbeat


def test_what_ran_is_in_the_heartbeat(tmp_path: Path, runs: list[Any]) -> None:
    found = workspace(tmp_path, "EURUSD_M15")
    resident = Resident(found, 20.0, [], None)
    assert heartbeat.read(found.heartbeat) is None
    resident.tick()
    resident.tick()
    beat = heartbeat.read(found.heartbeat)
    assert beat is not None
    assert (beat.process, beat.ticks, beat.guards, beat.running) == (os.getpid(), 2, 0, None)
    assert beat.last_tick is not None
    assert beat.last_tick.exit_code == 0
    assert beat.next_tick is not None
    assert beat.next_tick > beat.beat_at
    assert not list(found.state.glob(".heart*")), "no temp file is left"


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


# the resident

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
    beat = heartbeat.read(Workspace(fresh.home).heartbeat)
    assert beat is not None
    assert beat.process == process.pid
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert instants[1] - instants[0] > 0.3
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert messages[0].startswith("waking a tick for each close of M15; the next one at ")
    assert messages[1] == f"stopping on {signal.Signals(number).name}"
    assert messages[2:] == (["interrupted"] if code else [])
    assert not Workspace(fresh.home).heartbeat.exists(), "who ends in order says so"


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
