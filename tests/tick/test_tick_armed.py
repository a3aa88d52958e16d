"""An armed tick on paper: the folder is read at the trigger, and everything comes out as without arming."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oracle_batch import arming, collecting
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.clock import Clock, SystemClock
from oracle_batch.errors import BrokerError
from oracle_batch.report import TickReport
from oracle_batch.tick import tick
from oracle_batch.world import Job
from tests.tick.lab import Lab, came_to, run

NAME = "EURUSD_M15"


class Running(Clock):
    """A clock that stands before a close until the tick waits for its trigger, and then runs, from ``then`` on."""

    def __init__(self, instant: float, then: float | None = None) -> None:
        self._instant, self._then, self._began = instant, then or instant, math.inf

    def run(self) -> None:
        self._began = min(self._began, time.time())

    def now(self) -> float:
        passed = time.time() - self._began
        return self._instant if passed < 0 else self._then + passed


class Machine(Running, SystemClock):
    """The same as the machine's own clock, which somebody sets by so much a moment later."""

    def __init__(self, instant: float, *, set_by_s: float = 0.0) -> None:
        super().__init__(instant)
        self._set_by = set_by_s

    def now(self) -> float:
        return super().now() + (self._set_by if time.time() >= self._began + 0.3 else 0.0)


@pytest.fixture(autouse=True)
def clocks_run_from_the_wait_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to get ready."""
    real = arming.reach

    async def reach(clock: Clock, *arguments: Any) -> arming.Reached:
        if isinstance(clock, Running):
            clock.run()
        return await real(clock, *arguments)

    monkeypatch.setattr(arming, "reach", reach)


def armed(lab: Lab, bar: int, *, dry_run: bool = False) -> TickReport:
    clock = Running(lab.close_of(bar) - 0.5, lab.close_of(bar) + 0.8)
    return run(tick(Job(lab.workspace, lab.settings, clock, dry_run, arm_s=20.0)))


def test_armed_and_cold_runs_come_to_the_same(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S2 W L3 L3")
    lab.tick(0)
    calm = lab.copy(lab.workspace.home.parent / "calm")
    for bar in range(1, 6):
        assert came_to(armed(lab, bar), NAME) == came_to(calm.tick(bar), NAME)
        assert lab.positions() == calm.positions()
    assert lab.twin(NAME) == calm.twin(NAME)
    assert lab.window(NAME).bars.equals(calm.window(NAME).bars)
    assert lab.deals() == calm.deals()
    assert not lab.events("not_streamed")


def test_what_an_outage_left_is_done_before_the_close_and_silently(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 S1 W")
    lab.tick(0)
    report = armed(lab, 3)
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    assert [client_id for client_id, _ in lab.deals()] == [f"ob-{NAME}-{lab.time(NAME, 3)}-1"]


def test_a_bar_that_is_not_there_leaves_the_model_alone(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 W")
    lab.drop(NAME, 1)
    lab.tick(0)
    assert armed(lab, 1).accounts["paper"].models == {}
    assert came_to(armed(lab, 2), NAME) == ("OPEN", "OK", None)


def test_a_dry_run_may_be_armed_and_writes_nothing(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    before = {path: path.read_bytes() for path in lab.workspace.state.rglob("*") if path.is_file()}
    report = armed(lab, 1, dry_run=True)
    assert came_to(report, NAME) == ("OPEN", None, None)
    assert {path: path.read_bytes() for path in lab.workspace.state.rglob("*") if path.is_file()} == before


def test_a_model_that_has_no_window_yet_warms_up_and_waits(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    lab.add("GBPUSD", "M15", "W L1 W")
    report = armed(lab, 1)
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    assert came_to(report, "GBPUSD_M15")[0] == "OPEN"


def test_a_close_that_no_model_is_ready_for_is_looked_at_from_the_files(lab: Lab) -> None:
    lab.add("EURUSD", "H1", "W L1 W")
    lab.tick(0)
    (lab.workspace.models / "GBPUSD_M15.zip").write_bytes(b"no bundle, but a reason to wake up")
    clock = Running(lab.close_of(0) + 900 - 0.5)
    report = run(tick(Job(lab.workspace, lab.settings, clock, False, arm_s=20.0)))
    assert clock.now() >= lab.close_of(0) + 901, "it has waited for the close all the same"
    assert "EURUSD_H1" not in report.accounts["paper"].models
    assert report.accounts["paper"].models["GBPUSD_M15"].error is not None


def test_a_clock_that_is_set_while_armed_is_followed_and_its_bars_are_asked_for(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    clock = Machine(lab.close_of(1) - 2.0, set_by_s=4.0)
    report = run(tick(Job(lab.workspace, lab.settings, clock, arm_s=20.0)))
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    (event,) = lab.events("clock_stepped")
    assert abs(event.detail["by_s"] - 4.0) < 0.5
    assert len(lab.events("armed_in_vain")) == 1
    assert len(lab.deals()) == 1


def test_a_feed_that_does_not_answer_after_the_close_has_its_bars_asked_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)

    async def silent(_: PaperBroker) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(PaperBroker, "confirm", silent)
    report = run(tick(Job(lab.workspace, lab.settings, Machine(lab.close_of(1) - 0.5), arm_s=20.0)))
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    assert [len(lab.events(name)) for name in ("line_silent", "armed_in_vain", "clock_stepped")] == [1, 1, 0]
    assert len(lab.deals()) == 1


def test_on_the_machines_clock_an_armed_tick_comes_to_the_same(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    report = run(tick(Job(lab.workspace, lab.settings, Machine(lab.close_of(1) - 0.5), arm_s=20.0)))
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    assert not [one for one in lab.journal() if getattr(one, "name", "") in ("line_silent", "armed_in_vain")]


def gather_that_fails(first: int) -> Callable[..., Awaitable[None]]:
    """Reading as it is, which the broker does not answer from one time on."""
    calls = 0

    async def gather(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls >= first:
            raise BrokerError("nobody answers")
        await collecting.gather(*arguments)  # type: ignore[arg-type]

    return gather


def test_a_model_that_waits_for_the_official_bars_is_told_of_when_they_cannot_be_had(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.add("GBPUSD", "M15", "W L1 W")
    lab.drop("GBPUSD_M15", 1)
    lab.tick(0)
    monkeypatch.setattr("oracle_batch.tick.gather", gather_that_fails(2))
    report = armed(lab, 1)
    assert came_to(report, NAME) == ("OPEN", "OK", None)
    assert report.accounts["paper"].models["GBPUSD_M15"].error == "nobody answers"
    assert report.exit_code == 1
    (event,) = lab.events("not_streamed")
    assert event.model == "GBPUSD_M15"


def test_when_every_model_is_decided_the_official_bars_can_wait_for_the_next_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    monkeypatch.setattr("oracle_batch.tick.gather", gather_that_fails(2))
    report = armed(lab, 1)
    assert (came_to(report, NAME), report.exit_code) == (("OPEN", "OK", None), 0)


def test_what_an_armed_tick_has_met_is_on_record_though_it_fails(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    monkeypatch.setattr("oracle_batch.tick.gather", gather_that_fails(1))
    with pytest.raises(BrokerError):
        armed(lab, 1)
    (event,) = lab.events("not_armed")
    assert event.detail == {"close": lab.close_of(1), "error": "nobody answers"}
    monkeypatch.undo()
    assert came_to(lab.tick(1), NAME) == ("OPEN", "OK", None)
