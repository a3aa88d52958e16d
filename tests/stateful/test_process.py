"""FAILURE_MODES, crash and time: rows 34, 35 and 41, with real processes of the real command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oracle_batch.broker.base import OpenIntent
from tests.tick.lab import Lab
from tests.tick.test_tick_crash import MODELS, result, scene

ROOT = Path(__file__).parents[2]
SLOW = """
import asyncio, sys, time
from pathlib import Path
from oracle_batch import bounded
from oracle_batch.broker.paper import PaperBroker

where, how, flag = sys.argv[1:4]
if how == "hangs":
    bounded.WATCHDOG_S = 0.5
real = getattr(PaperBroker, where)

async def slow(self, *arguments):
    Path(flag).touch()
    if how == "hangs":
        time.sleep(60)
    await asyncio.sleep(float(how))
    return await real(self, *arguments)

setattr(PaperBroker, where, slow)
sys.argv = ["oracle-batch", *sys.argv[4:]]
from oracle_batch.cli import main
main()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The next tick has every kind of leg, and five seconds."""
    made = scene(tmp_path / "home")
    made.workspace.config_file.parent.mkdir(exist_ok=True)
    made.workspace.config_file.write_text("[tick]\ntick_deadline_s = 5\n")
    return made


@pytest.fixture
def expected(lab: Lab, tmp_path: Path) -> object:
    calm = lab.copy(tmp_path / "calm")
    calm.tick(2)
    return result(calm)


def started(lab: Lab, *before: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = ["--home", str(lab.workspace.home), "tick", "--now", str(lab.close_of(2) + 1), "--json"]
    whole = [sys.executable, *(before or ("-m", "oracle_batch")), *command]
    return subprocess.Popen(whole, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def slow(lab: Lab, where: str, how: str) -> subprocess.Popen[str]:
    """A tick that is at a place of the broker's for so long; returns when it is there."""
    flag = lab.workspace.home.parent / "here"
    child = started(lab, "-c", SLOW, where, how, str(flag))
    until = time.monotonic() + 60
    while not flag.exists():
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    return child


def finished(lab: Lab) -> None:
    out, err = started(lab).communicate(timeout=60)
    assert '"models"' in out, err


@pytest.mark.parametrize("where", ["connect", "execute"])
def test_row_34_a_run_that_hangs_is_ended_and_the_next_one_finishes_it(lab: Lab, expected: object, where: str) -> None:
    child = slow(lab, where, "hangs")
    began = time.monotonic()
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert time.monotonic() - began < 30
    assert "in slow" in err, "its place is told"
    finished(lab)
    assert result(lab) == expected


def test_row_34_a_run_that_waits_for_too_long_ends_itself(lab: Lab, expected: object) -> None:
    child = slow(lab, "connect", "50")
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "longer than its 5 s" in err
    finished(lab)
    assert result(lab) == expected


def test_row_35_told_to_stop_before_the_burst_it_stops_and_nothing_was_sent(lab: Lab, expected: object) -> None:
    before = lab.deals()
    child = slow(lab, "connect", "50")
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 143
    assert lab.deals() == before
    bar = f"-{lab.time(MODELS[0], 2)}-"
    assert not [one for one in lab.journal() if isinstance(one, OpenIntent) and bar in one.intent_id]
    finished(lab)
    assert result(lab) == expected


def test_row_35_told_to_stop_in_the_burst_it_finishes_and_books_it_first(lab: Lab, expected: object) -> None:
    child = slow(lab, "execute", "1")
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode in (0, 143)
    assert result(lab) == expected


def test_row_41_of_two_runs_that_overlap_the_second_leaves_at_once_and_changes_nothing(
    lab: Lab, expected: object
) -> None:
    lab.workspace.config_file.write_text("[tick]\ntick_deadline_s = 60\n")
    first = slow(lab, "execute", "6")
    second = started(lab)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 75
    assert f"process {first.pid}" in err
    assert first.poll() is None, "the first one is still at work"
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert result(lab) == expected
