"""The fault script: which faults there are, and how their JSON is read (docs/faults.md has an example of each).

Message faults are aimed: at the n-th message of a type, or at many, or at random ones. Market faults are in force from
the moment the script is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from oracle_batch.errors import ConfigError
from oracle_batch.openapi.messages import TYPES, common, short_name
from oracle_batch.sim.board import PERIOD_SECONDS
from oracle_batch.sim.fields import FieldError, check_path, filled
from oracle_batch.sim.values import TradingMode
from oracle_batch.store.documents import split_path

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
Side = Literal["before", "after"]

KINDS: Final = {short_name(kind): kind for kind in TYPES.values()}
"""Message class by the name that scripts call it by: ``NewOrderReq``."""
ANY: Final = "*"


class _Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """One entry of the script."""


class Aimed(_Fault, frozen=True, kw_only=True):
    """A fault of messages.

    It meets messages named ``on`` (``*``: every one, heartbeats apart) whose fields are as ``where`` says (dotted
    paths), from the ``nth`` on, ``times`` of them (0: all), each with probability ``chance`` (drawn from ``seed``).
    ``direction`` is needed for ``*`` alone: requests come in, all else goes out.
    """

    on: str
    where: dict[str, str | int | float | bool] = {}
    nth: Count = 1
    times: Annotated[int, Meta(ge=0)] = 1
    chance: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: int = 0
    direction: Literal["", "in", "out"] = ""

    @property
    def inbound(self) -> bool:
        return self.direction == "in" or (not self.direction and self.on.endswith("Req"))


class Delay(Aimed, frozen=True, kw_only=True, tag="delay"):
    """The message comes ``seconds`` later; others overtake it."""

    seconds: Seconds = msgspec.field(default=1.0)


class Drop(Aimed, frozen=True, kw_only=True, tag="drop"):
    """The message never arrives."""


class Duplicate(Aimed, frozen=True, kw_only=True, tag="duplicate"):
    """The message comes once, and ``copies`` times more."""

    copies: Annotated[int, Meta(ge=1, le=100)] = 1


class Reorder(Aimed, frozen=True, kw_only=True, tag="reorder"):
    """The message comes after the ``behind`` messages that follow it on its line in its direction."""

    behind: Annotated[int, Meta(ge=1, le=100)] = 1


class Truncate(Aimed, frozen=True, kw_only=True, tag="truncate"):
    """Only the first ``keep`` bytes come: in a frame of that length, or (``torn``) of one that ends there, line cut."""

    keep: Annotated[int, Meta(ge=0)] = 8
    torn: bool = False


class Replace(Aimed, frozen=True, kw_only=True, tag="replace"):
    """Another message comes: one named ``message`` with ``fields``, or the same with ``fields`` changed, or ``hex``
    bytes as the frame's content."""

    message: str = ""
    fields: dict[str, Any] = {}
    hex: str = ""


class Push(Aimed, frozen=True, kw_only=True, tag="push"):
    """The server sends one message more, named ``message``, before or after this one."""

    message: str
    fields: dict[str, Any] = {}
    at: Side = "after"


class Cut(Aimed, frozen=True, kw_only=True, tag="cut"):
    """The line is cut before or after the message: after a request it was carried out, and nobody learns of it."""

    at: Side = "after"


class Freeze(Aimed, frozen=True, kw_only=True, tag="freeze"):
    """The line stays open and nothing passes it any more, or (``seconds``) for a while: it comes then, in order."""

    at: Side = "after"
    seconds: Seconds | None = None


class Refuse(Aimed, frozen=True, kw_only=True, tag="refuse"):
    """A request is refused with ``code``, as an ErrorRes, an OrderErrorEvent, or an ORDER_REJECTED execution event."""

    code: str
    shape: Literal["error", "order_error", "execution"] = "error"
    description: str = "refused by the fault script"


class Throttle(Aimed, frozen=True, kw_only=True, tag="throttle"):
    """Requests are refused as too frequent for ``seconds`` from the first one that is met."""

    seconds: Seconds = 1.0
    code: Literal["REQUEST_FREQUENCY_EXCEEDED", "BLOCKED_PAYLOAD_TYPE"] = "REQUEST_FREQUENCY_EXCEEDED"


class ExpireTokens(Aimed, frozen=True, kw_only=True, tag="expire_tokens"):
    """The access token ends before or after the message; its refresh token stays good unless ``revoke``."""

    at: Side = "before"
    revoke: bool = False


class Disconnect(Aimed, frozen=True, kw_only=True, tag="disconnect"):
    """The server ends the account's session or the application's, and says so."""

    what: Literal["account", "client"] = "account"
    at: Side = "after"


class _OfBar(_Fault, frozen=True, kw_only=True):
    """``time`` is the bar's open, Unix seconds; none given: the bar in progress."""

    symbol: str
    timeframe: str
    time: int | None = None


class WithholdBars(_OfBar, frozen=True, kw_only=True, tag="withhold_bars"):
    """A closed bar is missing for real ``seconds`` after its close, or for good; ``live``: in the stream, too."""

    seconds: Seconds | None = None
    live: bool = True


class ReviseBars(_OfBar, frozen=True, kw_only=True, tag="revise_bars"):
    """History shows another bar than the stream did: ``add`` goes onto its columns."""

    add: dict[Literal["open", "high", "low", "close", "volume"], float] = msgspec.field(default_factory=dict)


class GapPrices(_Fault, frozen=True, kw_only=True, tag="gap_prices"):
    """Every price of a symbol is ``distance`` higher from its next bar on, for virtual ``seconds`` or for good."""

    symbol: str
    distance: float
    seconds: Annotated[float, Meta(gt=0)] | None = None


class SkewClock(_Fault, frozen=True, kw_only=True, tag="skew_clock"):
    """Every time on the wire is ``seconds`` ahead."""

    seconds: float


class PartialFill(_Fault, frozen=True, kw_only=True, tag="partial_fill"):
    """The ``nth`` order to come is filled by ``fraction``, the rest cancelled."""

    nth: Count = 1
    fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class NoProtection(_Fault, frozen=True, kw_only=True, tag="no_protection"):
    """The ``nth`` order to come is filled without its stop and target."""

    nth: Count = 1


class LockPosition(_Fault, frozen=True, kw_only=True, tag="lock_position"):
    """Closes and amendments of a position find it locked, so many ``times`` or for good."""

    account: int
    position: int
    times: Count | None = None


class SetTradingMode(_Fault, frozen=True, kw_only=True, tag="trading_mode"):
    """A symbol takes orders no more, or closes only."""

    symbol: str
    mode: TradingMode


MessageFault = (
    Delay
    | Drop
    | Duplicate
    | Reorder
    | Truncate
    | Replace
    | Push
    | Cut
    | Freeze
    | Refuse
    | Throttle
    | ExpireTokens
    | Disconnect
)
MarketFault = (
    WithholdBars | ReviseBars | GapPrices | SkewClock | PartialFill | NoProtection | LockPosition | SetTradingMode
)
Fault = MessageFault | MarketFault
_BY_TAG: Final = {str(kind.__struct_config__.tag): kind for kind in get_args(MessageFault) + get_args(MarketFault)}


def load_script(path: Path) -> tuple[Fault, ...]:
    """The script in a file.

    Raises:
        ConfigError: the file cannot be read, is no JSON list, or as ``parse_script``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path, fix="correct --faults") from error
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid JSON: {error}", file=path, fix="see docs/faults.md") from error
    return parse_script(document, str(path))


def parse_script(document: object, file: str) -> tuple[Fault, ...]:
    """The script in plain values.

    Raises:
        ConfigError: naming entry and key; for an unknown word the nearest known one.
    """
    if not isinstance(document, list):
        raise ConfigError("a fault script is a list", file=file, fix="see docs/faults.md")
    return tuple(_parsed(entry, f"[{index}]", file) for index, entry in enumerate(document))


def _parsed(entry: object, where: str, file: str) -> Fault:
    word = entry.get("fault") if isinstance(entry, dict) else None
    kind = _BY_TAG.get(word) if isinstance(word, str) else None
    if kind is None:
        raise ConfigError(f"{word!r} is no fault", file=file, field=f"{where}.fault", fix=_meant(str(word), _BY_TAG))
    try:
        fault: Fault = msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        what, path = split_path(error)
        raise ConfigError(what, file=file, field=f"{where}.{path}" if path else where, fix=_keys(kind)) from error
    problem = _problem(fault)
    if problem is not None:
        field, why, fix = problem
        raise ConfigError(why, file=file, field=f"{where}.{field}", fix=fix)
    return fault


def _keys(kind: type[Any]) -> str:
    return "keys: fault, " + ", ".join(kind.__struct_fields__)


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else "known: " + ", ".join(known)


def _problem(fault: Fault) -> tuple[str, str, str] | None:
    """What a type cannot say: field, problem, fix."""
    if isinstance(fault, WithholdBars | ReviseBars) and fault.timeframe not in PERIOD_SECONDS:
        return "timeframe", f"{fault.timeframe!r} is no timeframe", "known: " + ", ".join(PERIOD_SECONDS)
    if not isinstance(fault, Aimed):
        return None
    if fault.on == ANY:
        if not fault.direction:
            return "direction", "is missing", 'with "on": "*" say "in" or "out"'
    elif fault.on not in KINDS:
        return "on", f"{fault.on!r} is no message", _meant(fault.on, KINDS)
    elif fault.direction and fault.on.endswith("Req") != (fault.direction == "in"):
        return "direction", f"{fault.on} never goes {fault.direction}", "leave it out"
    if isinstance(fault, Refuse | Throttle) and not fault.inbound:
        return "on", "only a request can be refused", "name a …Req"
    if isinstance(fault, Truncate) and fault.torn and fault.inbound:
        return "torn", "is for what the server sends", "leave it out"
    try:
        for path, value in fault.where.items() if fault.on != ANY else ():
            check_path(KINDS[fault.on], path, value)
        if isinstance(fault, Push | Replace) and (fault.message or fault.fields):
            name = fault.message or fault.on
            if name not in KINDS:
                return "message", f"{name!r} is no message", _meant(name, KINDS)
            filled(KINDS[name](), fault.fields, whole=bool(fault.message))
    except FieldError as error:
        return error.field, error.why, "see the message's definition"
    if isinstance(fault, Replace):
        return _replacement_problem(fault)
    return None


def _replacement_problem(fault: Replace) -> tuple[str, str, str] | None:
    if bool(fault.hex) == bool(fault.message or fault.fields):
        return "hex", "a replacement has either bytes or a message with fields", "give one of them"
    try:
        bytes.fromhex(fault.hex)
    except ValueError:
        return "hex", f"{fault.hex!r} is not hexadecimal", "two digits a byte"
    return None


def is_heartbeat(message: object) -> bool:
    """Heartbeats are met by their own name only, never by ``*``."""
    return isinstance(message, common.ProtoHeartbeatEvent)
