"""The text forms that live on from the original: order comments and wire messages (DESIGN §6)."""

from __future__ import annotations

from dataclasses import dataclass

from oracle_batch.broker.base import Ack, CloseReason
from oracle_batch.types import ACTIONS

COMMENT_LENGTH = 32
COMMENT_HEAD = "O|2.0|"

CLOSED_WORD: dict[CloseReason, str] = {
    "order": "SIGNAL",
    "stop_loss": "SL",
    "take_profit": "TP",
    "stop_out": "SO",
    "manual": "MANUAL",
}


@dataclass(frozen=True, slots=True)
class CommentFields:
    """What a position's comment says of the decision that opened it."""

    hmm_state: int
    action: int
    intensity: int


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
    balances = (str(units), f"{int(units / 1e3)}k", f"{int(units / 1e6)}M")
    profits = (f"{virtual_pnl:.2f}", f"{virtual_pnl:.0f}", f"{virtual_pnl:.0e}")
    texts = (f"{head}|{money}|{drawdown_pct:.1f}|{profit}" for profit in profits for money in balances)
    return next((text for text in texts if len(text) <= COMMENT_LENGTH), head[:COMMENT_LENGTH])


def read_comment(comment: str) -> CommentFields | None:
    """What an order comment of ours says, or None when it is not ours or not whole."""
    parts = comment.split("|")
    if len(parts) < 5 or not comment.startswith(COMMENT_HEAD):
        return None
    try:
        hmm_state, action, intensity = (int(part) for part in parts[2:5])
    except ValueError:
        return None
    if not 1 <= action < len(ACTIONS) or ACTIONS[action].intensity != intensity:
        return None
    return CommentFields(hmm_state, action, intensity)


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


def closed_text(symbol: str, position_id: int, net_profit: float, reason: CloseReason) -> str:
    """``CLOSED|EURUSD|12345|-9.87|SL``."""
    return f"CLOSED|{symbol}|{position_id}|{net_profit:.2f}|{CLOSED_WORD[reason]}"
