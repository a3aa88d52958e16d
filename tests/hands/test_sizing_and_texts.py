"""Volumes that are never rounded up, and the text forms that live on from the original."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import Ack, CloseReason, SymbolSpec
from oracle_batch.hands.sizing import VolumeRefusedError, volume_cents
from oracle_batch.hands.texts import ack_text, closed_text, order_comment, read_comment, signal_text
from oracle_batch.types import ACTIONS

FX = SymbolSpec("EURUSD", 5, 10_000_000, 100_000, 100_000, 1_000_000_000, "EUR", "USD")
GOLD = SymbolSpec("XAUUSD", 2, 10_000, 100, 100, 1_000_000, "XAU", "USD")


@pytest.mark.parametrize(
    ("lots", "spec", "volume"),
    [
        (0.01, FX, 100_000),
        (0.29, FX, 2_900_000),
        (0.019999, FX, 100_000),
        (1.1, FX, 11_000_000),
        (100, FX, 1_000_000_000),
        (0.07, GOLD, 700),
        (0.57, GOLD, 5_700),
    ],
)
def test_volumes_worked_out_by_hand(lots: float, spec: SymbolSpec, volume: int) -> None:
    assert volume_cents(lots, spec) == volume


@given(
    lots=st.floats(1e-6, 1e4),
    step=st.sampled_from([1, 100, 1_000, 100_000]),
    minimum=st.integers(1, 10),
    lot=st.sampled_from([100, 10_000, 10_000_000]),
)
def test_a_volume_is_on_the_step_within_the_limits_and_never_more_than_asked(
    lots: float, step: int, minimum: int, lot: int
) -> None:
    spec = SymbolSpec("X", 2, lot, minimum * step, step, 10_000 * step, "X", "USD")
    asked = Decimal(str(lots)) * lot
    whole = asked - asked % step
    if spec.min_volume_cents <= whole <= spec.max_volume_cents:
        volume = volume_cents(lots, spec)
        assert volume % step == 0
        assert asked - step < volume <= asked
    else:
        code = "VOLUME_BELOW_MIN" if whole < spec.min_volume_cents else "VOLUME_ABOVE_MAX"
        with pytest.raises(VolumeRefusedError, match=code):
            volume_cents(lots, spec)


@given(
    hmm=st.integers(0, 99),
    action=st.integers(1, 6),
    balance=st.floats(0, 1e12),
    drawdown=st.floats(0, 100),
    pnl=st.floats(-1e9, 1e9),
)
def test_a_comment_fits_and_says_what_opened_the_position(
    hmm: int, action: int, balance: float, drawdown: float, pnl: float
) -> None:
    comment = order_comment(hmm, action, balance, drawdown, pnl)
    assert len(comment) <= 32
    found = read_comment(comment)
    assert found is not None
    assert (found.hmm_state, found.action, found.intensity) == (hmm, action, ACTIONS[action].intensity)


def test_the_balance_loses_its_last_digits_first() -> None:
    assert order_comment(3, 1, 10234.56, 0.5, 0.0) == "O|2.0|3|1|1|10234|0.5|0.00"
    assert order_comment(3, 1, 1234567.0, 0.5, -12345.67) == "O|2.0|3|1|1|1234k|0.5|-12345.67"
    assert order_comment(0, 2, 98765432.1, 0.0, 12345.67) == "O|2.0|0|2|2|98765k|0.0|12345.67"


@pytest.mark.parametrize(
    "comment",
    ["", "by hand", "O|2.0", "O|2.0|3|1", "O|2.0|3|1|2|1|0|0", "O|2.0|3|0|0|1|0|0", "O|2.0|x|1|1", "O|9.9|3|1|1|"],
)
def test_comments_that_are_not_ours_say_nothing(comment: str) -> None:
    assert read_comment(comment) is None


def test_wire_forms() -> None:
    assert signal_text("EURUSD", 1, 3, 0.0) == "SIGNAL|EURUSD|LONG_WEAK|3|0.00"
    filled = Ack("ob-EURUSD_M15-900-1", "OK", None, 12345, 1.08542, 0.00003)
    assert ack_text("EURUSD", 1, filled, 5) == "ACK|EURUSD|LONG_WEAK|OK|T:12345|P:1.08542|SLIP:0.00003"
    assert ack_text("EURUSD", 6, Ack("x", "SKIP", "LATE"), 5) == "ACK|EURUSD|SHORT_STRONG|SKIP|LATE"
    assert closed_text("EURUSD", 12345, -9.87, "stop_loss") == "CLOSED|EURUSD|12345|-9.87|SL"


def test_every_way_a_position_ends_has_a_word() -> None:
    words = {closed_text("X", 1, 0.0, reason).rpartition("|")[2] for reason in get_args(CloseReason)}
    assert words == {"SL", "TP", "SO", "MANUAL"}
