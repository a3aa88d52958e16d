"""One TLS connection: verified before anything is written, frames in and out, heartbeats, a deadline for silence.

Twisted runs on the asyncio loop of the caller; no reactor is installed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from OpenSSL.crypto import Error as CertificateError
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from oracle_batch.errors import BrokerError, ConfigError
from oracle_batch.openapi.frames import MAX_FRAME_BYTES, WireError, frame
from oracle_batch.openapi.messages import Envelope, common, payload_type_of, unwrap, wrap

_log = logging.getLogger(__name__)

HEARTBEAT: Final = payload_type_of(common.ProtoHeartbeatEvent())


class LineError(BrokerError):
    """The connection could not be made, or is lost. Nothing more can be sent on it; run the same command again."""


class NotVerified(LineError):
    """The server did not prove who it is. Nothing was sent; check host, clock and ``cafile`` before running again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: to connect and verify, between heartbeats, and of silence after which a line counts as lost.

    The server wants a heartbeat every 10 s and sends its own at least every 30 s when nothing else happens.
    """

    connect_s: float = 10.0
    heartbeat_s: float = 8.0
    silence_s: float = 35.0


@implementer(IHandshakeListener)
class _Frames(Int32StringReceiver):
    """Hands whole messages to its line; anything else ends the connection."""

    MAX_LENGTH = MAX_FRAME_BYTES

    def __init__(self, line: Line) -> None:
        self._line = line

    def connectionMade(self) -> None:
        """TCP is up; nothing is written before the certificate is verified."""
        self._line._transport = self.transport

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        if not transport.disconnecting:  # set when the verification has failed in the handshake's last step
            self._line._verified(transport)

    def stringReceived(self, string: bytes) -> None:
        try:
            self._line._received(unwrap(string))
        except WireError as error:
            self._line.drop(f"garbage: {error}")

    def lengthLimitExceeded(self, length: int) -> None:
        self._line.drop(f"garbage: a frame of {length} bytes")

    def dataReceived(self, data: bytes) -> None:
        self._line._heard()
        receiver: Any = super()
        receiver.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._line._lost(reason)


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, line: Line) -> None:
        self._line = line

    def buildProtocol(self, addr: object) -> _Frames:
        return _Frames(self._line)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._line._lost(reason)


class _Tls(TLSMemoryBIOFactory):
    """Encrypts each write at once: there is nothing to gather in a line's writes."""

    protocol = TLSMemoryBIOProtocol


class Line:
    """A connection that is verified or not there. Made by ``open_line``.

    ``on_message`` gets every message but heartbeats, ``on_lost`` once the reason. ``alive`` is False from then on.
    """

    def __init__(self, pace: Pace, on_message: Callable[[Envelope], None], on_lost: Callable[[str], None]) -> None:
        self.alive = False
        self._pace = pace
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: Any = None
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._why = ""

    def write(self, payloads: list[bytes]) -> None:
        """Put messages on the wire in one write; what the system takes has left when this returns.

        Raises:
            LineError: the line is lost; none of them has left.
        """
        if not self.alive:
            raise LineError(f"the connection is lost: {self._why}", fix="run again")
        self._transport.write(b"".join(map(frame, payloads)))
        self._transport.transport.doWrite()  # not only in the loop's next turn; an error is found there once more

    def drop(self, why: str) -> None:
        """Cut the connection now; what it carried last may or may not have arrived."""
        self._end(why)
        if self._transport is not None:
            self._transport.abortConnection()

    async def close(self) -> None:
        """End the connection in good order, or after a second in any."""
        if self.alive:
            self._end("closed by us")
            self._transport.loseConnection()
        if self._transport is not None:
            done, _ = await asyncio.wait([self._gone], timeout=1.0)
            if not done:
                self._transport.abortConnection()
                await asyncio.wait([self._gone], timeout=1.0)

    @property
    def heard_at(self) -> float:
        """When the last byte came, in the loop's time."""
        return self._heard_at

    # from the protocol

    def _verified(self, transport: Any) -> None:
        transport.setTcpNoDelay(True)
        self.alive = True
        self._heard()
        self._timer = self._loop.call_later(self._pace.heartbeat_s, self._beat)
        if not self._ready.done():
            self._ready.set_result(None)

    def _received(self, envelope: Envelope) -> None:
        if self.alive and envelope.payload_type != HEARTBEAT:
            self._on_message(envelope)

    def _heard(self) -> None:
        self._heard_at = self._loop.time()

    def _lost(self, reason: Failure) -> None:
        self._end(_words(reason), NotVerified if reason.check(VerificationError, TLSError) else LineError)
        if not self._gone.done():
            self._gone.set_result(None)

    # inside

    def _beat(self) -> None:
        silence = self._loop.time() - self._heard_at
        if silence >= self._pace.silence_s:
            self.drop(f"silent for {silence:.0f} s")
            return
        self.write([wrap(common.ProtoHeartbeatEvent())])
        until_silent = self._pace.silence_s - silence
        self._timer = self._loop.call_later(min(self._pace.heartbeat_s, until_silent), self._beat)

    def _end(self, why: str, kind: type[LineError] = LineError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ready.done():
            self._why = why
            self._ready.set_exception(kind(why))
        if self.alive:
            self.alive = False
            self._why = why
            self._on_lost(why)


async def open_line(
    reactor: Any,
    host: str,
    port: int,
    trust: Any,
    pace: Pace,
    on_message: Callable[[Envelope], None],
    on_lost: Callable[[str], None],
) -> Line:
    """Connect and verify chain and host name; not one application byte is sent before that.

    Raises:
        LineError: refused, not verified, or not done in ``pace.connect_s``.
    """
    line = Line(pace, on_message, on_lost)
    loop = asyncio.get_running_loop()
    until = loop.time() + pace.connect_s
    try:
        async with asyncio.timeout(pace.connect_s):
            address = await _resolve(host, port)
    except (OSError, TimeoutError) as error:
        line._ready.cancel()
        raise LineError(f"{host}: no address: {error}", fix="check [broker.ctrader] host") from error
    plain: Any = _Factory(line)
    factory = _Tls(optionsForClientTLS(host, trust), True, plain, reactor)
    connector = reactor.connectTCP(address, port, factory, timeout=pace.connect_s)
    try:
        async with asyncio.timeout_at(until):
            await asyncio.shield(line._ready)
    except TimeoutError as error:
        await _leave(line, connector)
        raise LineError(f"{host}:{port} did not answer within {pace.connect_s:g} s", fix="run again") from error
    except asyncio.CancelledError:
        await _leave(line, connector)
        raise
    except LineError as error:
        fix = "check host, clock and cafile" if isinstance(error, NotVerified) else "run again"
        raise type(error)(f"{host}:{port}: {error.message}", fix=fix) from error
    return line


async def _leave(line: Line, connector: Any) -> None:
    """Have no more to do with a connection that is being made."""
    line._ready.cancel()
    if line._transport is None:
        connector.disconnect()
    else:
        line.drop("left")
    await asyncio.wait([line._gone], timeout=1.0)


async def _resolve(host: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def trust_of(cafile: Path | None) -> Any:
    """What certificates are verified against: the private authority in a file, else the system's.

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    if cafile is None:
        return platformTrust()
    try:
        text, end = cafile.read_bytes(), b"-----END CERTIFICATE-----"
        blocks = [part + end for part in text.split(end) if b"BEGIN CERTIFICATE" in part]
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except (OSError, ValueError, CertificateError) as error:
        raise ConfigError(f"is no file of certificates: {error}", file=cafile, field="broker.ctrader.cafile") from error
    if not certificates:
        raise ConfigError("holds no certificate", file=cafile, field="broker.ctrader.cafile")
    return trustRootFromCertificates(certificates)


def new_reactor() -> Any:
    """A reactor on the running loop, which is not installed anywhere."""
    return AsyncioSelectorReactor(asyncio.get_running_loop())


def end_reactor(reactor: Any) -> None:
    """Give back what a reactor holds of the loop."""
    reactor.removeAll()
    reactor.removeReader(reactor.waker)
    reactor.waker.connectionLost(Failure(ConnectionDone()))


def _words(reason: Failure) -> str:
    """Why a connection ended, without a traceback."""
    error = reason.value
    if isinstance(error, VerificationError):
        return "its certificate is for another host name"
    if isinstance(error, TLSError):
        texts = [str(part[-1]) for part in (error.args[0] if error.args else ()) if part]
        return f"its certificate or TLS was refused: {', '.join(texts) or 'no reason given'}"
    if isinstance(error, ConnectionDone):
        return "closed by the server"
    return str(error) or type(error).__name__
