"""A run ends in time, whatever it waits for; what it has begun to send it puts on record first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from oracle_batch import bounded
from oracle_batch.errors import DeadlineError, StoppedError


def test_work_that_is_done_in_time_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert bounded.run(work, 5.0) == 7


def test_work_that_waits_for_too_long_is_ended() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    started = time.monotonic()
    with pytest.raises(DeadlineError) as caught:
        bounded.run(work, 0.1)
    assert time.monotonic() - started < 30
    assert caught.value.exit_code == 1
    assert "took longer than its 0.1 s" in str(caught.value)


def test_told_to_stop_before_anything_was_sent_it_stops() -> None:
    done: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
        done.append("on")

    with pytest.raises(StoppedError) as caught:
        bounded.run(work, 30.0)
    assert caught.value.exit_code == 143
    assert done == []


@pytest.mark.parametrize("told", [signal.SIGTERM, None])
def test_what_is_being_sent_is_finished(told: signal.Signals | None, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it is told to end or its deadline passes."""
    done: list[str] = []

    async def burst() -> str:
        if told is not None:
            os.kill(os.getpid(), told)
        await asyncio.sleep(0.4)
        done.append("booked")
        return "whole"

    async def work() -> str:
        return await bounded.uninterrupted(burst())

    assert bounded.run(work, 30.0 if told else 0.1) == "whole"
    assert done == ["booked"]
    assert "first finishing the orders" in caplog.text


def test_a_second_sigterm_does_not_cut_short_what_the_first_one_lets_finish() -> None:
    done: list[str] = []

    async def burst() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.2)
        done.append("booked")

    async def work() -> None:
        await bounded.uninterrupted(burst())

    bounded.run(work, 30.0)
    assert done == ["booked"]


def test_a_deadline_that_passes_after_it_was_told_to_end_cuts_nothing_short() -> None:
    done: list[str] = []

    async def burst() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.6)
        done.append("booked")
        return "whole"

    async def work() -> str:
        return await bounded.uninterrupted(burst())

    assert bounded.run(work, 0.2) == "whole"
    assert done == ["booked"]


def test_even_what_is_being_sent_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "FINISH_S", 0.1)

    async def burst() -> None:
        await asyncio.sleep(60)

    async def work() -> None:
        await bounded.uninterrupted(burst())

    started = time.monotonic()
    with pytest.raises(DeadlineError):
        bounded.run(work, 0.1)
    assert time.monotonic() - started < 30


def test_a_failure_in_what_is_being_sent_comes_through() -> None:
    async def burst() -> None:
        raise ValueError("no")

    async def work() -> None:
        await bounded.uninterrupted(burst())

    with pytest.raises(ValueError, match="no"):
        bounded.run(work, 5.0)


HANGING = """
import time
from oracle_batch import bounded
bounded.WATCHDOG_S = 0.2
async def work():
    time.sleep(60)
bounded.run(work, 0.1)
"""


def test_a_process_that_hangs_in_one_call_is_ended_with_its_place_told() -> None:
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=120, check=False)
    assert time.monotonic() - started < 45
    assert ended.returncode == 1
    assert "in work" in ended.stderr
