"""Frames of the Open API: a 4-byte big-endian length, then so many bytes. Pure."""

from __future__ import annotations

from typing import Final

PREFIX_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 15_000_000
"""The longest frame that either end takes."""


class WireError(ValueError):
    """Bytes that are no message: the line cannot be trusted any more and is dropped."""


class FrameError(WireError):
    """A frame announces more bytes than any message has."""


def frame(payload: bytes) -> bytes:
    """A payload behind its length.

    >>> frame(b"ab")
    b'\\x00\\x00\\x00\\x02ab'
    """
    return len(payload).to_bytes(PREFIX_BYTES, "big") + payload


class FrameReader:
    """Takes bytes as they come, in any pieces, and gives whole payloads."""

    def __init__(self, max_length: int = MAX_FRAME_BYTES) -> None:
        self._max_length = max_length
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now, in order.

        Raises:
            FrameError: a frame longer than ``max_length``; the stream is lost from there on.
        """
        self._pending += data
        whole = []
        start = 0
        while len(self._pending) - start >= PREFIX_BYTES:
            body = start + PREFIX_BYTES
            length = int.from_bytes(self._pending[start:body], "big")
            if length > self._max_length:
                raise FrameError(f"a frame of {length} bytes, at most {self._max_length} are taken")
            if len(self._pending) < body + length:
                break
            whole.append(bytes(self._pending[body : body + length]))
            start = body + length
        del self._pending[:start]
        return whole
