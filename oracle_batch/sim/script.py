"""A fault script at work: told of every message, it answers what shall become of it.

The server asks ``inbound`` for each request that it would handle and ``outbound`` for each message that it would send,
and carries out the actions in their order. An empty list means that the message is lost.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from oracle_batch.openapi.frames import frame
from oracle_batch.openapi.messages import Envelope, payload_type_of, wrap
from oracle_batch.sim.faults import (
    ANY,
    KINDS,
    Aimed,
    Cut,
    Delay,
    Disconnect,
    Drop,
    Duplicate,
    ExpireTokens,
    Fault,
    Freeze,
    MarketFault,
    MessageFault,
    Push,
    Refuse,
    Reorder,
    Replace,
    Throttle,
    Truncate,
    is_heartbeat,
)
from oracle_batch.sim.fields import agrees, filled


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the message on (a request to its handler, anything else to the client), ``seconds`` later."""

    envelope: Envelope
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Raw:
    """Content of one frame that need be no message: sent, or taken as received."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes for the wire that are no whole frame."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Send a message to the client that no fault applies to."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Decline:
    """Refuse the request."""

    envelope: Envelope
    code: str
    shape: Literal["error", "order_error", "execution"]
    description: str


@dataclass(frozen=True, slots=True)
class CutLine:
    """Cut the line at once; what was not sent is lost."""


@dataclass(frozen=True, slots=True)
class FreezeLine:
    """Nothing passes the line from here on, for ``seconds`` or for good; the actions that follow are carried out."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Expire:
    """End the access token; with ``revoke`` the refresh token dies, too."""

    revoke: bool


@dataclass(frozen=True, slots=True)
class EndSession:
    """End the account's sessions, or the client's."""

    client: bool
    account: int


Action = Deliver | Raw | Torn | Answer | Decline | CutLine | FreezeLine | Expire | EndSession


@dataclass(slots=True)
class _Aim:
    """A message fault and how often it has been met."""

    fault: MessageFault
    seen: int = 0
    fired: int = 0
    since: float | None = None
    chance: random.Random = field(default_factory=random.Random)


@dataclass(slots=True)
class _Held:
    """A message that waits for so many others."""

    envelope: Envelope
    behind: int


class Script:
    """The faults in force. Of several that meet one message the first in the script applies; all of them count it."""

    def __init__(self, faults: Sequence[Fault] = (), *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.load(faults)

    def load(self, faults: Sequence[Fault]) -> tuple[MarketFault, ...]:
        """Put another script in place, counting from here; returns its market faults, for the exchange."""
        self._aims = [_Aim(one, chance=random.Random(one.seed)) for one in faults if isinstance(one, Aimed)]  # noqa: S311
        self._held: dict[tuple[int, bool], deque[_Held]] = {}
        return tuple(one for one in faults if not isinstance(one, Aimed))

    def inbound(self, line: int, envelope: Envelope) -> list[Action]:
        """What becomes of a request that came on a line."""
        return self._meet(line, envelope, inbound=True)

    def outbound(self, line: int, envelope: Envelope) -> list[Action]:
        """What becomes of a message that would leave on a line."""
        return self._meet(line, envelope, inbound=False)

    def forget(self, line: int) -> None:
        """A line is gone, and with it what was held back."""
        self._held.pop((line, True), None)
        self._held.pop((line, False), None)

    def _meet(self, line: int, envelope: Envelope, *, inbound: bool) -> list[Action]:
        if not self._aims and not self._held:
            return [Deliver(envelope)]
        fault = self._aimed(envelope, inbound=inbound)
        released = [] if is_heartbeat(envelope.message) else self._released((line, inbound))
        if isinstance(fault, Reorder):
            self._held.setdefault((line, inbound), deque()).append(_Held(envelope, fault.behind))
            return released
        return [*([Deliver(envelope)] if fault is None else _actions(fault, envelope, inbound=inbound)), *released]

    def _released(self, key: tuple[int, bool]) -> list[Action]:
        """Messages held back for whom this one was the last to wait for."""
        held = self._held.get(key)
        if not held:
            return []
        for one in held:
            one.behind -= 1
        due: list[Action] = [Deliver(one.envelope) for one in held if one.behind <= 0]
        self._held[key] = deque(one for one in held if one.behind > 0)
        return due

    def _aimed(self, envelope: Envelope, *, inbound: bool) -> MessageFault | None:
        found = None
        for aim in self._aims:
            fault = aim.fault
            if fault.inbound != inbound or not _named(fault, envelope) or not agrees(envelope.message, fault.where):
                continue
            aim.seen += 1
            if found is None and self._fires(aim):
                aim.fired += 1
                found = fault
        return found

    def _fires(self, aim: _Aim) -> bool:
        fault = aim.fault
        if isinstance(fault, Throttle):
            if aim.seen < fault.nth:
                return False
            aim.since = self._clock() if aim.since is None else aim.since
            return self._clock() < aim.since + fault.seconds
        if aim.seen < fault.nth or (fault.times and aim.fired >= fault.times):
            return False
        return fault.chance >= 1 or aim.chance.random() < fault.chance


def _named(fault: Aimed, envelope: Envelope) -> bool:
    if envelope.message is None or (fault.on == ANY and is_heartbeat(envelope.message)):
        return False
    return fault.on in (ANY, envelope.name)


def _actions(fault: MessageFault, envelope: Envelope, *, inbound: bool) -> list[Action]:
    """What a fault makes of a message; ``Reorder`` is not among them, since it needs the messages that follow."""
    deliver = Deliver(envelope)
    match fault:
        case Drop():
            return []
        case Delay():
            return [Deliver(envelope, fault.seconds)]
        case Duplicate():
            return [deliver] * (fault.copies + 1)
        case Truncate():
            payload = wrap(envelope.message, envelope.client_msg_id)
            if fault.torn:
                return [Torn(frame(payload)[: fault.keep]), CutLine()]
            return [Raw(payload[: fault.keep])]
        case Replace():
            return [_replacement(fault, envelope)]
        case Push():
            pushed = Answer(_made(fault.message, fault))
            return [pushed, deliver] if fault.at == "before" else [deliver, pushed]
        case Cut():
            if fault.at == "before":
                return [CutLine()]
            return [FreezeLine(None), deliver, CutLine()] if inbound else [deliver, CutLine()]
        case Freeze():
            frozen = FreezeLine(fault.seconds)
            return [deliver, frozen] if fault.at == "after" and not inbound else [frozen, deliver]
        case Refuse():
            return [Decline(envelope, fault.code, fault.shape, fault.description)]
        case Throttle():
            return [Decline(envelope, fault.code, "error", "Request frequency is reached")]
        case ExpireTokens():
            expire = Expire(fault.revoke)
            return [expire, deliver] if fault.at == "before" else [deliver, expire]
        case Disconnect():
            end = EndSession(fault.what == "client", getattr(envelope.message, "ctidTraderAccountId", 0))
            return [end, deliver] if fault.at == "before" else [deliver, end]
    raise AssertionError(fault)


def _made(name: str, fault: Push | Replace, client_msg_id: str = "") -> Envelope:
    message = filled(KINDS[name](), fault.fields, whole=True)
    return Envelope(payload_type_of(message), message, client_msg_id)


def _replacement(fault: Replace, envelope: Envelope) -> Action:
    if fault.hex:
        return Raw(bytes.fromhex(fault.hex))
    if fault.message:
        return Deliver(_made(fault.message, fault, envelope.client_msg_id))
    changed = type(envelope.message)()
    changed.CopyFrom(envelope.message)
    return Deliver(Envelope(envelope.payload_type, filled(changed, fault.fields), envelope.client_msg_id))
