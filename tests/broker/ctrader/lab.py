"""The cTrader broker against the simulator, both on one loop, over TLS."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle_batch.bars import FIELDS
from oracle_batch.broker.base import Ack, CloseIntent, OpenIntent
from oracle_batch.broker.ctrader.broker import CtraderBroker
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.broker.ctrader.session import Patience
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.faults import parse_script
from oracle_batch.sim.server import Server
from oracle_batch.store.workspace import Workspace
from tests.market.build import COSTS, T0, bars
from tests.sim.serving import CLIENT_ID, CLIENT_SECRET, HOST, certificate, serving

PATIENCE = Patience(answer_s=1.0, order_s=0.4, settle_s=0.1)
LOT = 10_000_000


@dataclass
class MarketClock:
    """The exchange's clock, or so much off it."""

    exchange: Exchange
    off_s: float = 0.0

    def now(self) -> float:
        return self.exchange.now + self.off_s


@dataclass
class Lab:
    """One broker, not yet connected, and the server it will meet."""

    exchange: Exchange
    server: Server
    port: int
    broker: CtraderBroker
    clock: MarketClock
    workspace: Workspace
    make: Callable[..., CtraderBroker]

    @property
    def account(self) -> int:
        return self.exchange.account_ids[0]

    def faults(self, *script: dict[str, Any]) -> None:
        """Put faults in force."""
        self.server.interference.load(parse_script(list(script), "test"))

    def requests(self, name: str) -> int:
        """How many requests of a kind have arrived."""
        return sum(one.type == name for one in self.server.received)

    def orders(self, client_order_id: str) -> int:
        """How many orders with an id have arrived."""
        return sum(one.client_order_id == client_order_id for one in self.server.received)

    def deals(self) -> list[Any]:
        return self.exchange.deals(self.account, 0.0, self.exchange.now + 1)


@asynccontextmanager
async def lab(
    folder: Path,
    series: dict[Any, Any] | None = None,
    *,
    settings: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    pace: Pace | None = None,
    patience: Patience = PATIENCE,
    may_trade: bool = True,
    connect: bool = True,
    start: float = T0 + 8 * 900 + 1,
    **exchange_options: Any,
) -> AsyncIterator[Lab]:
    """A simulator on a few bars and a broker for its first account."""
    exchange = market(folder, series or {"EURUSD": flat(1.1), "GBPUSD": flat(1.3)}, start=start, **exchange_options)
    cafile = folder / "ca.pem"
    cafile.write_bytes(certificate())
    async with serving(exchange, may_trade=may_trade) as running:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        token = running.server.tokens.current
        given = {
            "ORACLE_CTRADER_CLIENT_ID": CLIENT_ID,
            "ORACLE_CTRADER_CLIENT_SECRET": CLIENT_SECRET,
            "ORACLE_CTRADER_ACCESS_TOKEN": token.access_token,
            "ORACLE_CTRADER_REFRESH_TOKEN": token.refresh_token,
        } | (environment or {})
        clock = MarketClock(exchange)
        workspace = Workspace(home)

        def make(**more: Any) -> CtraderBroker:
            chosen = {"host": HOST, "port": running.port, "cafile": str(cafile)} | (settings or {}) | more
            return CtraderBroker(
                "demo",
                CtraderSettings(**chosen),
                workspace,
                clock,
                environment=given,
                pace=pace,
                patience=patience,
            )

        broker = make()
        found = Lab(exchange, running.server, running.port, broker, clock, workspace, make)
        try:
            if connect:
                await broker.connect()
            yield found
        finally:
            await broker.close()


def market(folder: Path, series: dict[Any, Any], *, start: float, costs: Any = COSTS, **options: Any) -> Exchange:
    """An exchange over series by symbol (then M15) or (symbol, timeframe)."""
    data = folder / "bars"
    data.mkdir(exist_ok=True)
    keyed = {(key, "M15") if isinstance(key, str) else key: one for key, one in series.items()}
    for (symbol, timeframe), one in keyed.items():
        with (data / f"{symbol}_{timeframe}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FIELDS)
            writer.writerows(zip(*(getattr(one, field).tolist() for field in FIELDS), strict=True))
    symbols = list(dict.fromkeys(symbol for symbol, _ in keyed))
    timeframes = list(dict.fromkeys(timeframe for _, timeframe in keyed))
    return Exchange(data, symbols, timeframes, start, settings=dict.fromkeys(symbols, costs), **options)


def flat(price: float, count: int = 40) -> Any:
    """A quiet market: bars that breathe by two points."""
    return bars([(price, price + 0.0002, price - 0.0002, price)] * count)


def entry(
    number: int = 1, symbol: str = "EURUSD", direction: int = 1, volume: int = LOT // 10, **more: Any
) -> OpenIntent:
    """An entry of a model, deterministic by its number."""
    return OpenIntent(
        f"ob-{symbol}_M15-{T0}-{number}",
        f"{symbol}_M15",
        symbol,
        direction,
        1,
        volume,
        f"oracle:{symbol}_M15",
        "O|2.0|3|1|1|10234|0.5|0.00",
        float(T0),
        float(T0 + 10**6),
        **more,
    )


def exit_of(position_id: int, symbol: str = "EURUSD", volume: int = LOT // 10, number: int = 0) -> CloseIntent:
    """A close of a position."""
    return CloseIntent(f"ob-{symbol}_M15-{T0}-c{number}", f"{symbol}_M15", symbol, position_id, volume, float(T0))


def open_gate(_: Sequence[OpenIntent]) -> dict[str, str]:
    """Lets every entry go."""
    return {}


async def opened(found: Lab, *intents: OpenIntent) -> list[Ack]:
    """Entries that have to be filled."""
    acks = await found.broker.execute(intents or [entry()], open_gate)
    assert [ack.status for ack in acks] == ["OK"] * len(acks), acks
    return acks


def run(scenario: Any) -> None:
    """Run a scenario on a loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(whole())
