"""Which close an armed tick waits for, and the wait itself: clocks that are late, early, or set while it waits (§8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import time
from dataclasses import dataclass

import pytest

from oracle_batch import arming
from oracle_batch.clock import FrozenClock, SystemClock
from oracle_batch.told_clock import ToldClock
from oracle_batch.world import Job
from tests.tick.lab import Lab, run

CLOSE = 1_704_672_000 + 900


def ahead(lab: Lab, now: float, arm_s: float | None) -> arming.Ahead:
    return arming.look_ahead(Job(lab.workspace, lab.settings, FrozenClock(now), arm_s=arm_s))


@pytest.mark.parametrize(
    ("before_s", "close"),
    [(20.0, CLOSE), (24.9, CLOSE), (0.5, CLOSE), (25.1, None), (0.0, None), (-3.0, None)],
)
def test_the_next_close_is_waited_for_where_the_lead_says_so(lab: Lab, before_s: float, close: int | None) -> None:
    lab.add("EURUSD", "M15", "W")
    found = ahead(lab, CLOSE - before_s, 20.0)
    assert found.close == close
    assert [event.name for event in found.notes] == ([] if close else ["armed_late"])


def test_a_wake_up_between_close_and_trigger_waits_for_the_trigger_and_acts_cold(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    found = ahead(lab, CLOSE + 0.4, 20.0)
    assert (found.close, found.trigger) == (None, CLOSE + 1.0)
    assert found.notes[0].detail["late_s"] == pytest.approx(0.4)


def test_without_a_lead_there_is_no_waiting(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    assert ahead(lab, CLOSE - 5.0, None) == arming.Ahead(None, CLOSE - 5.0)


def test_several_timeframes_have_one_next_close(lab: Lab) -> None:
    lab.add("EURUSD", "H1", "W")
    lab.add("GBPUSD", "M5", "W")
    assert ahead(lab, CLOSE + 290.0, 20.0).close == CLOSE + 300


@dataclass
class SetClock(SystemClock):
    """The machine's clock, which somebody sets by so much a moment after it was first looked at."""

    by_s: float
    began: float = math.nan

    def now(self) -> float:
        wall = time.time()
        if math.isnan(self.began):
            self.began = wall
        return wall + (self.by_s if wall >= self.began + 0.1 else 0.0)


def test_the_trigger_is_met_to_the_millisecond() -> None:
    """Once in some tries: on a machine that does other things as well this process may have to wait for its turn."""
    late: list[float] = []

    async def wait() -> None:
        clock = SystemClock()
        instant, between = clock.now() + 0.1, clock.now() - time.monotonic()
        reached = await arming.reach(clock, instant)
        late.append(clock.now() - instant)
        assert late[-1] >= 0
        assert reached.monotonic == pytest.approx(instant - between, abs=0.002)
        assert reached.stepped_s == 0
        assert not reached.given_up

    while not late or min(late) >= 0.005:
        assert len(late) < 30, late
        run(wait())


def test_a_clock_that_is_set_ahead_triggers_at_once_and_says_so() -> None:
    began = time.time()
    reached = run(arming.reach(SetClock(100.0), began + 90.0))
    assert time.time() - began < 60
    assert reached.stepped_s == pytest.approx(100.0, abs=1.0)


def test_a_clock_that_is_set_back_is_waited_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arming, "PATIENCE_S", 0.1)
    began = time.time()
    reached = run(arming.reach(SetClock(-3600.0), began + 0.2))
    assert reached.given_up
    assert reached.stepped_s == pytest.approx(-3600.0, abs=1.0)


@dataclass
class Stepping:
    """A clock that goes on by so much whenever somebody looks at it."""

    instant: float
    step_s: float = 0.005

    def now(self) -> float:
        self.instant += self.step_s
        return self.instant


def test_shortly_before_the_trigger_there_is_time_for_a_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arming, "LOOK_EVERY_S", 0.0)
    left: list[float] = []
    clock = Stepping(CLOSE - 2.0)

    async def shortly() -> None:
        left.append(CLOSE - clock.instant)
        await asyncio.sleep(0)

    run(arming.reach(clock, CLOSE, shortly))
    assert left == pytest.approx(arming.SHORTLY_S, abs=2 * clock.step_s)


def test_a_told_instant_that_somebody_else_has_read_is_not_missed() -> None:
    """What follows the market asks the same clock for the time, and may be the first to hear it."""

    async def wait() -> arming.Reached:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(None, ToldClock, f"127.0.0.1:{listener.getsockname()[1]}")
            there, _ = await loop.run_in_executor(None, listener.accept)
            with there:
                tell(there, CLOSE)
                with contextlib.closing(await made) as clock:
                    reaching = asyncio.ensure_future(arming.reach(clock, CLOSE + 1.0))
                    await asyncio.sleep(0.05)
                    tell(there, CLOSE + 1)
                    time.sleep(0.05)  # no turn of the loop comes between the line and who reads it
                    assert clock.now() == CLOSE + 1
                    return await asyncio.wait_for(reaching, 60)

    assert not run(wait()).given_up


def tell(there: socket.socket, now: float) -> None:
    there.sendall(json.dumps({"now": now}).encode() + b"\n")
