"""A broker that does as it is told: the paper broker, except where a test spoils it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from oracle_batch import opening
from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    Bar,
    Broker,
    CashFlow,
    CloseIntent,
    Deal,
    Gate,
    Intent,
    OpenIntent,
    PlacedOrder,
    Position,
    Quote,
    Request,
    Series,
    Stir,
    SymbolSpec,
    Wish,
)
from oracle_batch.brokers import make_broker
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.protection import Terms


class Wrapped:
    """Hands everything through to another broker and notes every leg that was sent."""

    def __init__(self, inner: Broker) -> None:
        self.inner = inner
        self.sent: list[str] = []
        self.closed = 0

    async def connect(self) -> None:
        await self.inner.connect()

    async def close(self) -> None:
        self.closed += 1
        await self.inner.close()

    async def account(self) -> Account:
        return await self.inner.account()

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        return await self.inner.symbols(names)

    async def positions(self) -> list[Position]:
        return await self.inner.positions()

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        return await self.inner.bars(symbol, timeframe, start, end)

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        return await self.inner.quotes(names)

    async def deals(self, since: float) -> list[Deal]:
        return await self.inner.deals(since)

    @property
    def absence_grace_s(self) -> float:
        return self.inner.absence_grace_s

    async def orders(self, since: float) -> list[PlacedOrder]:
        return await self.inner.orders(since)

    async def cash_flows(self, since: float) -> list[CashFlow]:
        return await self.inner.cash_flows(since)

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return await self.inner.terms(names)

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        return await self.inner.margins(wishes)

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        return await self.inner.schedules(names)

    async def arm(self, series: Sequence[Series], wishes: Sequence[Wish]) -> None:
        await self.inner.arm(series, wishes)

    async def stirred(self) -> Stir:
        return await self.inner.stirred()

    async def confirm(self) -> None:
        await self.inner.confirm()

    def final_bars(self, close: int) -> dict[Series, Bar]:
        return self.inner.final_bars(close)

    def prepare(self, intents: Sequence[Intent]) -> None:
        self.inner.prepare(intents)

    @property
    def version(self) -> int | None:
        return self.inner.version

    def disarm(self) -> None:
        self.inner.disarm()

    @property
    def last_sent(self) -> float | None:
        return self.inner.last_sent

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        self.sent += [intent.intent_id for intent in intents]
        return await self.inner.execute(intents, gate)


class RefusesCloses(Wrapped):
    """A market that takes no closes; openings that wait for one fail, as the protocol says."""

    reason = "MARKET_CLOSED"

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        closes = [leg for leg in intents if isinstance(leg, CloseIntent)]
        others = [leg for leg in intents if not isinstance(leg, CloseIntent)]
        acks = {leg.intent_id: Ack(leg.intent_id, "FAIL", self.reason) for leg in closes}
        acks |= {ack.intent_id: ack for ack in await super().execute(others, gate)}
        return [acks[leg.intent_id] for leg in intents]


class DropsStops(Wrapped):
    """A broker whose fills come back without the protection that the orders carried."""

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        bare = [
            replace(leg, stop_relative=0, target_relative=0) if isinstance(leg, OpenIntent) else leg for leg in intents
        ]
        return await super().execute(bare, gate)


def install(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], Any], account: str | None = None) -> list[Any]:
    """Let every session from now on use ``spoil(broker)``; gives the list of those made."""
    made: list[Any] = []

    def make(settings: Any, *rest: Any, **options: Any) -> Any:
        broker: Any = make_broker(settings, *rest, **options)
        if account in (None, settings.account):
            broker = spoil(broker)
        made.append(broker)
        return broker

    monkeypatch.setattr(opening, "make_broker", make)
    return made


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "make_broker", make_broker)
