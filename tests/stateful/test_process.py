"""FAILURE_MODES, crash and time: rows 34, 35 and 41, with real processes of the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oracle_batch.broker.base import OpenIntent
from oracle_batch.store.lease import LAPSES_S
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
    setattr(PaperBroker, where, real)
    Path(flag).touch()
    if how == "hangs":
        time.sleep(60)
    if how == "held":
        while Path(flag).exists():
            await asyncio.sleep(0.02)
    else:
        await asyncio.sleep(float(how))
    return await real(self, *arguments)

setattr(PaperBroker, where, slow)
sys.argv = ["oracle-batch", *sys.argv[4:]]
from oracle_batch.cli import main
main()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The next tick has every kind of leg."""
    made = scene(tmp_path / "home")
    made.workspace.config_file.parent.mkdir(exist_ok=True)
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


@contextmanager
def slow(lab: Lab, where: str, how: str) -> Iterator[subprocess.Popen[str]]:
    """A tick that has come to a place of the broker's and stays there: so many seconds, for good, or while ``flag``."""
    with started(lab, "-c", SLOW, where, how, str(flag(lab))) as child:
        try:
            until = time.monotonic() + 60
            while not flag(lab).exists():
                assert child.poll() is None, child.communicate()[1]
                assert time.monotonic() < until
                time.sleep(0.02)
            yield child
        except BaseException:
            child.kill()
            raise


def flag(lab: Lab) -> Path:
    """Exists from when a slow tick has come to its place; one that is held goes on when it is removed."""
    return lab.workspace.home.parent / "here"


def may_take(lab: Lab, seconds: int) -> None:
    lab.workspace.config_file.write_text(f"[tick]\ntick_deadline_s = {seconds}\n")


def finished(lab: Lab) -> None:
    may_take(lab, 60)
    with started(lab) as child:
        out, err = child.communicate(timeout=60)
    assert '"models"' in out, err


@pytest.mark.parametrize("where", ["connect", "execute"])
def test_row_34_a_run_that_hangs_is_ended_and_the_next_one_finishes_it(lab: Lab, expected: object, where: str) -> None:
    may_take(lab, 5)
    with slow(lab, where, "hangs") as child:
        began = time.monotonic()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert time.monotonic() - began < 40
    assert "in slow" in err, "its place is told"
    finished(lab)
    assert result(lab) == expected


def test_row_34_a_run_that_waits_for_too_long_ends_itself(lab: Lab, expected: object) -> None:
    may_take(lab, 5)
    with slow(lab, "connect", "50") as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "longer than its 5 s" in err
    finished(lab)
    assert result(lab) == expected


def test_row_35_told_to_stop_before_the_burst_it_stops_and_nothing_was_sent(lab: Lab, expected: object) -> None:
    before = lab.deals()
    with slow(lab, "connect", "50") as child:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert child.returncode == 143
    assert lab.deals() == before
    bar = f"-{lab.time(MODELS[0], 2)}-"
    assert not [one for one in lab.journal() if isinstance(one, OpenIntent) and bar in one.intent_id]
    finished(lab)
    assert result(lab) == expected


def test_row_35_told_to_stop_in_the_burst_it_finishes_and_books_it_first(lab: Lab, expected: object) -> None:
    with slow(lab, "execute", "1") as child:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert child.returncode in (0, 143)
    assert result(lab) == expected


def test_row_41_of_two_runs_that_overlap_the_second_leaves_at_once_and_changes_nothing(
    lab: Lab, expected: object
) -> None:
    with slow(lab, "execute", "held") as first:
        with started(lab) as second:
            _, err = second.communicate(timeout=60)
        assert second.returncode == 75
        assert f"process {first.pid}" in err
        assert first.poll() is None, "the first one is still at work"
        flag(lab).unlink()
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert result(lab) == expected


def test_a_second_machine_on_the_folder_is_refused_while_the_first_may_live(lab: Lab, expected: object) -> None:
    """The lock may not hold on a folder that machines share: the lease beside it does, and changes nothing."""
    before, lease = lab.deals(), lab.workspace.lock.with_name("lease")
    theirs = {"host": "vm-2", "boot": "of another machine", "process": 4711, "time": time.time() - 60}
    lease.write_text(json.dumps(theirs))
    with started(lab) as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 75
    assert "a run on vm-2 (process 4711" in err
    assert lab.deals() == before
    assert json.loads(lease.read_text()) == theirs
    lease.write_text(json.dumps(theirs | {"time": time.time() - LAPSES_S - 1}))
    finished(lab)
    assert result(lab) == expected
