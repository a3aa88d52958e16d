"""The whole product against the simulator: a workspace with scripted models, and the real command line over TLS.

The simulator runs in a thread of this process with a loop of its own; commands run here, as ``oracle-batch`` runs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from oracle_batch import cli
from oracle_batch.broker.ctrader import session
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.broker.ctrader.session import Patience
from oracle_batch.clock import FrozenClock
from oracle_batch.config import load_settings
from oracle_batch.errors import OracleBatchError
from oracle_batch.sim.control import Control
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.faults import parse_script
from oracle_batch.sim.process import Plan, opened
from oracle_batch.sim.state import state_of
from oracle_batch.store.records import Close, Fill
from oracle_batch.store.workspace import Workspace
from oracle_batch.tick import Job
from oracle_batch.tick import tick as run_tick
from tests.tick.lab import PRICE, T0, Lab

T = TypeVar("T")
PATIENCE_S = 60.0
M15 = 900


@dataclass
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str
    document: Any = field(default=None)

    @property
    def text(self) -> str:
        return self.out + self.err


class Simulator:
    """A served exchange in a thread."""

    def __init__(self, exchange: Exchange, plan: Plan | None = None) -> None:
        self.exchange = exchange
        self._plan = plan or Plan()
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._up.wait(PATIENCE_S)
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        try:
            asyncio.run(self._whole())
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self._failure = error
            self._up.set()

    async def _whole(self) -> None:
        self._loop, self._until = asyncio.get_running_loop(), asyncio.Event()
        async with opened(self.exchange, self._plan, self._until.set) as (server, control, where):
            self.server, self._control, self.where = server, control, where
            self._up.set()
            await self._until.wait()

    def call(self, work: Callable[[], T]) -> T:
        """Run something on the simulator's own loop."""

        async def there() -> T:
            return work()

        return self.run(there())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def advance(self, to: float) -> None:
        control: Control = self._control
        self.run(control.advance(to))

    def faults(self, *entries: dict[str, Any]) -> None:
        """Put a fault script in place; with no entries the line is clean again."""
        self.call(lambda: self.server.interference.load(parse_script(list(entries), "test")))

    def state(self, account: int | None = None) -> dict[str, Any]:
        accounts = self.exchange.account_ids if account is None else (account,)
        return self.call(lambda: state_of(self.server, accounts))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._until.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class LongLab(Lab):
    """Scripted models with the whole history that a warm-up asks for: one request brings it."""

    def script(self, name: str, script: str, *, after: int = 3, warm: int = 1010, base: float = PRICE) -> None:
        super().script(name, script, after=after, warm=warm, base=base)


class World:
    """A workspace on the simulator. ``tick(bar)`` plays the market to a second after that bar's close and ticks."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self.lab = LongLab(folder)
        self._environment = environment
        self.sim: Simulator | None = None

    @property
    def workspace(self) -> Workspace:
        return self.lab.workspace

    @property
    def simulator(self) -> Simulator:
        assert self.sim is not None
        return self.sim

    def start(
        self,
        symbols: Sequence[str] = ("EURUSD",),
        *,
        plan: Plan | None = None,
        settings: Mapping[str, Any] | None = None,
        config: str = "",
        start: float = T0,
        **options: Any,
    ) -> None:
        """Serve the lab's bars; ``settings`` are lines of ``[broker.ctrader]``, ``config`` what follows them."""
        timeframes = sorted({name.rpartition("_")[2] for name in self.lab.bars})
        exchange = Exchange(self.lab.data, symbols, timeframes, start, **options)
        self.sim = Simulator(exchange, plan)
        where = self.sim.where
        lines = {"host": where["host"], "port": where["port"], "cafile": where["cafile"]} | dict(settings or {})
        written = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
        self.configure(f'[broker]\nkind = "ctrader"\naccount = "demo"\n[broker.ctrader]\n{written}\n{config}')
        for name in ("client_id", "client_secret", "access_token", "refresh_token"):
            self._environment.setenv(f"ORACLE_CTRADER_{name.upper()}", where[name])

    def configure(self, text: str) -> None:
        self.workspace.config_file.parent.mkdir(exist_ok=True)
        self.workspace.config_file.write_text(text)

    def hold(self, script: str = "W L1 W W", **entry: Any) -> None:
        """One model, started, that holds the position of its script's second word."""
        self.lab.add("EURUSD", "M15", script, **entry)
        self.start()
        self.play(0, 1)
        assert len(self.positions()) == 1

    @property
    def position_id(self) -> int:
        """The only open position."""
        (one,) = self.simulator.state()["positions"]
        found: int = one["position_id"]
        return found

    @property
    def clock(self) -> str:
        return f"127.0.0.1:{self.simulator.where['control_port']}"

    def cli(self, *arguments: str, clock: bool = True) -> Result:
        """Run a command in this process, as the program runs it."""
        out, err = io.StringIO(), io.StringIO()
        timed = ["--clock", self.clock] if clock else []
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(["--home", str(self.workspace.home), *arguments, *timed])
        result = Result(code, out.getvalue(), err.getvalue())
        with contextlib.suppress(ValueError):
            result.document = json.loads(result.out)
        for secret in ("client_secret", "access_token", "refresh_token"):
            assert self.simulator.where[secret] not in result.text, "a secret in the output"
        return result

    def tick(self, bar: int, *, late: float = 1.0) -> Result:
        self.simulator.advance(self.lab.close_of(bar) + late)
        return self.cli("tick", "--json")

    def hasten(self, *, answer_s: float = 1.0, order_s: float = 0.6, silence_s: float = 35.0) -> None:
        """Let the adapter lose its patience sooner."""
        hasty = partial(Patience, answer_s=answer_s, order_s=order_s, settle_s=0.1)
        self._environment.setattr(session, "Patience", hasty)
        self._environment.setattr(
            session, "Pace", partial(Pace, connect_s=1.0, heartbeat_s=silence_s / 3, silence_s=silence_s)
        )

    def play(self, *bars: int) -> Result:
        """Tick these bars, each of which must go well; returns the last one."""
        for bar in bars:
            result = self.tick(bar)
            assert result.code == 0, result.text
        return result

    def run_tick(self, bar: int) -> int:
        """As ``tick``, by the function behind the command alone; returns the exit code."""
        now = self.lab.close_of(bar) + 1
        self.simulator.advance(now)
        settings = load_settings(self.workspace.config_file)
        self.workspace.clean()
        try:
            job = Job(self.workspace, settings, FrozenClock(now), bar_poll_s=settings.tick.bar_poll_s)
            return asyncio.run(run_tick(job)).exit_code
        except OracleBatchError as error:
            return error.exit_code

    # looking

    def came_to(self, result: Result, name: str = "EURUSD_M15") -> tuple[str | None, str | None, str | None]:
        one = result.document["models"].get(name) or {}
        return one.get("decision"), one.get("ack"), one.get("reason")

    def positions(self) -> list[tuple[str, str, int]]:
        """Label, side and volume of every open position at the broker."""
        return [(one["label"], one["side"], one["volume"]) for one in self.simulator.state()["positions"]]

    def deals(self) -> list[tuple[str, bool]]:
        """Client order id and whether it closes, of every deal at the broker."""
        return [(one["client_order_id"], one["closing"]) for one in self.simulator.state()["deals"]]

    def received(self, kind: str) -> list[str]:
        """Client order ids of the requests of a type that arrived."""
        return [one["client_order_id"] for one in self.simulator.state()["received"] if one["type"] == kind]

    def journal(self) -> list[Any]:
        return self.lab.journal("demo")

    def books(self) -> Any:
        return self.lab.books("demo")

    def agree(self) -> None:
        """Broker, books and journal say the same: positions, and one deal for each leg that is on record as filled."""
        state, books = self.simulator.state(), self.books()
        held = {one["position_id"]: one["label"] for one in state["positions"] if one["label"].startswith("oracle:")}
        booked = {
            one.position.position_id: f"oracle:{name}" for name, one in books.models.items() if one.position is not None
        }
        assert held == booked
        fills = [one.deal for one in self.journal() if isinstance(one, Fill)]
        assert len({one.deal_id for one in fills}) == len(fills), "a deal is booked twice"
        ours = [one for one in state["deals"] if one["label"].startswith("oracle:")]
        assert {one["deal_id"] for one in ours if not one["closing"]} <= {one.deal_id for one in fills}
        assert {one.deal_id for one in fills} <= {one["deal_id"] for one in ours}
        ended = [one.position_id for one in self.journal() if isinstance(one, Close)]
        assert sorted(ended) == sorted({one["position_id"] for one in ours} - set(held)), "each end is on record once"
        orders = {one["order_id"]: one["client_order_id"] for one in state["deals"] if not one["closing"]}
        assert len(set(orders.values())) == len(orders), "an entry was filled twice"

    def close(self) -> None:
        if self.sim is not None:
            self.sim.close()


def each_world(folder: Path, environment: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(folder, environment)
    yield world
    world.close()
