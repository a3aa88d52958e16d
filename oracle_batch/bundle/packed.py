"""The file of a compiled bundle, as far as it can be read without NumPy: prelude, header, and the bytes of the arrays.

The cache is a convenience that may vanish, be damaged or be planted: it is bound to the bundle's SHA-256, only used
when nobody else could have written it, and made anew whenever anything about it is odd.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec

from oracle_batch.bundle.model import Activation, FeatureParams, Model, TrainingCosts
from oracle_batch.errors import StateError

CACHE_VERSION: Final = 1
MAX_CACHE_BYTES: Final = 64 * 1024 * 1024
MAGIC: Final = b"oracle-batch compiled model\n"
PRELUDE: Final = struct.Struct("<28sIII")
"""Magic, header bytes, body bytes (header included), CRC-32 of the body."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a compiled model that is no array; the arrays follow in the order of their fields."""

    version: int
    text: dict[str, str]
    features: FeatureParams
    costs: TrainingCosts
    n_states: int
    widths: tuple[int, ...]
    activation: Activation


_DECODER: Final = msgspec.json.Decoder(Header)
TEXT: Final = tuple(field.name for field in fields(Model) if field.type in ("str", "Decoding", "ObservationPnl"))


class Opened(NamedTuple):
    """A packed model: its header, and a body in which the arrays start at ``offset``."""

    header: Header
    body: bytes
    offset: int


def open_packed(data: bytes, sha256: str) -> Opened:
    """What ``pack`` wrote. ``numpy.load`` would do, but importing ``zipfile`` alone costs a tick 7 ms.

    Raises:
        StateError: another version, another bundle's, or damaged.
    """
    start = data.find(MAGIC, 0, 512)
    if start < 0 or len(data) < start + PRELUDE.size:
        odd("no byte array of this program")
    _, text_bytes, body_bytes, checksum = PRELUDE.unpack_from(data, start)
    start += PRELUDE.size
    body = data[start : start + body_bytes]
    if len(body) != body_bytes or text_bytes > body_bytes or zlib.crc32(body) != checksum:
        odd("damaged bytes")
    try:
        header = _DECODER.decode(body[:text_bytes])
    except msgspec.MsgspecError as error:
        odd(f"a header of another kind ({error})")
    if header.version != CACHE_VERSION or header.text.get("sha256") != sha256 or set(header.text) != set(TEXT):
        odd("another version or bundle")
    return Opened(header, body, text_bytes)


def read_trusted(path: Path) -> bytes | None:
    """The bytes of a cached file, None when it cannot be read or somebody else could have written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            status = os.fstat(descriptor)
            if not _only_ours(status) or not _only_ours(path.parent.stat(), folder=True):
                return None
            return file.read(min(status.st_size, MAX_CACHE_BYTES))
        except OSError:
            return None


def _only_ours(status: os.stat_result, *, folder: bool = False) -> bool:
    """Whether nobody but this user and root could have put it there."""
    kind = stat.S_ISDIR if folder else stat.S_ISREG
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return kind(status.st_mode) and status.st_uid in (os.geteuid(), 0) and not others


def odd(reason: str) -> NoReturn:
    """Refuse a cached file.

    Raises:
        StateError: always.
    """
    raise StateError(f"is no compiled model: {reason}", fix="delete it; it is made again")
