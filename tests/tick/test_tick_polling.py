"""The bar that has just closed and is not there yet: it is asked for again, for a while (DESIGN §8)."""

from __future__ import annotations

import asyncio
import time

import pytest

from oracle_batch import collecting
from oracle_batch.bars import Bars
from oracle_batch.tick import tick
from oracle_batch.world import Job
from tests.tick.lab import Lab, run

NAME = "EURUSD_M15"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "POLL_EVERY_S", 0.02)


def waiting_lab(lab: Lab, stored: int) -> Bars:
    """A warmed lab whose feed ends with scripted bar ``stored``; returns all bars."""
    lab.add("EURUSD", "M15", "W W L1 L1 W")
    whole = lab.bars[NAME]
    lab.tick(0)
    lab.put(NAME, whole[whole.time <= lab.time(NAME, stored)])
    return whole


def poll(lab: Lab, bar: int, seconds: float) -> float:
    """One polling tick; returns how long it took."""
    lab.clock.instant = lab.close_of(bar) + 1
    began = time.monotonic()
    run(tick(Job(lab.workspace, lab.settings, lab.clock, bar_poll_s=seconds)))
    return time.monotonic() - began


def test_a_bar_that_comes_a_moment_late_is_traded(lab: Lab) -> None:
    whole = waiting_lab(lab, stored=1)
    lab.tick(1)

    async def tick_while_the_bar_arrives() -> None:
        lab.clock.instant = lab.close_of(2) + 1
        job = Job(lab.workspace, lab.settings, lab.clock, bar_poll_s=10)
        running = asyncio.create_task(tick(job))
        await asyncio.sleep(0.1)
        lab.put(NAME, whole)
        await running

    run(tick_while_the_bar_arrives())
    assert lab.twin(NAME).state.bar_time == lab.time(NAME, 2)
    assert lab.deals() == [(f"ob-{NAME}-{lab.time(NAME, 2)}-1", False)]


def test_the_wait_ends_with_no_bar_for_this_interval(lab: Lab) -> None:
    waiting_lab(lab, stored=1)
    lab.tick(1)
    took = poll(lab, 2, seconds=0.2)
    assert 0.2 <= took < 30
    assert lab.twin(NAME).state.bar_time == lab.time(NAME, 1)


def test_a_break_of_the_market_is_not_waited_for(lab: Lab) -> None:
    waiting_lab(lab, stored=1)
    lab.tick(1)
    assert poll(lab, 4, seconds=60) < 40
    assert lab.deals() == []
