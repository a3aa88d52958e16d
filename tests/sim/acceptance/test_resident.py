"""``oracle-batch run`` against the simulator: what can befall it and its children while a tick is armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oracle_batch import heartbeat
from oracle_batch.heartbeat import Heartbeat
from oracle_batch.store.records import Event
from tests.sim.acceptance.world import PATIENCE_S, World

LEAD_S = 20


class Living:
    """A resident in a process of its own, and what it says of itself."""

    def __init__(self, world: World, log: Path) -> None:
        self.world, self._log = world, log
        command = [sys.executable, "-m", "oracle_batch", "--home", str(world.workspace.home)]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [*command, "run", "--clock", world.clock], stderr=file, env=dict(os.environ)
            )

    @property
    def beat(self) -> Heartbeat:
        found = heartbeat.read(self.world.workspace.heartbeat)
        assert found is not None
        return found

    def told(self, words: str) -> int:
        return self._log.read_text(encoding="utf-8").count(words)

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, self._log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def caught_up(self) -> None:
        """Wait until its first tick is over."""
        path = self.world.workspace.heartbeat
        self.until(lambda: (beat := heartbeat.read(path)) is not None and beat.ticks == 1 and beat.running is None)

    def arm(self, bar: int) -> int:
        """Play to the lead of a close; the armed child's process."""
        before = self.told("armed for")
        self.world.simulator.advance(self.world.lab.close_of(bar) - LEAD_S)
        self.until(lambda: self.told("armed for") > before)
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (child,) = [int(number) for one in threads for number in one.read_text().split()]
        return child

    def close(self, bar: int) -> None:
        """Play to the trigger, and see the tick and the guard after it through."""
        beat = self.beat
        self.world.simulator.advance(self.world.lab.close_of(bar) + 0.5)
        self.world.simulator.advance(self.world.lab.close_of(bar) + 1)
        self.until(lambda: self.beat.ticks > beat.ticks and self.beat.running is None)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def living(world: World, log: Path) -> Iterator[Living]:
    found = Living(world, log)
    try:
        found.caught_up()
        yield found
    finally:
        found.process.kill()
        found.process.wait(PATIENCE_S)


def started(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1 W S1 W")
    world.start()
    world.play(0)


def entries(world: World) -> int:
    return len(world.received("NewOrderReq"))


def ended(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def test_closes_come_and_are_traded_one_after_another(world: World, tmp_path: Path) -> None:
    started(world)
    with living(world, tmp_path / "log") as resident:
        for bar, orders in ((1, 1), (2, 1), (3, 2)):
            resident.arm(bar)
            resident.close(bar)
            assert entries(world) == orders
        assert (resident.beat.ticks, resident.beat.guards >= 1) == (4, True)
        assert resident.end() == 0
    world.agree()


def test_told_to_end_while_a_tick_is_armed_both_end_and_nothing_is_sent(world: World, tmp_path: Path) -> None:
    started(world)
    with living(world, tmp_path / "log") as resident:
        child = resident.arm(1)
        assert resident.end() == 0
        assert ended(child)
        assert resident.told("the tick ended as it was told to") == 1
    assert entries(world) == 0
    stopped = [one for one in world.journal() if isinstance(one, Event) and one.name == "stopped_while_armed"]
    assert len(stopped) == 1
    with living(world, tmp_path / "log") as resident:
        resident.arm(2)
        resident.close(2)
        assert resident.end() == 0


def test_a_killed_tick_costs_its_close_and_no_other(world: World, tmp_path: Path) -> None:
    started(world)
    with living(world, tmp_path / "log") as resident:
        os.kill(resident.arm(2), signal.SIGKILL)
        resident.until(lambda: resident.beat.last_tick is not None and resident.beat.last_tick.exit_code == -9)
        assert resident.told("the tick was ended by SIGKILL") == 1
        resident.world.simulator.advance(world.lab.close_of(2) + 1)
        resident.arm(3)
        resident.close(3)
        assert entries(world) == 1
        assert resident.end() == 0
    world.agree()


def test_when_the_resident_is_killed_its_tick_goes_on_and_another_resident_takes_over(
    world: World, tmp_path: Path
) -> None:
    started(world)
    with living(world, tmp_path / "log") as resident:
        child = resident.arm(1)
        resident.process.kill()
        resident.process.wait(PATIENCE_S)
        world.simulator.advance(world.lab.close_of(1) + 0.5)
        world.simulator.advance(world.lab.close_of(1) + 1)
        resident.until(lambda: ended(child))
        assert entries(world) == 1, "the child has traded by itself"
    with living(world, tmp_path / "more") as resident:
        resident.arm(3)
        resident.close(3)
        assert entries(world) == 2
        assert resident.end() == 0
    world.agree()
