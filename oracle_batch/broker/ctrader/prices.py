"""Streamed quotes, what things cost, and what the broker's clock shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from oracle_batch.broker.base import Quote
from oracle_batch.broker.ctrader import translate
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.refusals import HARMLESS, Refused
from oracle_batch.broker.ctrader.session import LOST, Session
from oracle_batch.clock import Clock
from oracle_batch.errors import BrokerError
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import Envelope, api
from oracle_batch.told_clock import ToldClock

_log = logging.getLogger(__name__)

FIRST_QUOTE_S: Final = 2.0
"""How long the first quote of a new subscription is waited for; a symbol may have none."""


@dataclass(slots=True)
class ClockGauge:
    """How far our clock is from the server's, from the times on what it sends. Seconds, positive: ours is behind.

    A quote may be old, so one quote shows only that our clock is *at least* so far behind. That ours is ahead is known
    when even the youngest of several quotes that came as they were made was too old.
    """

    behind_s: float | None = None
    youngest_s: float | None = None
    pushed: int = 0

    def note(self, server_time: float, now: float, *, fresh: bool) -> None:
        """Take the time on a message; ``fresh``: it was sent when it happened."""
        behind = server_time - now
        self.behind_s = behind if self.behind_s is None else max(self.behind_s, behind)
        if fresh:
            self.pushed += 1
            self.youngest_s = -behind if self.youngest_s is None else min(self.youngest_s, -behind)

    @property
    def skew_s(self) -> float:
        """The least difference that explains what was seen; 0 where nothing was."""
        if self.behind_s is not None and self.behind_s > 0:
            return self.behind_s
        if self.pushed >= MANY and self.youngest_s is not None and self.youngest_s > 0:
            return -self.youngest_s
        return 0.0


MANY: Final = 3
"""Quotes that have to come as they are made before our clock is said to be ahead."""


@dataclass(slots=True)
class _Spot:
    bid: int = 0
    ask: int = 0
    time: float = 0.0
    events: int = 0
    shown: Quote | None = None


@dataclass(slots=True)
class Prices:
    """The newest quote of every symbol that was asked for once, and conversion rates made of them.

    ``changes`` counts prices that were told to be others.
    """

    session: Session
    account_id: int
    catalogue: Catalogue
    clock: Clock
    gauge: ClockGauge = field(default_factory=ClockGauge)
    _spots: dict[int, _Spot] = field(default_factory=dict)
    _subscribed: set[int] = field(default_factory=set)
    _digits: dict[int, int] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    changes: int = 0
    _newest: float = 0.0

    def __post_init__(self) -> None:
        self.session.listen(self._heard)

    def skew_s(self) -> float:
        """How far our clock is off, as far as quotes show.

        A simulator's clock tells an instant after its quotes: these are held against what it says only now.
        """
        if self._newest:
            self.gauge.note(self._newest, self.clock.now(), fresh=False)
            self._newest = 0.0
        return self.gauge.skew_s

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        """Quotes by symbol; absent where the broker has none now."""
        ids = {name: symbol_id for name in names if (symbol_id := await self.catalogue.id_of(name)) is not None}
        await self._subscribe(list(ids.values()))
        found = {name: self._quote(symbol_id) for name, symbol_id in ids.items()}
        return {name: quote for name, quote in found.items() if quote is not None}

    def newest(self, symbol_id: int) -> Quote | None:
        """The newest quote of a symbol that was subscribed to, without asking."""
        return self._quote(symbol_id) if self._fresh(symbol_id) else None

    async def rate(self, first: int, last: int) -> float | None:
        """What one unit of an asset is worth in another, by bid prices; None where a quote is missing."""
        if first == last:
            return 1.0
        chain = await self.catalogue.chain(first, last)
        await self._subscribe([light.symbol_id for light in chain])
        value, asset = 1.0, first
        for light in chain:
            quote = self._quote(light.symbol_id)
            if quote is None:
                return None
            if light.base == asset:
                value, asset = value * quote.bid, light.quote
            elif light.quote == asset:
                value, asset = value / quote.bid, light.base
            else:
                raise BrokerError(f"{light.name} does not continue the conversion of asset {first} to {last}")
        return value if asset == last and chain else None

    def _quote(self, symbol_id: int) -> Quote | None:
        spot = self._spots.get(symbol_id)
        if spot is None or not spot.bid or not spot.ask:
            return None
        if spot.shown is None:
            spot.shown = translate.quote(spot.bid, spot.ask, self._digits[symbol_id], spot.time)
        return spot.shown

    def _fresh(self, symbol_id: int) -> bool:
        return symbol_id in self._subscribed

    async def _subscribe(self, ids: Sequence[int]) -> None:
        await self.session.restore()  # a new connection knows none of them
        new = [symbol_id for symbol_id in dict.fromkeys(ids) if symbol_id not in self._subscribed]
        if not new:
            return
        for symbol_id in new:
            self._digits[symbol_id] = await self.catalogue.digits_of(symbol_id)
        request = api.ProtoOASubscribeSpotsReq(
            ctidTraderAccountId=self.account_id, symbolId=new, subscribeToSpotTimestamp=True
        )
        for symbol_id in new:
            self._spots[symbol_id] = _Spot()
        try:
            await self.session.request(request)
        except Refused as refusal:
            if refusal.code not in HARMLESS:
                raise
        self._subscribed.update(new)
        loop = asyncio.get_running_loop()
        until = loop.time() + FIRST_QUOTE_S
        while any(self._quote(symbol_id) is None for symbol_id in new) and loop.time() < until:
            self._news.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                break

    def _heard(self, envelope: Envelope) -> None:
        if envelope is LOST:
            self._subscribed.clear()
            return
        message = envelope.message
        if not isinstance(message, api.ProtoOASpotEvent) or message.ctidTraderAccountId != self.account_id:
            return
        spot = self._spots.setdefault(message.symbolId, _Spot())
        before = spot.bid, spot.ask
        spot.bid = message.bid or spot.bid
        spot.ask = message.ask or spot.ask
        self.changes += (spot.bid, spot.ask) != before
        now = self.clock.now()
        spot.time = scales.seconds(message.timestamp) if message.HasField("timestamp") else now
        if message.HasField("timestamp"):
            if isinstance(self.clock, ToldClock):
                self._newest = max(self._newest, spot.time)
            else:
                self.gauge.note(spot.time, now, fresh=spot.events > 0)
        spot.events += 1
        spot.shown = None
        self._news.set()
