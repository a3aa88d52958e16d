"""The cTrader broker against the simulator, each in its own process, over TLS on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle_batch.broker.base import OpenIntent
from oracle_batch.broker.ctrader.broker import CtraderBroker
from oracle_batch.clock import FrozenClock
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.store.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
NOW = 1_784_808_001  # 2026-07-23 12:00:01 UTC, in the middle of the shipped bars
SERIES = (("EURUSD", "M15"), ("GBPUSD", "H1"), ("USDJPY", "H1"))
MILLI, NANO = 1e3, 1e-9


@dataclass(frozen=True)
class Sim:
    """A running simulator, as its ready line describes it."""

    ready: dict[str, Any]

    def control(self, command: dict[str, Any]) -> dict[str, Any]:
        """One command to the control port."""
        with socket.create_connection((self.ready["host"], self.ready["control_port"])) as line:
            line.sendall(json.dumps(command).encode() + b"\n")
            with line.makefile() as answers:
                found: dict[str, Any] = json.loads(answers.readline())
                return found

    def received(self, prefix: str) -> list[int]:
        """When orders arrived whose client id begins like this, monotonic nanoseconds, in order."""
        every = self.control({"cmd": "state"})["received"]
        return [one["monotonic_ns"] for one in every if one["client_order_id"].startswith(prefix)]

    def broker(self, home: Path) -> CtraderBroker:
        """A broker of the first account, not yet connected."""
        ready = self.ready
        names = ("client_id", "client_secret", "access_token", "refresh_token")
        settings = CtraderSettings(host=ready["host"], port=ready["port"], cafile=ready["cafile"])
        secrets = {f"ORACLE_CTRADER_{name.upper()}": ready[name] for name in names}
        return CtraderBroker("bench", settings, Workspace(home), FrozenClock(NOW), environment=secrets)


@contextmanager
def simulator(home: Path) -> Iterator[Sim]:
    """A simulator of the shipped bars for as long as the block runs."""
    home.mkdir(parents=True, exist_ok=True)
    options = {
        "--home": home,
        "--data": ROOT / "data",
        "--symbols": ",".join(symbol for symbol, _ in SERIES),
        "--timeframes": "M15,H1",
        "--start": NOW,
        "--balance": 1e9,
    }
    command = [sys.executable, "-m", "oracle_batch", "sim", *(str(part) for pair in options.items() for part in pair)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield Sim(json.loads(child.stdout.readline()))
        finally:
            child.stdin.close()
            child.wait(timeout=20)


def orders(count: int, round_: int) -> list[OpenIntent]:
    """So many entries of as many models."""
    return [
        OpenIntent(
            f"ob-bench-{round_}-{number:02}", "EURUSD_M15", SERIES[number % 3][0], 1, 1, 100_000, "oracle:EURUSD_M15",
            "O|2.0|3|1|1|10234|0.5|0.00", float(NOW), NOW + 1e6, stop_relative=50_000,
        )
        for number in range(count)
    ]  # fmt: skip


async def burst_ms(sim: Sim, broker: CtraderBroker, count: int, round_: int) -> float:
    """From the instant before the first byte leaves until the last of so many orders is received."""
    session, left = broker._session, []
    post = session.post

    def stamped(messages: Any, *, historical: bool = False) -> Any:
        left.append(time.monotonic_ns())
        return post(messages, historical=historical)

    session.post = stamped  # type: ignore[method-assign]
    acks = await broker.execute(orders(count, round_), lambda _: {})
    session.post = post  # type: ignore[method-assign]
    assert all(ack.status == "OK" for ack in acks), acks
    arrived = sim.received(f"ob-bench-{round_}-")
    assert len(arrived) == count
    return (max(arrived) - left[0]) * NANO * MILLI


async def connect_ms(sim: Sim, home: Path) -> float:
    """From nothing to an authorised session that knows its account."""
    broker = sim.broker(home)
    began = time.perf_counter()
    await broker.connect()
    taken = (time.perf_counter() - began) * MILLI
    await broker.close()
    return taken


async def history_s(broker: CtraderBroker, models: int, bars: int) -> float:
    """The last bars of so many models, all asked for at once, within the rate for history."""
    began = time.perf_counter()
    spans = {"M15": 900, "H1": 3600}
    wanted = [SERIES[number % 3] for number in range(models)]
    found = await asyncio.gather(
        *(broker.bars(name, frame, NOW - 2 * bars * spans[frame], NOW) for name, frame in wanted)
    )
    assert min(len(one) for one in found) >= bars
    return time.perf_counter() - began


def openapipy_burst_ms(sim: Sim, count: int) -> float:
    """The same burst by Spotware's own client, from handing the first order to it."""
    ready = sim.ready
    known = (ready["host"], ready["port"], ready["client_id"], ready["client_secret"], ready["access_token"])
    arguments = [*map(str, known), str(ready["accounts"][0]), str(ready["symbols"]["EURUSD"]), str(count)]
    program = str(Path(__file__).with_name("openapipy_burst.py"))
    command = [sys.executable, "-W", "ignore", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            began = int(child.stdout.readline())
            until = time.monotonic() + 30
            while len(arrived := sim.received("spotware-")) < count and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            child.terminate()
    assert len(arrived) == count
    return (max(arrived) - began) * NANO * MILLI


def measure(home: Path, *, rounds: int, connects: int, models: int = 20, bars: int = 1000) -> dict[str, float]:
    """Every key that has to do with the wire."""

    async def ours(sim: Sim) -> dict[str, float]:
        connected = [await connect_ms(sim, home) for _ in range(connects)]
        broker = sim.broker(home)
        await broker.connect()
        try:
            bursts = []
            for round_ in range(rounds):
                await asyncio.sleep(1.1)  # from rest, as far as the rate goes
                bursts.append(await burst_ms(sim, broker, models, round_))
            await asyncio.sleep(1.1)
            history = await history_s(broker, models, bars)
        finally:
            await broker.close()
        return {
            "sim_burst_20_orders_ms": statistics.median(bursts),
            "sim_burst_20_orders_ms_min": min(bursts),
            "connect_to_ready_ms": statistics.median(connected),
            "history_20x1000_bars_s": history,
        }

    with simulator(home) as sim:
        found = asyncio.run(ours(sim))
        return found | {"openapipy_burst_20_ms": openapipy_burst_ms(sim, models)}
