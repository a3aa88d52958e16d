"""A tick that waits, armed, on the simulator, and what may be done to it meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from oracle_batch.store.records import Event
from tests.sim.acceptance.world import PATIENCE_S, Result, World

NAME = "EURUSD_M15"
LEAD_S = 15.0


class ArmedTick:
    """A tick that was started some seconds before a close, in a thread; ``close()`` brings its trigger."""

    def __init__(self, world: World, bar: int, *, lead_s: float = LEAD_S, options: Sequence[str] = ()) -> None:
        self._world, self.instant = world, world.lab.close_of(bar)
        self._armed, self._options = threading.Event(), options
        self._results: list[Result] = []
        world.simulator.advance(self.instant - lead_s)
        logging.getLogger("oracle_batch.live").addFilter(self._look)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            assert self._armed.wait(PATIENCE_S)
        finally:
            logging.getLogger("oracle_batch.live").removeFilter(self._look)

    def _look(self, record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("armed for"):
            self._armed.set()
        return True

    def _run(self) -> None:
        self._results.append(self._world.cli("tick", "--json", "--arm", "20", *self._options))
        self._armed.set()

    def close(self) -> Result:
        """Play to the trigger and see the tick through."""
        self._world.simulator.advance(self.instant + 0.5)
        self._world.simulator.advance(self.instant + 1)
        self._thread.join(PATIENCE_S)
        (result,) = self._results
        return result


def started(world: World, script: str = "W L1 W W", **options: Any) -> None:
    """One model, warmed up and ticked once."""
    world.lab.add("EURUSD", "M15", script)
    world.start(**options)
    world.play(0)


def events(world: World, name: str) -> list[Event]:
    return [one for one in world.journal() if isinstance(one, Event) and one.name == name]


def until_received(world: World, kind: str, count: int) -> None:
    """Wait for a request to have come so many times."""
    until = time.monotonic() + PATIENCE_S
    while [one["type"] for one in world.simulator.state()["received"]].count(kind) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def count_of(world: World, kind: str) -> int:
    return [one["type"] for one in world.simulator.state()["received"]].count(kind)


def cut(world: World) -> None:
    """End every line; on the simulator's own loop."""
    for line in list(world.simulator.server.lines):
        line.drop("cut by the test")


def close_by_hand(world: World, account: int, position: int) -> None:
    """Somebody else on the account closes a position."""

    (volume,) = [one["volume"] for one in world.simulator.state()["positions"] if one["position_id"] == position]

    def work() -> None:
        server = world.simulator.server
        server.publish(server.exchange.close(account, position, volume))

    world.simulator.call(work)


def wait_for(read: Callable[[], str], words: str) -> None:
    while line := read():
        if words in line:
            return
    raise AssertionError(f"no {words!r}")
