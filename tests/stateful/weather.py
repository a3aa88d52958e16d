"""A broker whose line and lists are as bad as a test says; what it really does is noted beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oracle_batch.broker.base import (
    Ack,
    Broker,
    CloseIntent,
    Deal,
    Gate,
    OpenIntent,
    PlacedOrder,
    Position,
    Request,
)
from oracle_batch.errors import BrokerError
from tests.tick.fakes import Wrapped

FAULTS = ("answers lost", "orders lost", "half lost", "part filled", "closes refused", "shut", "deaf", "down")
"""Of one run: all arrive and nothing answers; nothing arrives; the first half arrives; entries are filled in part and
the rest cancelled; no close is taken; nothing is taken; after the burst no question is answered; no session at all."""
LAGS = ("working", "filled", "unseen")
"""How lists that lag show an order that was filled: at work; filled, its deals not yet listed; at first not at all."""
GRACE_S = 0.001


@dataclass
class Behind:
    """What the lists do not show yet: deals and positions that came, and positions that went. ``looks`` are left."""

    how: str
    looks: int
    deals: set[int]
    came: set[int]
    went: list[Position]


@dataclass
class Weather:
    """The state of the world's lines, kept between runs. ``arrived`` are all entries that reached the exchange."""

    fault: str | None = None
    lag: str | None = None
    behind: dict[str, Behind] = field(default_factory=dict)
    arrived: list[tuple[str, str, float]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    @property
    def clear(self) -> bool:
        return self.fault is None and not self.behind

    def calm(self) -> None:
        """Everything answers, and the lists have caught up."""
        self.fault = self.lag = None
        self.behind.clear()

    def spoil(self, broker: Any, account: str, clock: Any, *, waits: bool) -> Any:
        """A session of an account in this weather; ``waits`` says whether the run can wait for the lists."""
        return Flaky(broker, self, account, clock, waits=waits)


class Flaky(Wrapped):
    """A session in the weather of a test."""

    def __init__(self, inner: Broker, weather: Weather, account: str, clock: Any, *, waits: bool) -> None:
        super().__init__(inner)
        self._weather, self._account, self._clock, self._waits = weather, account, clock, waits
        self._deaf = False

    @property
    def absence_grace_s(self) -> float:
        return GRACE_S if self._waits else 0.0

    @property
    def _behind(self) -> Behind | None:
        """What the lists lack. For a run that gives them no time they have caught up with orders unseen at first."""
        found = self._weather.behind.get(self._account)
        if found is not None and found.how == "unseen" and not self._waits:
            del self._weather.behind[self._account]
            return None
        return found

    def _hear(self) -> None:
        if self._deaf:
            raise BrokerError("the line has dropped", fix="run it again")

    async def connect(self) -> None:
        if self._weather.fault == "down":
            raise BrokerError("no session", fix="run it again")
        await super().connect()

    async def positions(self) -> list[Position]:
        self._hear()
        real, behind = await super().positions(), self._behind
        if behind is None:
            return real
        return [one for one in real if one.position_id not in behind.came] + behind.went

    async def deals(self, since: float) -> list[Deal]:
        self._hear()
        real, behind = await super().deals(since), self._behind
        return real if behind is None else [one for one in real if one.deal_id not in behind.deals]

    async def orders(self, since: float) -> list[PlacedOrder]:
        """The orders; each look brings the lists nearer to the truth."""
        self._hear()
        real, behind = await super().orders(since), self._behind
        if behind is None:
            return real
        hidden = {one.order_id for one in await super().deals(since) if one.deal_id in behind.deals}
        shown = [one for one in real if one.order_id not in hidden]
        if behind.how != "unseen":
            shown += [_as(one, behind.how) for one in real if one.order_id in hidden]
        behind.looks -= 1
        if behind.looks <= 0:
            self._weather.behind.pop(self._account)
        return shown

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        fault = self._weather.fault
        legs = [one for one in intents if isinstance(one, OpenIntent | CloseIntent)]
        self._weather.behind.pop(self._account, None)
        if fault == "orders lost":
            return _silence(intents)
        arrived = list(intents)
        if fault == "half lost":
            arrived = arrived[: (len(arrived) + 1) // 2]
        if fault == "part filled":
            arrived = [_halved(one) for one in arrived]
        if fault == "shut" or (fault == "closes refused" and any(isinstance(one, CloseIntent) for one in legs)):
            return await self._refused(arrived, gate, all_of_them=fault == "shut")
        before = {one.position_id: one for one in await super().positions()}
        known = {one.deal_id for one in await super().deals(0.0)}
        acks = await super().execute(arrived, self._noting(gate))
        self._deaf = fault == "deaf"
        if fault not in ("answers lost", "half lost"):
            return acks
        if self._weather.lag is not None and (self._waits or self._weather.lag != "unseen"):
            after = {one.position_id: one for one in await super().positions()}
            new = {one.deal_id for one in await super().deals(0.0)} - known
            went = [one for number, one in before.items() if number not in after]
            looks = 1 if self._weather.lag == "unseen" else 3
            behind = Behind(self._weather.lag, looks, new, after.keys() - before.keys(), went)
            self._weather.behind[self._account] = behind
        return _silence(intents)

    async def _refused(self, intents: Sequence[Request], gate: Gate, *, all_of_them: bool) -> list[Ack]:
        taken = [] if all_of_them else [one for one in intents if not isinstance(one, CloseIntent)]
        acks = {ack.intent_id: ack for ack in await super().execute(taken, self._noting(gate))}
        closed = [Ack(one.intent_id, "FAIL", "MARKET_CLOSED") for one in intents if one.intent_id not in acks]
        acks |= {ack.intent_id: ack for ack in closed}
        return [acks[one.intent_id] for one in intents]

    def _noting(self, gate: Gate) -> Gate:
        """The gate, and a note of every entry that passes it: from then on it is at the exchange."""

        def noted(entries: Sequence[OpenIntent]) -> Mapping[str, str]:
            held = gate(entries)
            for entry in entries:
                if entry.intent_id not in held:
                    self._weather.arrived.append((self._account, entry.intent_id, self._clock.now()))
                    if self._clock.now() > entry.deadline:
                        self._weather.late.append(entry.intent_id)
            return held

        return noted


def _silence(intents: Sequence[Request]) -> list[Ack]:
    return [Ack(one.intent_id, "UNKNOWN", "NO_ANSWER") for one in intents]


def _halved(leg: Request) -> Request:
    return replace(leg, volume_cents=leg.volume_cents // 2) if isinstance(leg, OpenIntent) else leg


def _as(order: PlacedOrder, state: Any) -> PlacedOrder:
    return replace(order, state=state)
