"""One connection: bytes in, whole messages out to the server, and messages back.

Everything that one read brought is stamped before any of it is handled; then one message is handled per turn of the
reactor, so that what comes meanwhile is stamped in time, too.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from oracle_batch.openapi.frames import FrameError, FrameReader, WireError, frame
from oracle_batch.openapi.messages import Envelope, common, payload_type_of, unwrap, wrap
from oracle_batch.sim.session import Session

if TYPE_CHECKING:
    from oracle_batch.sim.server import Server

MAX_REQUEST_BYTES: Final = 1_000_000
_NS: Final = 1_000_000_000
_FAREWELL_S: Final = 1.0
_log = logging.getLogger(__name__)


class Line(Protocol):
    """A client's connection. ``number`` counts from 1 in the order of arrival."""

    transport: Any

    def __init__(self, server: Server, number: int) -> None:
        self.session = Session()
        self.number = number
        self.open = False
        self._server = server
        self._reader = FrameReader(MAX_REQUEST_BYTES)
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._heard_ns = self._spoke_ns = monotonic_ns()
        self._farewell: Any = None

    # From Twisted

    def connectionMade(self) -> None:
        self.open = True
        self.transport.setTcpNoDelay(True)
        self._server.joined(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason.getErrorMessage())
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        self._server.left(self)

    def dataReceived(self, data: bytes) -> None:
        self._heard_ns = stamp = monotonic_ns()
        if not self.open:
            return
        try:
            frames = self._reader.feed(data)
        except FrameError as error:
            self._refuse("FRAME_TOO_LONG", str(error))
            self.drop(str(error))
            return
        idle = not self._waiting
        self._waiting.extend((stamp, whole) for whole in frames)
        if idle and self._waiting:
            self._server.reactor.callLater(0, self._handle_next)

    # To the client

    def send(self, message: Any, client_msg_id: str = "") -> None:
        """Send a message, if the faults let it through."""
        self._server.outgoing(self, Envelope(payload_type_of(message), message, client_msg_id))

    def write(self, data: bytes) -> None:
        """Put a payload on the wire as it is."""
        if self.open:
            self._spoke_ns = monotonic_ns()
            self.transport.write(frame(data))

    def write_raw(self, data: bytes) -> None:
        """Put bytes on the wire that need be no frame."""
        if self.open:
            self.transport.write(data)

    def drop(self, why: str) -> None:
        """End the connection when everything written has left, or a second later in any case."""
        if self._end(why):
            self.transport.loseConnection()
            self._farewell = self._server.reactor.callLater(_FAREWELL_S, self.transport.abortConnection)

    def garbled(self, data: bytes, error: WireError) -> None:
        """A whole envelope around a bad payload is answered; anything else is no client of ours."""
        envelope = common.ProtoMessage()
        try:
            envelope.ParseFromString(data)
        except Exception:  # noqa: BLE001  whatever the parser of either protobuf makes of garbage
            envelope.Clear()
        if not envelope.IsInitialized():
            self.drop(str(error))
            return
        self._refuse("INVALID_REQUEST", str(error), envelope.clientMsgId)

    def _end(self, why: str) -> bool:
        if not self.open:
            return False
        _log.info("line %d ended: %s", self.number, why)
        self.open = False
        self._waiting.clear()
        return True

    def beat(self, heartbeat_s: float, silence_s: float) -> None:
        """Drop a line that was silent too long; send a heartbeat on one that nothing was sent on for a while."""
        now = monotonic_ns()
        if now - self._heard_ns > silence_s * _NS:
            self.drop(f"nothing heard for {silence_s:g} s")
        elif now - self._spoke_ns > heartbeat_s * _NS:
            self.send(common.ProtoHeartbeatEvent())

    def _handle_next(self) -> None:
        if not self._waiting:
            return
        stamp, data = self._waiting.popleft()
        if self._waiting:
            self._server.reactor.callLater(0, self._handle_next)
        try:
            envelope = unwrap(data)
        except WireError as error:
            self.garbled(data, error)
            return
        self._server.incoming(self, envelope, stamp)

    def _refuse(self, code: str, description: str, client_msg_id: str = "") -> None:
        self.write(wrap(common.ProtoErrorRes(errorCode=code, description=description), client_msg_id))
