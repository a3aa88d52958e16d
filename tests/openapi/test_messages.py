"""Messages and their envelopes, with the native and the pure-Python protobuf."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.openapi import frames, messages, scales
from oracle_batch.openapi.messages import api, common


def test_loading_the_messages_brings_neither_client_nor_reactor_along() -> None:
    program = (
        "import json, sys\n"
        "import oracle_batch.openapi.messages as m\n"
        "m.unwrap(m.wrap(m.api.ProtoOAVersionReq(), 'a'))\n"
        "print(json.dumps([n for n in ('twisted', 'requests', 'ctrader_open_api.client') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_every_request_answer_and_event_has_its_class() -> None:
    assert messages.TYPES[common.ProtoHeartbeatEvent().payloadType] is common.ProtoHeartbeatEvent
    assert messages.TYPES[2106] is api.ProtoOANewOrderReq
    names = {kind.DESCRIPTOR.name for kind in messages.TYPES.values()}
    assert {"ProtoErrorRes", "ProtoOAErrorRes", "ProtoOAExecutionEvent", "ProtoOAReconcileRes"} <= names
    assert len(names) == len(messages.TYPES)


def test_an_envelope_carries_number_message_and_id() -> None:
    request = api.ProtoOANewOrderReq(
        ctidTraderAccountId=7, symbolId=1, orderType="MARKET", tradeSide="BUY", volume=100_000, comment="ü"
    )
    found = messages.unwrap(messages.wrap(request, "42"))
    assert (found.payload_type, found.client_msg_id, found.name) == (2106, "42", "NewOrderReq")
    assert found.message == request


def test_a_message_packed_beforehand_goes_out_as_it_would_otherwise() -> None:
    request = api.ProtoOAClosePositionReq(ctidTraderAccountId=7, positionId=3, volume=100_000)
    for packed in (messages.packed(request), messages.packed(request, "42")):
        assert messages.wrap(packed, "42") == messages.wrap(request, "42")
        assert messages.wrap(packed, "43") == messages.wrap(request, "43"), "an id that it was not packed with"
        assert messages.wrap(packed) == messages.wrap(request)


def test_an_unknown_number_is_no_error() -> None:
    data = common.ProtoMessage(payloadType=9999, payload=b"\xff\xff").SerializeToString()
    found = messages.unwrap(data)
    assert (found.payload_type, found.message, found.name) == (9999, None, "9999")


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x08", b"", common.ProtoMessage(payloadType=2106, payload=b"").SerializeToString()],
    ids=["garbage", "cut off", "no number", "required fields missing"],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(frames.WireError):
        messages.unwrap(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        messages.unwrap(data)
    except frames.WireError:
        return


@given(st.sampled_from(sorted(messages.TYPES)), st.binary(max_size=200))
def test_any_payload_is_a_message_or_refused(number: int, payload: bytes) -> None:
    data = common.ProtoMessage(payloadType=number, payload=payload).SerializeToString()
    try:
        assert messages.unwrap(data).payload_type == number
    except frames.WireError:
        return


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 9), min_size=1))
def test_frames_come_out_whole_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frames.frame, payloads))
    reader, found, at = frames.FrameReader(), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += reader.feed(stream[at : at + size])
        at += size
    assert found == payloads


def test_an_oversized_frame_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(frames.FrameError, match="101 bytes"):
        frames.FrameReader(100).feed((101).to_bytes(4, "big"))


@given(st.integers(1, 10**9), st.integers(0, 5))
def test_prices_survive_the_wire(points: int, digits: int) -> None:
    price = float(Decimal(points).scaleb(-digits))
    wire = scales.relative(price)
    assert wire % scales.relative_step(digits) == 0
    assert scales.price(wire, digits) == price


@given(st.integers(-(10**12), 10**12), st.integers(0, 8))
def test_money_survives_the_wire(minor: int, digits: int) -> None:
    assert scales.minor_units(scales.money(minor, digits), digits) == minor


def test_money_digits_beyond_the_api_are_refused() -> None:
    with pytest.raises(ValueError, match="9 money digits"):
        scales.money(1, 9)


def test_times_cross_in_milliseconds() -> None:
    assert scales.milliseconds(1_770_000_001.5) == 1_770_000_001_500
    assert scales.seconds(1_770_000_001_500) == 1_770_000_001.5
