"""A child runs to its end, whatever that is, and somebody is told of it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from oracle_batch import children
from oracle_batch.children import Children


def ended_when_ready(program: str, ready: Path) -> tuple[Children, list[int]]:
    """Run a child, tell it to end once it is ready, and wait: with what code it did."""
    found, codes = Children(), list[int]()
    worker = threading.Thread(target=lambda: codes.append(found.run([sys.executable, "-c", program], 60.0, "tick")))
    worker.start()
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    found.end()
    worker.join(60)
    return found, codes


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
    assert Children().run([sys.executable, "-c", program], 60.0, "tick") == code
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
    assert Children().run(line, 2.0, "tick") == code
    assert "was told to end after 2 s" in caplog.text


def test_a_child_that_finishes_when_told_to_end_is_not_killed() -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)"
    assert Children().run([sys.executable, "-c", program], 2.0, "tick") == 0


def test_a_guard_that_finds_the_lock_held_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert Children().run([sys.executable, "-c", "raise SystemExit(75)"], 60.0, "guard") == 75
    assert caplog.records == []


def test_a_signal_without_a_name_is_told_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    code = Children().run([sys.executable, "-c", "import os; os.kill(os.getpid(), 40)"], 60.0, "tick")
    assert code == -40
    assert "the tick was ended by signal 40" in caplog.text


def test_a_child_that_the_system_does_not_start_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Children().run([str(tmp_path / "gone")], 60.0, "tick") == children.NOT_STARTED
    assert "the tick could not be started" in caplog.text
    assert "No such file" in caplog.text


UNTIL_TOLD = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(CODE))
pathlib.Path(READY).touch()
time.sleep(60)
"""


@pytest.mark.parametrize(("code", "level"), [(143, "INFO"), (0, None), (1, "ERROR")])
def test_a_running_child_is_told_to_end_and_none_is_started_after_it(
    code: int, level: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ready = tmp_path / "ready"
    program = UNTIL_TOLD.replace("CODE", str(code)).replace("READY", repr(str(ready)))
    found, codes = ended_when_ready(program, ready)
    assert codes == [code]
    assert [one.levelname for one in caplog.records] == ([] if level is None else [level])
    assert found.run([sys.executable, "-c", f"open({str(tmp_path / 'more')!r}, 'w')"], 60.0, "guard") == 143
    assert not (tmp_path / "more").exists()


def test_a_running_child_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "END_S", 0.5)
    ready = tmp_path / "ready"
    program = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(60)"
    _, codes = ended_when_ready(program, ready)
    assert codes == [-signal.SIGKILL]
    assert "the tick was ended by SIGKILL" in caplog.text
