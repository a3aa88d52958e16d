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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import pytest

from oracle_batch import arming, cli
from oracle_batch.broker.ctrader import broker, rates, session
from oracle_batch.clock import Clock
from oracle_batch.closes import TRIGGER_DELAY_S
from oracle_batch.sim import limits
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.process import Plan, opened
from oracle_batch.sim.state import state_of
from oracle_batch.store import lease
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
LEAD_S: Final = 15.0
"""How long before the close an armed tick is started."""
STEPS_S: Final = (0.5, 0.6, TRIGGER_DELAY_S)
"""How far past the close the market goes, step by step, each time that the armed tick is ready for it."""
AWAITS: Final = "write pipe"
"""The kind of call by which it says so."""
LIMIT_S: Final = 60.0
"""No run may take longer."""
RISK: Final = "[risk]\nmax_open_positions = 50\nmax_consecutive_losses_account = 1000\n"
"""A limit that this bar's own losses could reach would, rightly, refuse an entry that comes after them."""


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Lift the rates of both sides and shorten all waiting: the order of things is the same."""
    patch.setattr(rates._Window, "free", lambda self, now: 1000)
    patch.setattr(limits, "REQUESTS_PER_SECOND", 10**6)
    patch.setattr(limits, "HISTORICAL_PER_SECOND", 10**6)
    patch.setattr(arming, "SHORTLY_EVERY_S", 0.0)
    patch.setattr(lease, "SETTLE_S", 0.01)
    patch.setattr(lease, "_machine", lambda: "this machine")
    patch.setattr(broker, "ABSENCE_GRACE_S", 0.02)
    patch.setattr(session, "PAUSES_S", (0.01, 0.02, 0.04))
    patch.setattr(session, "Patience", partial(session.Patience, answer_s=5.0, order_s=3.0, settle_s=0.05))


class Market:
    """A simulator in a process of its own, on a copy of an exchange."""

    def __init__(self, exchange: Exchange | bytes) -> None:
        self._end, there = multiprocessing.Pipe()
        heard, self.told_by_tick = os.pipe()
        self.process = fork()
        if not self.process:
            self._end.close()
            _serve(exchange, there, heard)
        there.close()
        os.close(heard)
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

    def follow(self, close: float) -> None:
        """Play past a close as an armed tick is ready for it."""
        self.ask("follow", close)

    def copy(self) -> bytes:
        """The exchange as it stands, for other markets."""
        found: bytes = self.ask("copy")
        return found

    def close(self) -> None:
        self._end.send(("end", None))
        os.waitpid(self.process, 0)
        self._end.close()
        os.close(self.told_by_tick)


def _serve(exchange: Exchange | bytes, told: Connection, tick: int) -> None:
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        asyncio.run(_served(pickle.loads(exchange) if isinstance(exchange, bytes) else exchange, told, tick))
    finally:
        os._exit(0)


async def _served(exchange: Exchange, told: Connection, tick: int) -> None:
    until, orders, close, steps = asyncio.Event(), asyncio.Queue[Any](), 0.0, iter(STEPS_S)
    loop = asyncio.get_running_loop()
    async with opened(exchange, Plan(), until.set) as (server, control, where):
        told.send(where)
        loop.add_reader(told.fileno(), lambda: orders.put_nowait(_heard(told)))
        loop.add_reader(tick, lambda: orders.put_nowait(("tick", os.read(tick, 1))))
        while not until.is_set():
            word, value = await orders.get()
            if word == "end":
                break
            if word == "tick":
                await control.advance(close + next(steps, TRIGGER_DELAY_S))
            elif word == "follow":
                close = value
                told.send(None)
            elif word == "advance":
                await control.advance(value)
                told.send(None)
            else:
                async with asyncio.timeout(LIMIT_S):
                    while server.lines:
                        await asyncio.sleep(0.002)
                told.send(state_of(server, exchange.account_ids) if word == "state" else pickle.dumps(exchange))
        loop.remove_reader(told.fileno())
        loop.remove_reader(tick)


def _heard(told: Connection) -> tuple[str, Any]:
    try:
        order: tuple[str, Any] = told.recv()
    except EOFError:  # who asked for this market is gone
        os._exit(0)
    return order


@dataclass(frozen=True)
class Stage:
    """A workspace after bars 0 and 1, and the market at the close of bar 2; ``armed``: some seconds before it."""

    home: Path
    exchange: Exchange | bytes
    now: float
    later: float
    next_bar: float
    scratch: Path
    before: bytes
    armed: bool = False

    def before_the_close(self) -> Stage:
        """The same for a tick that is started before the close, and waits for it armed."""
        return replace(self, exchange=self.before, armed=True)

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

    def first(self) -> Callable[[], int]:
        """The tick that is disturbed: at the close, or armed before it."""
        if not self.stage.armed:
            return self.tick(self.stage.now)
        self.market.follow(self.stage.now - TRIGGER_DELAY_S)
        return partial(_armed_tick, self.home, self.market, self._told.fileno())

    def tick(self, now: float) -> Callable[[], int]:
        """The tick as a child process runs it."""
        return partial(_tick, self.home, self.market, self._told.fileno(), "--now", str(now))

    def close(self) -> None:
        self._told.close()
        self.market.close()


def _tick(home: Path, market: Market, log: int, *options: str) -> int:
    for name in ("client_id", "client_secret", "access_token", "refresh_token"):
        os.environ[f"ORACLE_CTRADER_{name.upper()}"] = market.where[name]
    os.dup2(log, 1)
    os.dup2(log, 2)
    return cli.run(["--home", str(home), "tick", "--json", *options])


def _armed_tick(home: Path, market: Market, log: int) -> int:
    """A tick that tells its market how far it is, so that the close comes when it waits for it."""
    reach = arming.reach

    async def told(clock: Clock, instant: float, shortly: Callable[[], Awaitable[None]] | None = None) -> Any:
        async def done() -> None:
            if shortly is not None:
                await shortly()
            os.write(market.told_by_tick, b"r")

        os.write(market.told_by_tick, b"r")
        return await reach(clock, instant, done)

    arming.reach = told
    return _tick(home, market, log, "--clock", f"127.0.0.1:{market.where['control_port']}", "--arm", "20")


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
        now = world.lab.close_of(BAR) + TRIGGER_DELAY_S
        world.simulator.advance(now - TRIGGER_DELAY_S - LEAD_S)
        before = world.simulator.call(lambda: pickle.dumps(world.simulator.exchange))
        world.simulator.advance(now)
        world.cli("status")
    finally:
        world.close()
    next_bar = world.lab.close_of(BAR + 1) + 1.0
    return Stage(world.workspace.home, world.simulator.exchange, now, now + 100.0, next_bar, folder, before)


def scratch() -> Path:
    """A new folder, in memory where that is possible: what is durable is for the power-loss model to say."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="chaos-", dir=memory if os.access(memory, os.W_OK) else None))
