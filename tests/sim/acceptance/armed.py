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


class Heard(logging.Handler):
    """What the product logs in one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


class ArmedTick:
    """A tick that was started some seconds before a close, in a thread; ``close()`` brings its trigger.

    ``says`` is what it says once it waits; it has said so when this is there.
    """

    def __init__(
        self, world: World, bar: int, *, lead_s: float = LEAD_S, options: Sequence[str] = (), says: str = "armed for"
    ) -> None:
        self._world, self.instant = world, world.lab.close_of(bar)
        self._options = options
        self._heard: list[str] = []
        self._results: list[Result] = []
        world.simulator.advance(self.instant - lead_s)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.until_said(says)

    def _run(self) -> None:
        heard, product = Heard(), logging.getLogger("oracle_batch")
        self._heard = heard.lines
        product.addHandler(heard)
        try:
            self._results.append(self._world.cli("tick", "--json", "--arm", "20", *self._options))
        finally:
            product.removeHandler(heard)

    def until_said(self, words: str) -> None:
        """Wait for a line in its log."""
        self.until(lambda: any(words in line for line in self._heard))

    def until_mended(self) -> None:
        """Wait until it has mended something, and is ready for the trigger again."""
        self.until(lambda: 0 < self._said("while armed") == self._said("ready again"))

    def _said(self, words: str) -> int:
        return sum(words in line for line in self._heard)

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something that comes while it waits."""
        until = time.monotonic() + PATIENCE_S
        while not done():
            assert self._thread.is_alive(), self._results
            assert time.monotonic() < until, self._heard
            time.sleep(0.005)

    def close(self) -> Result:
        """Play to the trigger and see the tick through."""
        assert not self._results, "it has not waited"
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
