"""The scene of all chaos: one tick with 20 orders against the simulator, which any number of processes can play.

The market is prepared once, in this process. For each point it is forked into a simulator of its own, and the tick into
a child that has everything imported; so a point costs what the tick itself costs.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import pytest

from oracle_batch import cli
from oracle_batch.broker.ctrader import broker, rates, session
from oracle_batch.sim import limits
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.process import Plan, opened
from oracle_batch.sim.state import state_of
from oracle_batch.store.workspace import Workspace
from tests.chaos.ptrace import fork
from tests.sim.acceptance.world import World

ACCOUNT: Final = "demo"
BAR: Final = 2
"""The bar of the tick that is disturbed."""
REVERSED: Final = ("EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDCHF", "USDCAD", "EURGBP")
ENTERED: Final = ("EURCHF", "EURAUD", "EURCAD")
LEFT: Final = ("GBPCHF", "AUDNZD", "GBPAUD")
ORDERS: Final = 2 * len(REVERSED) + len(ENTERED) + len(LEFT)
LIMIT_S: Final = 60.0
"""No run may take longer."""
RISK: Final = "[risk]\nmax_open_positions = 50\nmax_consecutive_losses_account = 1000\n"
"""A limit that this bar's own losses could reach would, rightly, refuse an entry that comes after them."""


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Lift the rates of both sides and shorten all waiting: the order of things is the same."""
    patch.setattr(rates._Window, "free", lambda self, now: 1000)
    patch.setattr(limits, "REQUESTS_PER_SECOND", 10**6)
    patch.setattr(limits, "HISTORICAL_PER_SECOND", 10**6)
    patch.setattr(broker, "ABSENCE_GRACE_S", 0.02)
    patch.setattr(session, "PAUSES_S", (0.01, 0.02, 0.04))
    patch.setattr(session, "Patience", partial(session.Patience, answer_s=5.0, order_s=3.0, settle_s=0.05))


class Market:
    """A simulator in a process of its own, on a copy of an exchange."""

    def __init__(self, exchange: Exchange | bytes) -> None:
        self._end, there = multiprocessing.Pipe()
        self.process = fork()
        if not self.process:
            self._end.close()
            _serve(exchange, there)
        there.close()
        self.where: dict[str, Any] = self._receive()

    def ask(self, word: str, value: Any = None) -> Any:
        self._end.send((word, value))
        return self._receive()

    def _receive(self) -> Any:
        assert self._end.poll(LIMIT_S), "the simulator is silent"
        return self._end.recv()

    def state(self) -> dict[str, Any]:
        """Positions, orders, deals, once every line is gone and what it carried has been handled."""
        found: dict[str, Any] = self.ask("state")
        return found

    def advance(self, to: float) -> None:
        self.ask("advance", to)

    def copy(self) -> bytes:
        """The exchange as it stands, for other markets."""
        found: bytes = self.ask("copy")
        return found

    def close(self) -> None:
        self._end.send(("end", None))
        os.waitpid(self.process, 0)
        self._end.close()


def _serve(exchange: Exchange | bytes, told: Connection) -> None:
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        asyncio.run(_served(pickle.loads(exchange) if isinstance(exchange, bytes) else exchange, told))
    finally:
        os._exit(0)


async def _served(exchange: Exchange, told: Connection) -> None:
    until, orders = asyncio.Event(), asyncio.Queue[Any]()
    loop = asyncio.get_running_loop()
    async with opened(exchange, Plan(), until.set) as (server, control, where):
        told.send(where)
        loop.add_reader(told.fileno(), lambda: orders.put_nowait(_heard(told)))
        while not until.is_set():
            word, value = await orders.get()
            if word == "end":
                break
            if word == "advance":
                await control.advance(value)
                told.send(None)
            else:
                async with asyncio.timeout(LIMIT_S):
                    while server.lines:
                        await asyncio.sleep(0.002)
                told.send(state_of(server, exchange.account_ids) if word == "state" else pickle.dumps(exchange))
        loop.remove_reader(told.fileno())


def _heard(told: Connection) -> tuple[str, Any]:
    try:
        order: tuple[str, Any] = told.recv()
    except EOFError:  # who asked for this market is gone
        os._exit(0)
    return order


@dataclass(frozen=True)
class Stage:
    """A workspace after bars 0 and 1, and the market at the close of bar 2."""

    home: Path
    exchange: Exchange
    now: float
    later: float
    next_bar: float
    scratch: Path

    def play(self, exchange: Exchange | bytes | None = None, name: str = "point") -> Scene:
        """A copy of it all, to be disturbed."""
        home = self.scratch / name
        shutil.rmtree(home, ignore_errors=True)
        copy_home(self.home, home)
        return Scene(self, home, Market(exchange or self.exchange))


def copy_home(home: Path, there: Path) -> None:
    """A workspace in another folder. What a tick only reads, or replaces, is linked."""
    shutil.copytree(home, there, ignore=shutil.ignore_patterns("data", "models", "compiled"))
    for linked in ("models", "state/compiled"):
        if (home / linked).is_dir():
            shutil.copytree(home / linked, there / linked, copy_function=os.link)


class Scene:
    """One workspace and one market."""

    def __init__(self, stage: Stage, home: Path, market: Market) -> None:
        self.stage, self.home, self.market = stage, home, market
        self.log = home.parent / f"{home.name}.log"
        self._told = self.log.open("w")
        where = market.where
        (home / "config").mkdir(exist_ok=True)
        (home / "config" / "oracle.toml").write_text(
            f'[broker]\nkind = "ctrader"\naccount = "{ACCOUNT}"\n[broker.ctrader]\nhost = "{where["host"]}"\n'
            f'port = {where["port"]}\ncafile = "{where["cafile"]}"\n{RISK}'
        )

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home)

    def tick(self, now: float) -> Callable[[], int]:
        """The tick as a child process runs it."""
        return partial(_tick, self.home, now, self.market.where, self._told.fileno())

    def close(self) -> None:
        self._told.close()
        self.market.close()


def _tick(home: Path, now: float, where: dict[str, Any], log: int) -> int:
    for name in ("client_id", "client_secret", "access_token", "refresh_token"):
        os.environ[f"ORACLE_CTRADER_{name.upper()}"] = where[name]
    os.dup2(log, 1)
    os.dup2(log, 2)
    return cli.run(["--home", str(home), "tick", "--now", str(now), "--json"])


def prepared(patch: pytest.MonkeyPatch, folder: Path) -> Stage:
    """Play bars 0 and 1, and stop at the close of bar 2."""
    world = World(folder / "home", patch)
    for group, script in ((REVERSED, "W L1 S2 S2 W"), (ENTERED, "W W L3 L3 W"), (LEFT, "W S1 W W W")):
        for symbol in group:
            world.lab.add(symbol, "M15", script, sl_usd=20.0)
    symbols = [*REVERSED, *ENTERED, *LEFT]
    world.start(symbols, config=RISK)
    try:
        world.play(0, 1)
        now = world.lab.close_of(BAR) + 1.0
        world.simulator.advance(now)
        world.cli("status")
    finally:
        world.close()
    next_bar = world.lab.close_of(BAR + 1) + 1.0
    return Stage(world.workspace.home, world.simulator.exchange, now, now + 100.0, next_bar, folder)


def scratch() -> Path:
    """A new folder, in memory where that is possible: what is durable is for the power-loss model to say."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="chaos-", dir=memory if os.access(memory, os.W_OK) else None))
