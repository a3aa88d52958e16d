"""One journal line: ``{"v":1,"t":…,"kind":…,…,"crc":"…"}``, the checksum over the line without it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from oracle_batch.store.records import KINDS, Record

VERSION: Final = 1
"""Raised when a reader of the old version would misread a line; new optional fields do not raise it."""

_CRC_LENGTH: Final = len(b',"crc":"00000000"}')


class DamagedLineError(ValueError):
    """The bytes are not what was written."""


class UnknownLineError(ValueError):
    """The bytes are whole, but this version does not know what they say."""


class _Head(msgspec.Struct):
    v: int
    t: float
    kind: str
    leg: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """A record and when it was written (Unix seconds)."""

    t: float
    record: Record


_encoder: Final = msgspec.json.Encoder()
_head_decoder: Final = msgspec.json.Decoder(_Head)
_decoders: Final = {key: msgspec.json.Decoder(kind) for key, kind in KINDS.items()}
_openings: Final = {
    kind: f'"kind":"{name}",'.encode() + (f'"leg":"{leg}",'.encode() if leg else b"")
    for (name, leg), kind in KINDS.items()
}


def encode(record: Record, t: float) -> bytes:
    """The line of a record, newline included.

    Raises:
        ValueError: a number that JSON has no word for (NaN, infinity), or another value that would not read back.
    """
    line = whole(head_at(t), [rest_of(record)])
    decode(line[:-1])
    return line


def rest_of(record: Record) -> bytes:
    """A record's part of its line, which is the same at any time."""
    return _openings[type(record)] + _encoder.encode(record)[1:]


def head_at(t: float) -> bytes:
    """What is the same in all lines of an instant."""
    return b'{"v":%d,"t":%b,' % (VERSION, _encoder.encode(t))


def whole(head: bytes, rests: Iterable[bytes]) -> bytes:
    """The lines of records whose parts are known to read back, newlines included."""
    crc = zlib.crc32(head)
    return b"".join([b'%b%b,"crc":"%08x"}\n' % (head, rest[:-1], zlib.crc32(rest, crc)) for rest in rests])


def decode(line: bytes) -> Entry:
    """The entry in a line, without its newline.

    Raises:
        DamagedLineError: the checksum is absent or does not fit.
        UnknownLineError: a newer version's line, or fields of the wrong type.
    """
    body = line[:-_CRC_LENGTH] + b"}"
    if line[-_CRC_LENGTH:] != b',"crc":"%08x"}' % zlib.crc32(body):
        raise DamagedLineError("its checksum does not fit")
    try:
        head = _head_decoder.decode(body)
        if head.v > VERSION:
            raise UnknownLineError(f"written by a newer version (v {head.v}, this version knows {VERSION})")
        decoder = _decoders.get((head.kind, head.leg))
        if decoder is None:
            raise UnknownLineError(f"kind {head.kind!r} is not known to this version")
        return Entry(head.t, decoder.decode(body))
    except msgspec.DecodeError as error:
        raise UnknownLineError(str(error)) from error
