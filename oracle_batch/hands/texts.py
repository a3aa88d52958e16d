"""The text forms that live on from the original: order comments and wire messages (DESIGN §6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, get_args

from oracle_batch.broker.base import Ack, CloseCause, CloseReason
from oracle_batch.hands.books import AckWord
from oracle_batch.types import ACTION_BY_NAME, ACTIONS

COMMENT_LENGTH = 32
COMMENT_HEAD = "O|2.0|"

CLOSED_WORD: dict[CloseReason, str] = {
    "order": "MANUAL",
    "stop_loss": "SL",
    "take_profit": "TP",
    "stop_out": "SO",
    "manual": "MANUAL",
}
"""How a position ended that no close of ours has ended."""
CAUSE_WORD: dict[CloseCause, str] = {"signal": "SIGNAL", "emergency": "EMERGENCY", "operator": "OPERATOR"}
"""How it ended by an order of ours."""

_REASON_OF: Final[Mapping[str, CloseReason]] = {word: reason for reason, word in CLOSED_WORD.items()}
_CAUSE_OF: Final[Mapping[str, CloseCause]] = {word: cause for cause, word in CAUSE_WORD.items()}
_STATUSES: Final[Mapping[str, AckWord]] = {status: status for status in get_args(AckWord)}
_BALANCE: Final = re.compile(r"(-?[0-9]+)([kM]?)")
_BALANCE_UNITS: Final = {"": 1, "k": 1_000, "M": 1_000_000}
_WHOLE: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_PROFIT: Final = re.compile(r"-?[0-9]+(\.[0-9]+|e[+-][0-9]+)?")


@dataclass(frozen=True, slots=True)
class CommentFields:
    """What a position's comment says of the decision that opened it.

    The balance is cut down to whole ``balance_unit`` (1, 1000 or a million). The last four fields are None where the
    comment had no room for them, or where the broker has cut it.
    """

    hmm_state: int
    action: int
    intensity: int
    balance: int | None = None
    balance_unit: int | None = None
    drawdown_pct: float | None = None
    virtual_pnl: float | None = None


@dataclass(frozen=True, slots=True)
class SignalText:
    """What ``SIGNAL|…`` says. ``action`` indexes ``types.ACTIONS``."""

    symbol: str
    action: int
    hmm_state: int
    virtual_pnl: float


@dataclass(frozen=True, slots=True)
class AckText:
    """What ``ACK|…`` says: the reason code of a refusal; position, price and slippage of what was done."""

    symbol: str
    action: int
    status: AckWord
    reason: str | None = None
    position_id: int | None = None
    price: float | None = None
    slippage: float | None = None


@dataclass(frozen=True, slots=True)
class ClosedText:
    """What ``CLOSED|…`` says: the net profit is in whole cents of the account currency.

    ``cause`` is that of an order of ours, whose reason is ``order``; None where something else has ended the position.
    """

    symbol: str
    position_id: int
    net_profit: float
    reason: CloseReason
    cause: CloseCause | None = None


def order_comment(hmm_state: int, action: int, balance: float, drawdown_pct: float, virtual_pnl: float) -> str:
    """``O|2.0|hmm|action|intensity|balance|drawdown%|virtual pnl``, at most 32 characters.

    Where the numbers are too long the balance loses its last digits to a ``k`` (then ``M``), then the virtual
    profit its cents.

    >>> order_comment(3, 1, 10234.0, 0.5, 0.0)
    'O|2.0|3|1|1|10234|0.5|0.00'
    >>> order_comment(3, 6, 1234567.8, 12.5, -12345.67)
    'O|2.0|3|6|3|1234k|12.5|-12345.67'
    """
    head = f"{COMMENT_HEAD}{hmm_state}|{action}|{ACTIONS[action].intensity}"
    units = int(balance)
    whole = f"{head}|{units}|{drawdown_pct:.1f}|{virtual_pnl:.2f}"
    if len(whole) <= COMMENT_LENGTH:
        return whole
    balances = (str(units), f"{int(units / 1e3)}k", f"{int(units / 1e6)}M")
    profits = (f"{virtual_pnl:.2f}", f"{virtual_pnl:.0f}", f"{virtual_pnl:.0e}")
    texts = (f"{head}|{money}|{drawdown_pct:.1f}|{profit}" for profit in profits for money in balances)
    return next((text for text in texts if len(text) <= COMMENT_LENGTH), head[:COMMENT_LENGTH])


def read_comment(comment: str) -> CommentFields | None:
    """What an order comment of ours says, or None when it is not ours or not whole enough to tell the action.

    >>> read_comment("O|2.0|3|6|3|1234k|12.5|-12345.67")
    CommentFields(hmm_state=3, action=6, intensity=3, balance=1234000, balance_unit=1000, drawdown_pct=12.5, \
virtual_pnl=-12345.67)
    """
    parts = comment.split("|")
    if len(parts) < 5 or not comment.startswith(COMMENT_HEAD):
        return None
    if not all(_WHOLE.fullmatch(part) for part in parts[2:5]):
        return None
    hmm_state, action, intensity = (int(part) for part in parts[2:5])
    if not 1 <= action < len(ACTIONS) or ACTIONS[action].intensity != intensity:
        return None
    return _with_numbers(CommentFields(hmm_state, action, intensity), parts[5:])


def _with_numbers(fields: CommentFields, rest: list[str]) -> CommentFields:
    if len(rest) != 3:
        return fields
    balance = _BALANCE.fullmatch(rest[0])
    if balance is None or not (_NUMBER.fullmatch(rest[1]) and _PROFIT.fullmatch(rest[2])):
        return fields
    unit = _BALANCE_UNITS[balance[2]]
    return replace(
        fields,
        balance=int(balance[1]) * unit,
        balance_unit=unit,
        drawdown_pct=float(rest[1]),
        virtual_pnl=float(rest[2]),
    )


def signal_text(symbol: str, action: int, hmm_state: int, virtual_pnl: float) -> str:
    """``SIGNAL|EURUSD|LONG_WEAK|3|0.00``."""
    return f"SIGNAL|{symbol}|{ACTIONS[action].name}|{hmm_state}|{virtual_pnl:.2f}"


def ack_text(symbol: str, action: int, ack: Ack, digits: int) -> str:
    """``ACK|EURUSD|LONG_WEAK|OK|T:12345|P:1.08542|SLIP:0.00003``; a refusal carries its reason code instead."""
    head = f"ACK|{symbol}|{ACTIONS[action].name}|{ack.status}"
    if ack.status != "OK":
        return f"{head}|{ack.reason}"
    price = "" if ack.price is None else f"|P:{ack.price:.{digits}f}"
    slip = "" if ack.slippage is None else f"|SLIP:{ack.slippage:.{digits}f}"
    return f"{head}|T:{ack.position_id}{price}{slip}"


def closed_text(
    symbol: str, position_id: int, net_profit: float, reason: CloseReason, cause: CloseCause | None = None
) -> str:
    """``CLOSED|EURUSD|12345|-9.87|SL``; ``cause`` is that of a close of ours, which a stop may have forestalled."""
    word = CAUSE_WORD[cause] if cause is not None and reason == "order" else CLOSED_WORD[reason]
    return f"CLOSED|{symbol}|{position_id}|{net_profit:.2f}|{word}"


def parse_wire(text: str) -> SignalText | AckText | ClosedText:
    """What a wire form says; the inverse of ``signal_text``, ``ack_text`` and ``closed_text``.

    Raises:
        ValueError: the text is none of them, or not whole.

    >>> parse_wire("SIGNAL|EURUSD|LONG_WEAK|3|0.00")
    SignalText(symbol='EURUSD', action=1, hmm_state=3, virtual_pnl=0.0)
    >>> parse_wire("CLOSED|EURUSD|12345|-9.87|SL")
    ClosedText(symbol='EURUSD', position_id=12345, net_profit=-9.87, reason='stop_loss', cause=None)
    """
    try:
        match text.split("|"):
            case ["SIGNAL", symbol, action, hmm_state, pnl]:
                return SignalText(_symbol(symbol), ACTION_BY_NAME[action].index, _whole(hmm_state), _number(pnl))
            case ["ACK", symbol, action, "OK", *done]:
                return _done(AckText(_symbol(symbol), ACTION_BY_NAME[action].index, "OK"), done)
            case ["ACK", symbol, action, status, reason]:
                code = None if reason == "None" else reason
                return AckText(_symbol(symbol), ACTION_BY_NAME[action].index, _STATUSES[status], code)
            case ["CLOSED", symbol, position_id, net, word]:
                cause = _CAUSE_OF.get(word)
                reason = "order" if cause is not None else _REASON_OF[word]
                return ClosedText(_symbol(symbol), _whole(position_id), _number(net), reason, cause)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{text!r} is no wire form: {error}") from error
    raise ValueError(f"{text!r} is no wire form")


def _done(ack: AckText, parts: list[str]) -> AckText:
    """The parts of an OK: ``T:`` always, then ``P:`` and ``SLIP:`` where they are known."""
    told = dict(part.split(":", 1) for part in parts)
    if list(told) != [key for key in ("T", "P", "SLIP") if key in told] or "T" not in told or len(told) != len(parts):
        raise ValueError(f"its parts are {parts}")
    return replace(
        ack,
        position_id=None if told["T"] == "None" else _whole(told["T"]),
        price=_number(told["P"]) if "P" in told else None,
        slippage=_number(told["SLIP"]) if "SLIP" in told else None,
    )


def _symbol(text: str) -> str:
    if not text:
        raise ValueError("it names no symbol")
    return text


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return float(text)
