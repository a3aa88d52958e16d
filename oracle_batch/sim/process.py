"""The simulator as a process: a market, its server over TLS and its control port, until somebody says stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from oracle_batch.sim.certificates import Kind, write_certificates
from oracle_batch.sim.control import Control
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.faults import Fault
from oracle_batch.sim.server import HOST, Pace, Server
from oracle_batch.sim.tls import ServerTls
from oracle_batch.sim.tokens import Tokens

STEP_S: Final = 0.1
"""Real seconds between two steps of a clock that runs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to serve a market: ``speed`` is virtual seconds per real one (0: the clock stands until it is told)."""

    port: int = 0
    speed: float = 0.0
    faults: tuple[Fault, ...] = ()
    certificate: Kind = "good"
    may_trade: bool = True
    pace: Pace | None = None


@asynccontextmanager
async def opened(
    exchange: Exchange, plan: Plan, stop: Callable[[], None]
) -> AsyncIterator[tuple[Server, Control, dict[str, Any]]]:
    """Serve on the running loop while the block runs; gives the server, its control port, and what opens the door.

    Raises:
        ConfigError: the fault script names what is not here.
    """
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="oracle-batch-sim-") as folder:
        files = write_certificates(Path(folder), plan.certificate)
        reactor: Any = AsyncioSelectorReactor(loop)
        tokens = Tokens(exchange.account_ids, may_trade=plan.may_trade)
        server = Server(
            exchange,
            reactor,
            client_id=secrets.token_urlsafe(24),
            client_secret=secrets.token_urlsafe(32),
            tokens=tokens,
            pace=plan.pace,
        )
        server.interference.load(plan.faults)
        control = Control(server, stop)
        port = server.listen(ServerTls(files.certificate, files.key), plan.port)
        running = loop.create_task(_run_clock(control, exchange, plan.speed)) if plan.speed > 0 else None
        try:
            where = {"host": HOST, "port": port, "control_port": await control.listen(), "cafile": str(files.cafile)}
            yield server, control, where | _keys(server)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await control.close()
            await server.close().asFuture(loop)
            reactor.removeAll()
            reactor.removeReader(reactor.waker)
            reactor.waker.connectionLost(Failure(ConnectionDone()))


def _keys(server: Server) -> dict[str, Any]:
    exchange, grant = server.exchange, server.tokens.current
    return {
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "accounts": list(exchange.account_ids),
        "symbols": {info.name: symbol_id for symbol_id, info in exchange.symbols.items()},
        "now": exchange.now,
    }


async def _run_clock(control: Control, exchange: Exchange, speed: float) -> None:
    loop = asyncio.get_running_loop()
    began, start = loop.time(), exchange.now
    while True:
        await asyncio.sleep(STEP_S)
        await control.advance(max(exchange.now, start + (loop.time() - began) * speed))


def run(exchange: Exchange, plan: Plan, ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve in this process until SIGTERM, the end of standard input, or a stop on the control port."""

    async def whole() -> None:
        loop, until = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, until.set)

        def end() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
                loop.call_soon_threadsafe(until.set)

        threading.Thread(target=_await_end_of_input, args=(end,), daemon=True).start()
        async with opened(exchange, plan, until.set) as (_, _, where):
            ready(where)
            await until.wait()

    asyncio.run(whole())


def _await_end_of_input(end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    end()
