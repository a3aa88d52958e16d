"""The clock of a simulator, heard over its control port (DESIGN §8)."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from oracle_batch.errors import BrokerError, UsageError

ANSWER_S: Final = 5.0
"""Seconds that the first instant may take."""
_LINE_BYTES: Final = 65536
_FIELD: Final = "--clock"


class ToldClock:
    """Stands where the simulator last said; what it has said meanwhile is read whenever somebody asks.

    Raises:
        UsageError: ``address`` is no HOST:PORT.
        BrokerError: nobody answers there, or not with an instant.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(
                f"{address!r} is no HOST:PORT", field=_FIELD, fix="take control_port from `oracle-batch sim`"
            )
        self._rest = b""
        self.heard_at = time.monotonic()
        """When the newest instant was heard, on the machine's monotonic clock."""
        self.ended = False
        """Whether the simulator is gone."""
        self._instant = math.nan
        self._heed: Callable[[], None] | None = None
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), ANSWER_S)
        except OSError as error:
            raise self._unusable(str(error)) from error
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def now(self) -> float:
        """The newest instant; the last one that was told once the simulator is gone."""
        before = self._instant
        try:
            while data := self._socket.recv(_LINE_BYTES):
                self._take(data)
            self.ended = True
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
        if self._heed is not None and (self.ended or self._instant != before):
            self._heed()
        return self._instant

    def heed(self, news: Callable[[], None] | None) -> None:
        """Have something called whenever somebody, whoever it is, reads another instant or the end."""
        self._heed = news

    def fileno(self) -> int:
        """What becomes readable when there is news."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hear no more. Idempotent."""
        self._socket.close()

    def _begin(self) -> None:
        try:
            self._socket.sendall(b'{"cmd":"clock"}\n')
            while math.isnan(self._instant):
                self._take(self._socket.recv(_LINE_BYTES))
        except OSError as error:
            raise self._unusable(str(error)) from error
        self._socket.setblocking(False)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _LINE_BYTES:
            raise self._unusable("it tells no time")
        self.heard_at = time.monotonic()
        for line in lines:
            self._instant = self._told(line)

    def _told(self, line: bytes) -> float:
        try:
            answer: Any = json.loads(line)
            now = float(answer["now"])
        except (ValueError, TypeError, KeyError) as error:
            raise self._unusable(f"it said {line[:80]!r}") from error
        if not math.isfinite(now):
            raise self._unusable(f"it said {now}")
        return now

    def _unusable(self, why: str) -> BrokerError:
        return BrokerError(
            f"{self.address} is no simulator's clock: {why}", field=_FIELD, fix="is the simulator running?"
        )
