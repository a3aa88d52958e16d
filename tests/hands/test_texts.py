"""Comments and wire forms are read back: what a text holds is what went into it, in the text's own precision."""

from __future__ import annotations

import contextlib
import math
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oracle_batch.broker.base import Ack, AckStatus, CloseCause, CloseReason
from oracle_batch.hands.texts import (
    AckText,
    ClosedText,
    CommentFields,
    SignalText,
    ack_text,
    closed_text,
    order_comment,
    parse_wire,
    read_comment,
    signal_text,
)
from oracle_batch.types import ACTIONS

SYMBOLS = st.sampled_from(["EURUSD", "US500.cash", "US_500", "#AAPL", "X"])
ACTION = st.integers(0, 6)
MONEY = st.floats(-1e12, 1e12)
IDS = st.integers(1, 2**53)
CAUSES = st.none() | st.sampled_from(get_args(CloseCause))
CODES = st.from_regex(r"[A-Z][A-Z_]{0,20}", fullmatch=True).filter(lambda code: code != "None")


@given(SYMBOLS, ACTION, st.integers(0, 99), MONEY)
def test_a_signal_reads_back(symbol: str, action: int, hmm_state: int, pnl: float) -> None:
    text = signal_text(symbol, action, hmm_state, pnl)
    assert parse_wire(text) == SignalText(symbol, action, hmm_state, float(f"{pnl:.2f}"))
    again: Any = parse_wire(text)
    assert signal_text(again.symbol, again.action, again.hmm_state, again.virtual_pnl) == text


@given(SYMBOLS, ACTION, IDS, st.none() | st.floats(1e-5, 1e6), st.none() | st.floats(-10, 10), st.integers(0, 5))
def test_an_ack_of_what_was_done_reads_back(
    symbol: str, action: int, position: int, price: float | None, slippage: float | None, digits: int
) -> None:
    text = ack_text(symbol, action, Ack("x", "OK", "RECOVERED", position, price, slippage), digits)
    kept = [None if value is None else float(f"{value:.{digits}f}") for value in (price, slippage)]
    assert parse_wire(text) == AckText(symbol, action, "OK", None, position, *kept), "an OK has no room for its reason"
    again: Any = parse_wire(text)
    whole = Ack("y", "OK", None, again.position_id, again.price, again.slippage)
    assert ack_text(again.symbol, again.action, whole, digits) == text


@given(SYMBOLS, ACTION, st.sampled_from([one for one in get_args(AckStatus) if one != "OK"]), st.none() | CODES)
def test_an_ack_of_a_refusal_reads_back(symbol: str, action: int, status: AckStatus, reason: str | None) -> None:
    text = ack_text(symbol, action, Ack("x", status, reason), 5)
    assert parse_wire(text) == AckText(symbol, action, status, reason)


@given(SYMBOLS, IDS, MONEY, st.sampled_from([one for one in get_args(CloseReason) if one != "order"]), CAUSES)
def test_an_end_that_is_no_order_of_ours_reads_back(
    symbol: str, position: int, net: float, reason: CloseReason, cause: CloseCause | None
) -> None:
    text = closed_text(symbol, position, net, reason, cause)
    assert parse_wire(text) == ClosedText(symbol, position, float(f"{net:.2f}"), reason)


@given(SYMBOLS, IDS, MONEY, st.sampled_from(get_args(CloseCause)))
def test_a_close_of_ours_reads_back_with_its_cause(symbol: str, position: int, net: float, cause: CloseCause) -> None:
    text = closed_text(symbol, position, net, "order", cause)
    assert text.endswith(f"|{cause.upper()}")
    assert parse_wire(text) == ClosedText(symbol, position, float(f"{net:.2f}"), "order", cause)


def test_an_order_that_was_not_ours_is_somebodys_hand() -> None:
    assert closed_text("EURUSD", 1, 2.5, "order") == closed_text("EURUSD", 1, 2.5, "manual")


def test_the_forms_of_the_design_are_read() -> None:
    assert parse_wire("SIGNAL|EURUSD|LONG_WEAK|3|0.00") == SignalText("EURUSD", 1, 3, 0.0)
    done = AckText("EURUSD", 1, "OK", None, 12345, 1.08542, 0.00003)
    assert parse_wire("ACK|EURUSD|LONG_WEAK|OK|T:12345|P:1.08542|SLIP:0.00003") == done
    assert parse_wire("ACK|EURUSD|LONG_WEAK|WAIT_SYNC|MISSED_ENTRY").reason == "MISSED_ENTRY"  # type: ignore[union-attr]
    assert parse_wire("CLOSED|EURUSD|12345|-9.87|SL") == ClosedText("EURUSD", 12345, -9.87, "stop_loss")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIGNAL",
        "signal|EURUSD|LONG_WEAK|3|0.00",
        "SIGNAL||LONG_WEAK|3|0.00",
        "SIGNAL|EURUSD|LONG|3|0.00",
        "SIGNAL|EURUSD|LONG_WEAK|3.5|0.00",
        "SIGNAL|EURUSD|LONG_WEAK|3|nan",
        "SIGNAL|EURUSD|LONG_WEAK|3|0.00|more",
        "ACK|EURUSD|LONG_WEAK|OK",
        "ACK|EURUSD|LONG_WEAK|OK|P:1.1",
        "ACK|EURUSD|LONG_WEAK|OK|P:1.1|T:5",
        "ACK|EURUSD|LONG_WEAK|OK|T:5|T:6",
        "ACK|EURUSD|LONG_WEAK|OK|T:5|X:6",
        "ACK|EURUSD|LONG_WEAK|OK|T5",
        "ACK|EURUSD|LONG_WEAK|PERHAPS|LATE",
        "CLOSED|EURUSD|12345|-9.87|WHY",
        "CLOSED|EURUSD|12345|inf|SL",
        "CLOSED|EURUSD|ten|-9.87|SL",
        "CLOSED|EURUSD|١٢|-9.87|SL",
        "O|2.0|3|1|1|10234|0.5|0.00",
    ],
)
def test_what_is_no_wire_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no wire form"):
        parse_wire(text)


@given(st.text(alphabet="SIGNALACKOEDT|:.0123456789-_ x", max_size=40))
def test_no_text_breaks_the_parsers(text: str) -> None:
    read_comment(text)
    read_comment("O|2.0|" + text)
    with contextlib.suppress(ValueError):
        parse_wire(text)


@given(
    hmm=st.integers(0, 99),
    action=st.integers(1, 6),
    balance=st.floats(-1e7, 1e12),
    drawdown=st.floats(0, 100),
    pnl=st.floats(-1e9, 1e9),
)
@example(hmm=3, action=6, balance=1234567.8, drawdown=12.5, pnl=-12345.67)
@example(hmm=12, action=4, balance=999_999_999.0, drawdown=99.9, pnl=-1234567.89)
@example(hmm=99, action=6, balance=123_456_789_012.0, drawdown=100.0, pnl=-123_456_789.12)
def test_a_comment_reads_back_in_its_own_precision(
    hmm: int, action: int, balance: float, drawdown: float, pnl: float
) -> None:
    comment = order_comment(hmm, action, balance, drawdown, pnl)
    found = read_comment(comment)
    assert found is not None
    assert (found.hmm_state, found.action, found.intensity) == (hmm, action, ACTIONS[action].intensity)
    if found.balance is None:
        assert comment == f"O|2.0|{hmm}|{action}|{found.intensity}", "there was no room for any number"
        return
    assert found.balance_unit in (1, 1_000, 1_000_000)
    assert found.balance == math.trunc(int(balance) / found.balance_unit) * found.balance_unit
    assert found.drawdown_pct == float(f"{drawdown:.1f}")
    assert found.virtual_pnl in (float(f"{pnl:.2f}"), float(f"{pnl:.0f}"), float(f"{pnl:.0e}"))


@pytest.mark.parametrize(
    ("comment", "numbers"),
    [
        ("O|2.0|3|1|1|10234|0.5|0.00", (10234, 1, 0.5, 0.0)),
        ("O|2.0|3|6|3|1234k|12.5|-12345.67", (1_234_000, 1_000, 12.5, -12345.67)),
        ("O|2.0|3|6|3|123456M|12.5|-1234567", (123_456_000_000, 1_000_000, 12.5, -1234567.0)),
        ("O|2.0|3|6|3|98M|12.5|-1e+09", (98_000_000, 1_000_000, 12.5, -1e9)),
        ("O|2.0|3|6|3", (None, None, None, None)),
        ("O|2.0|3|6|3|1234", (None, None, None, None)),
        ("O|2.0|3|6|3|1234G|0.5|0.00", (None, None, None, None)),
        ("O|2.0|3|6|3|1234|0.5|nan", (None, None, None, None)),
    ],
)
def test_numbers_of_a_comment(comment: str, numbers: tuple[int | None, int | None, float | None, float | None]) -> None:
    found = read_comment(comment)
    assert isinstance(found, CommentFields)
    assert (found.balance, found.balance_unit, found.drawdown_pct, found.virtual_pnl) == numbers
