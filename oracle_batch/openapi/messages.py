"""The Open API's message classes, and messages in their envelope. The one module that sees protobuf.

Only the four generated modules of ``ctrader-open-api`` are loaded: the package's ``__init__`` would bring its client,
``requests`` and a default reactor along (decision 0004).
"""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from oracle_batch.openapi.frames import WireError

_PACKAGE: Final = "ctrader_open_api"


def _register_bare_package() -> None:
    """Make the package importable without running its ``__init__``; one that is loaded already stays."""
    if _PACKAGE in sys.modules:
        return
    spec = find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{_PACKAGE} is not installed", name=_PACKAGE)
    bare = ModuleType(_PACKAGE)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = bare


def _load(name: str) -> Any:
    return importlib.import_module(f"{_PACKAGE}.messages.{name}_pb2")


_register_bare_package()
common_model: Final = _load("OpenApiCommonModelMessages")
common: Final = _load("OpenApiCommonMessages")
model: Final = _load("OpenApiModelMessages")
api: Final = _load("OpenApiMessages")

_DecodeError: Final = importlib.import_module("google.protobuf.message").DecodeError
_GARBAGE: Final = (_DecodeError, ValueError, IndexError, TypeError, OverflowError, RecursionError, struct.error)
"""What the parsers, native and pure Python, raise on bytes that are no message."""


def _payload_types() -> dict[int, type[Any]]:
    found = {}
    for module in (common, api):
        for name in module.DESCRIPTOR.message_types_by_name:
            kind = getattr(module, name)
            number = kind().payloadType
            if number:
                found[number] = kind
    return found


TYPES: Final[Mapping[int, type[Any]]] = _payload_types()
"""Message class by payload type; the envelope itself has none."""
_NUMBERS: Final = {kind: number for number, kind in TYPES.items()}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message with its number and the sender's or answered id; ``message`` is None for an unknown number."""

    payload_type: int
    message: Any
    client_msg_id: str = ""

    @property
    def name(self) -> str:
        """The class name without its prefix, for people and scripts: ``NewOrderReq``; the number where unknown."""
        return str(self.payload_type) if self.message is None else short_name(type(self.message))


def short_name(kind: type[Any]) -> str:
    """A message class's name without ``ProtoOA`` or ``Proto``.

    >>> short_name(api.ProtoOANewOrderReq), short_name(common.ProtoHeartbeatEvent)
    ('NewOrderReq', 'HeartbeatEvent')
    """
    name: str = kind.DESCRIPTOR.name
    return name.removeprefix("ProtoOA") if name.startswith("ProtoOA") else name.removeprefix("Proto")


def payload_type_of(message: Any) -> int:
    """The number that a message's class has on the wire."""
    return _NUMBERS[type(message)]


@dataclass(frozen=True, slots=True)
class Packed:
    """A message that was put into bytes beforehand, and into its envelope if ``client_msg_id`` is given."""

    payload_type: int
    payload: bytes
    client_msg_id: str = ""
    wrapped: bytes = b""


def packed(message: Any, client_msg_id: str = "") -> Packed:
    """A message as its bytes, for later; quickest if it then goes out with this id."""
    plain = Packed(payload_type_of(message), message.SerializeToString())
    if not client_msg_id:
        return plain
    return Packed(plain.payload_type, plain.payload, client_msg_id, wrap(plain, client_msg_id))


def wrap(message: Any, client_msg_id: str = "") -> bytes:
    """A message, packed or not, in its envelope, not yet framed."""
    one = message if isinstance(message, Packed) else packed(message)
    if one.wrapped and one.client_msg_id == client_msg_id:
        return one.wrapped
    envelope = common.ProtoMessage(payloadType=one.payload_type, payload=one.payload)
    if client_msg_id:
        envelope.clientMsgId = client_msg_id
    data: bytes = envelope.SerializeToString()
    return data


def unwrap(data: bytes) -> Envelope:
    """The message in one frame.

    Raises:
        WireError: the bytes are no envelope, or its payload is no whole message of its number.
    """
    envelope = _parsed(common.ProtoMessage, data)
    kind = TYPES.get(envelope.payloadType)
    message = None if kind is None else _parsed(kind, envelope.payload)
    return Envelope(envelope.payloadType, message, envelope.clientMsgId)


def _parsed(kind: type[Any], data: bytes) -> Any:
    message = kind()
    try:
        message.ParseFromString(data)
    except _GARBAGE as error:
        raise WireError(f"{len(data)} bytes are no {kind.DESCRIPTOR.name}") from error
    if not message.IsInitialized():
        raise WireError(f"{kind.DESCRIPTOR.name} lacks a required field")
    return message
