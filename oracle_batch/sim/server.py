"""The Open API server: its connections, who is told what, and the clockwork of heartbeats."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall
from twisted.protocols.tls import TLSMemoryBIOFactory

from oracle_batch.openapi.messages import Envelope, api, common
from oracle_batch.sim import dispatch, pushes
from oracle_batch.sim.calls import Call
from oracle_batch.sim.events import Event
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.interference import Interference
from oracle_batch.sim.limits import Allowance, Traffic
from oracle_batch.sim.line import Line
from oracle_batch.sim.received import Received, received_log
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.tokens import Grant, Tokens
from oracle_batch.sim.wire import Wire

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds without traffic after which the server sends a heartbeat, and after which it drops a silent line."""

    heartbeat_s: float = 10.0
    silence_s: float = 30.0


class Server(ServerFactory):
    """Serves one exchange to every client that connects; on loopback only.

    ``reactor`` is a Twisted reactor, normally an AsyncioSelectorReactor on a loop that others use, too.
    """

    noisy = False

    def __init__(
        self,
        exchange: Exchange,
        reactor: Any,
        *,
        client_id: str,
        client_secret: str,
        tokens: Tokens,
        pace: Pace | None = None,
    ) -> None:
        self.exchange = exchange
        self.reactor = reactor
        self.client_id = client_id
        self.client_secret = client_secret
        self.tokens = tokens
        self.wire = Wire(exchange.money_digits, lambda: exchange.faults.skew_s)
        self.traffic = Traffic()
        self.received: deque[Received] = received_log()
        self.lines: list[Line] = []
        self.told_ns = 0
        self.interference = Interference(self)
        self._allowances: dict[int, Allowance] = {}
        self._pace = pace or Pace()
        self._next_number = 1
        self._port: Any = None
        self._beat = LoopingCall(self._beat_all)
        self._beat.clock = reactor
        exchange.watched = set()

    # Life

    def listen(self, context_factory: Any, port: int = 0) -> int:
        """Serve over TLS on loopback and return the port."""
        factory: Any = self
        tls = TLSMemoryBIOFactory(context_factory, False, factory, self.reactor)
        self._port = self.reactor.listenTCP(port, tls, interface=HOST)
        self._beat.start(min(1.0, self._pace.heartbeat_s / 2), now=False)
        number: int = self._port.getHost().port
        return number

    def close(self) -> Any:
        """Stop listening and drop every line; the Deferred fires when the port is free."""
        if self._beat.running:
            self._beat.stop()
        for line in list(self.lines):
            line.drop("the server stops")
        return self._port.stopListening()

    def buildProtocol(self, addr: object) -> Line:  # noqa: N802  Twisted's name
        line = Line(self, self._next_number)
        self._next_number += 1
        return line

    def joined(self, line: Line) -> None:
        """A client connected."""
        self.lines.append(line)
        self._allowances[line.number] = Allowance()

    def left(self, line: Line) -> None:
        """A client is gone."""
        if line in self.lines:
            self.lines.remove(line)
        self._allowances.pop(line.number, None)
        self.interference.forget(line)
        self.traffic.forget(line.number)
        self.watch()

    # Messages

    def incoming(self, line: Line, envelope: Envelope, stamp_ns: int) -> None:
        """Take a whole message from a line that was read at ``stamp_ns``."""
        if isinstance(envelope.message, common.ProtoHeartbeatEvent):
            return
        historical = dispatch.is_historical(envelope.message)
        self.traffic.add(line.number, stamp_ns, historical=historical)
        client_order_id = getattr(envelope.message, "clientOrderId", "")
        self.received.append(Received(client_order_id, envelope.name, stamp_ns))
        self.interference.incoming(line, envelope, lambda passed: self._handle(line, passed, stamp_ns))

    def outgoing(self, line: Line, envelope: Envelope) -> None:
        """Send a message on a line, if the fault script lets it pass."""
        self.interference.outgoing(line, envelope)

    def _handle(self, line: Line, envelope: Envelope, stamp_ns: int) -> None:
        allowance = self._allowances.get(line.number)
        if allowance is None:  # the line is gone; only the request arrived
            return
        if allowance.admits(stamp_ns, historical=dispatch.is_historical(envelope.message)):
            dispatch.carry_out(Call(self, line, envelope.message, envelope.client_msg_id))
            return
        refused = Refused("REQUEST_FREQUENCY_EXCEEDED", "Request frequency is reached")
        line.send(refused.message(getattr(envelope.message, "ctidTraderAccountId", None)), envelope.client_msg_id)

    # Events

    def advance(self, to: float) -> None:
        """Play the market up to an instant and tell everybody what happened."""
        self.publish(self.exchange.advance(to))

    def publish(self, events: Iterable[Event], origin: Line | None = None, client_msg_id: str = "") -> None:
        """Tell everybody concerned; answers to a request carry its id on the line that it came on."""
        for event in events:
            pushes.tell(self, event, origin, client_msg_id)

    def lines_of(self, account: int) -> list[Line]:
        """The lines that an account is authorised on."""
        return [line for line in self.lines if account in line.session.accounts]

    def watch(self) -> None:
        """Let the exchange report the symbols that somebody subscribed to, and no others."""
        self.exchange.watched = {symbol_id for line in self.lines for _, symbol_id in line.session.spots}

    def invalidate(self, grant: Grant, reason: str) -> None:
        """End the sessions that a grant's access token opened, and say so."""
        for line in self.lines:
            opened = [account for account, by in line.session.accounts.items() if by.access_token == grant.access_token]
            for account in opened:
                line.session.leave(account)
            if opened:
                line.send(api.ProtoOAAccountsTokenInvalidatedEvent(ctidTraderAccountIds=opened, reason=reason))
        self.watch()

    def expire_tokens(self, *, revoke: bool = False) -> None:
        """Let the current access token reach its end now; with ``revoke`` its refresh token, too."""
        grant = self.tokens.revoke() if revoke else self.tokens.expire()
        self.invalidate(grant, "Access Token is recalled" if revoke else "Access Token is expired")

    def disconnect_account(self, account: int) -> None:
        """End an account's sessions on every line."""
        for line in self.lines_of(account):
            line.session.leave(account)
            line.send(api.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account))
        self.watch()

    def disconnect_clients(self, reason: str) -> None:
        """End the application's session on every line, and cut the lines."""
        for line in list(self.lines):
            line.send(api.ProtoOAClientDisconnectEvent(reason=reason))
            line.drop(reason)

    def _beat_all(self) -> None:
        for line in list(self.lines):
            line.beat(self._pace.heartbeat_s, self._pace.silence_s)
