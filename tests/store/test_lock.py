"""One run at a time; the lock dies with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle_batch.errors import LockHeld, StateError
from oracle_batch.store import lock

HOLDER = """
import sys, time
from pathlib import Path
from oracle_batch.store import lock
with lock.hold(Path(sys.argv[1]), role=sys.argv[3]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def holder(
    path: Path, seconds: float, holders: list[subprocess.Popen[str]], role: str = "run"
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds), role]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_at_once_and_told_who_holds_the_lock(
    tmp_path: Path, holders: list[subprocess.Popen[str]]
) -> None:
    process = holder(tmp_path / "lock", 60, holders)
    started = time.monotonic()
    with pytest.raises(LockHeld) as caught, lock.hold(tmp_path / "lock"):
        pass
    assert time.monotonic() - started < 10
    assert caught.value.exit_code == 75
    assert f"process {process.pid} (since 20" in str(caught.value)
    assert str(tmp_path / "lock") in str(caught.value)


def test_a_killed_owner_leaves_the_lock_free(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    process = holder(tmp_path / "lock", 60, holders)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock.hold(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} ")


def test_an_operator_waits_for_a_running_tick(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    holder(tmp_path / "lock", 0.5, holders)
    with lock.hold(tmp_path / "lock", timeout_s=lock.OPERATOR_TIMEOUT_S):
        pass


def test_an_operators_patience_ends(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    holder(tmp_path / "lock", 60, holders)
    started = time.monotonic()
    with pytest.raises(LockHeld), lock.hold(tmp_path / "lock", timeout_s=0.3):
        pass
    assert 0.3 <= time.monotonic() - started < 30


def test_a_guard_is_waited_for_so_that_it_costs_no_bar_close(
    tmp_path: Path, holders: list[subprocess.Popen[str]]
) -> None:
    process = holder(tmp_path / "lock", 60, holders, "guard")
    started = time.monotonic()
    threading.Timer(0.5, process.kill).start()
    with lock.hold(tmp_path / "lock", guard_s=60.0):
        assert 0.5 <= time.monotonic() - started < 30


def test_a_guard_that_does_not_end_is_waited_for_so_long(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    process = holder(tmp_path / "lock", 60, holders, "guard")
    started = time.monotonic()
    with (
        pytest.raises(LockHeld, match=rf"process {process.pid} \(since 20"),
        lock.hold(tmp_path / "lock", guard_s=0.5),
    ):
        pass
    assert 0.5 <= time.monotonic() - started < 30


def test_another_tick_is_not_waited_for(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    holder(tmp_path / "lock", 60, holders)
    started = time.monotonic()
    with pytest.raises(LockHeld), lock.hold(tmp_path / "lock", guard_s=30.0):
        pass
    assert time.monotonic() - started < 20


def test_the_lock_is_released_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path / "lock"):
        raise ZeroDivisionError
    with lock.hold(tmp_path / "lock"):
        pass


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_an_owner_that_could_not_sign_is_another_run(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    holder(tmp_path / "lock", 60, holders)
    (tmp_path / "lock").write_text("")
    with pytest.raises(LockHeld, match="another run holds the lock"), lock.hold(tmp_path / "lock"):
        pass


def test_a_lock_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(StateError, match="cannot lock"), lock.hold(tmp_path / "lock"):
        pass
