"""Requests and their answers on a connection that is made anew when it is lost, a bounded number of times.

A request is answered by the message that carries its id. Ids are never used twice, so a late answer finds nobody and
is dropped. Questions are repeated on a new connection; orders are not: who sends them has to ask what became of them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from oracle_batch import trace
from oracle_batch.broker.ctrader.line import (
    Line,
    LineError,
    NotVerified,
    Pace,
    end_reactor,
    new_reactor,
    open_line,
    trust_of,
)
from oracle_batch.broker.ctrader.rates import Limiter
from oracle_batch.broker.ctrader.refusals import EXPIRED, THROTTLED, UNAUTHORISED, NoAnswer, Refused
from oracle_batch.openapi.messages import Envelope, api, common, short_name, wrap

_log = logging.getLogger(__name__)

CONNECT_TRIES: Final = 3
RECONNECTS: Final = 5
"""How often a session may be made anew in its life."""
REQUEST_TRIES: Final = 4
PAUSES_S: Final = (0.3, 0.6, 1.2)
"""Between tries, of connecting as of requests that the server asks to repeat later."""
QUEUE_S: Final = 60.0
"""The longest that a request waits for its place in the rate."""

Listener = Callable[[Envelope], None]


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server is, and the private authority that vouches for it, if any."""

    host: str
    port: int
    cafile: Path | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that an answer may take: to a question, and to an order until it is asked about."""

    answer_s: float = 10.0
    order_s: float = 8.0
    settle_s: float = 1.0
    """Between two looks at an order that is still being worked on."""


class Access(Protocol):
    """Who we are. ``authorise`` is called on every new connection, ``renew`` once when the token has expired."""

    async def authorise(self, session: Session) -> None: ...
    async def renew(self, session: Session) -> None: ...
    def concerns(self, message: Any) -> bool:
        """Whether an event about accounts is about ours."""
        ...


class Session:
    """The one connection of an account. Times out, reconnects and re-authorises by itself."""

    def __init__(self, door: Door, access: Access, pace: Pace | None = None, patience: Patience | None = None) -> None:
        self.door = door
        self.pace = pace or Pace()
        self.patience = patience or Patience()
        self.limiter = Limiter()
        self._access = access
        self._trust: Any = None
        self._reactor: Any = None
        self._line: Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._authorised = False
        self._expired = False
        self._renewed = False
        self._reconnects = 0
        self._given_up: LineError | None = None
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self._pending: dict[str, asyncio.Future[Envelope]] = {}
        self._listeners: list[Listener] = []
        self._restoring = asyncio.Lock()
        self._queues = {False: asyncio.Lock(), True: asyncio.Lock()}

    # life

    async def open(self) -> None:
        """Connect and authorise.

        Raises:
            ConfigError: the application, the token or the account is refused.
            BrokerError: the server cannot be reached, or does not answer.
        """
        self._trust = trust_of(self.door.cafile)
        self._reactor = new_reactor()
        await self.restore()

    async def close(self) -> None:
        """End the connection. Idempotent. Who still asks something gets no other one."""
        reactor, self._reactor = self._reactor, None
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._line is not None:
            await self._line.close()
            self._line = None
        if reactor is not None:
            end_reactor(reactor)

    @property
    def alive(self) -> bool:
        """Whether there is a line, as far as we know."""
        return self._line is not None and self._line.alive

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear every message that is no answer to a question; returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def restore(self) -> None:
        """Make sure that there is an authorised connection.

        Raises:
            BrokerError, ConfigError: it cannot be had.
        """
        async with self._restoring:
            if not self.alive:
                await self._connect()
            if not self._authorised:
                if self._expired:
                    await self._renew()
                try:
                    await self._access.authorise(self)
                except Refused as refusal:
                    if refusal.code != EXPIRED or self._renewed:
                        raise
                    await self._renew()
                    await self._access.authorise(self)
                self._authorised = True

    def lapse(self, code: str) -> bool:
        """Note that the server no longer takes our authorisation; whether another try makes sense."""
        if code == EXPIRED and not self._renewed:
            self._expired = True
        elif code not in UNAUTHORISED:
            return False
        self._authorised = False
        return True

    # questions

    async def request(self, message: Any, *, historical: bool = False) -> Any:
        """The answer to a question, which may be asked again on another connection.

        Raises:
            Refused: the server says no.
            NoAnswer, LineError: it says nothing, or cannot be reached any more.
        """
        lapsed = False
        for attempt in range(REQUEST_TRIES):
            last = attempt == REQUEST_TRIES - 1
            try:
                await self.restore()
                return await self.ask(message, historical=historical)
            except LineError as error:
                if last or isinstance(error, NotVerified) or self._reactor is None:
                    raise
                _log.warning("%s: %s; trying again", short_name(type(message)), error.message)
            except Refused as refusal:
                if self.lapse(refusal.code) and not lapsed:
                    lapsed = True
                elif refusal.meaning == "retry later" and not last:
                    await asyncio.sleep(self.pause_s(refusal.code, attempt))
                else:
                    raise
        raise NoAnswer(f"{short_name(type(message))} got no answer")  # pragma: no cover - the last try raises

    def pause_s(self, code: str, attempt: int) -> float:
        """How long to wait before the same is tried again; after too many requests, a whole second and more."""
        if code in THROTTLED:
            self.limiter.punished(asyncio.get_running_loop().time())
            return 1.0 + PAUSES_S[attempt % len(PAUSES_S)]
        return PAUSES_S[attempt % len(PAUSES_S)]

    async def ask(self, message: Any, *, historical: bool = False) -> Any:
        """The answer to a question on the present connection, authorised or not.

        Raises:
            Refused, NoAnswer, LineError: as in ``request``.
        """
        loop = asyncio.get_running_loop()
        name = short_name(type(message))
        await self._queue(historical=historical)
        identity = self.new_id()
        answer: asyncio.Future[Envelope] = loop.create_future()
        self._pending[identity] = answer
        sent_at = loop.time()
        try:
            line = self.post([(identity, message)], historical=historical)
            # not `wait_for`, which takes an answer for the end of a cancellation
            async with asyncio.timeout(self.patience.answer_s):
                found = await answer
        except TimeoutError:
            if line.heard_at < sent_at:
                line.drop(f"silent since {name}")
                raise LineError(f"the server fell silent after {name}", fix="run again") from None
            raise NoAnswer(f"{name} got no answer in {self.patience.answer_s:g} s", fix="run again") from None
        finally:
            self.done(identity)
        refusal = refusal_in(found.message, name)
        if refusal is not None:
            raise refusal
        return found.message

    def post(self, messages: Sequence[tuple[str, Any]], *, historical: bool = False) -> Line:
        """Put messages with their ids on the wire, all in one write; their answers go to the listeners.

        Raises:
            LineError: there is no connection; none of them has left.
        """
        if self._line is None:
            raise LineError("there is no connection", fix="run again")
        self._line.write([wrap(message, identity) for identity, message in messages])
        for identity, _ in messages:
            self.limiter.sent(identity, historical=historical)
        return self._line

    def new_id(self) -> str:
        """An id that no message of ours has had."""
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def done(self, identity: str) -> None:
        """Nobody waits for this answer any more."""
        self._pending.pop(identity, None)
        self.limiter.answered(identity, asyncio.get_running_loop().time())

    # inside

    async def _queue(self, *, historical: bool) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + QUEUE_S
        async with self._queues[historical]:
            while (wait_s := self.limiter.wait_s(loop.time(), historical=historical)) > 0:
                if loop.time() > until:
                    raise NoAnswer(f"no place for a request in {QUEUE_S:g} s", fix="run again")
                began = time.monotonic()
                await asyncio.sleep(wait_s)
                trace.span("limiter", began, time.monotonic(), "history" if historical else "requests")

    async def _connect(self) -> None:
        if self._given_up is not None:
            raise self._given_up
        if self._reconnects > RECONNECTS:
            raise LineError(f"the connection was lost {self._reconnects} times", fix="run again")
        self._reconnects += 1
        self._authorised = False
        for attempt in range(CONNECT_TRIES):
            if self._reactor is None:
                raise LineError("the session is closed", fix="connect() comes first")
            self._opening = asyncio.ensure_future(self._open_line(self._reactor))
            try:
                await self._opening
            except LineError as error:
                if isinstance(error, NotVerified) or attempt == CONNECT_TRIES - 1:
                    self._given_up = error  # whoever asks next need not wait as long for the same
                    raise
                _log.warning("%s; trying again", error.message)
                await asyncio.sleep(PAUSES_S[attempt])
            else:
                return

    async def _open_line(self, reactor: Any) -> None:
        self._line = await open_line(
            reactor, self.door.host, self.door.port, self._trust, self.pace, self._take, self._lost
        )

    async def _renew(self) -> None:
        if self._renewed:
            raise Refused(EXPIRED, request="the session")
        self._renewed = True
        await self._access.renew(self)
        self._expired = False

    def _take(self, envelope: Envelope) -> None:
        waiting = self._pending.get(envelope.client_msg_id) if envelope.client_msg_id else None
        if envelope.client_msg_id:
            self.limiter.answered(envelope.client_msg_id, asyncio.get_running_loop().time())
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(envelope)
            return
        self._note(envelope.message)
        for listener in list(self._listeners):
            listener(envelope)

    def _note(self, message: Any) -> None:
        """What the server says about the session itself."""
        if isinstance(message, api.ProtoOAClientDisconnectEvent) and self._line is not None:
            self._line.drop("the server has ended the session")
        elif isinstance(message, api.ProtoOAAccountsTokenInvalidatedEvent) and self._access.concerns(message):
            if not self._renewed:  # else it is the old pair that has died, as it should
                _log.warning("the access token is not valid any more")
                self._expired = True
            self._authorised = False
        elif isinstance(message, api.ProtoOAAccountDisconnectEvent) and self._access.concerns(message):
            _log.warning("the server has dropped the account's session")
            self._authorised = False

    def _lost(self, why: str) -> None:
        _log.warning("connection lost: %s", why) if why != "closed by us" else None
        self._authorised = False
        loop = asyncio.get_running_loop()
        for identity, answer in list(self._pending.items()):
            self.limiter.answered(identity, loop.time())
            if not answer.done():
                answer.set_exception(LineError(f"the connection was lost: {why}", fix="run again"))
        for listener in list(self._listeners):
            listener(LOST)


LOST: Final = Envelope(-1, None)
"""What listeners hear when the connection is gone."""


def refusal_in(message: Any, request: str = "") -> Refused | None:
    """The refusal that a message is, in whichever of its shapes; None for anything else."""
    if isinstance(message, common.ProtoErrorRes | api.ProtoOAErrorRes | api.ProtoOAOrderErrorEvent):
        return Refused(message.errorCode, message.description, request=request)
    return None
