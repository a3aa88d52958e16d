"""The fault script: what is read, what is refused, and what it makes of messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oracle_batch.errors import ConfigError
from oracle_batch.openapi.messages import Envelope, api, common, model, payload_type_of, unwrap, wrap
from oracle_batch.sim.faults import load_script, parse_script
from oracle_batch.sim.script import Answer, CutLine, Decline, Deliver, Expire, FreezeLine, Raw, Script, Torn


def order(client_order_id: str = "one") -> Envelope:
    message = api.ProtoOANewOrderReq(
        ctidTraderAccountId=7,
        symbolId=1,
        orderType=model.MARKET,
        tradeSide=model.BUY,
        volume=100_000,
        clientOrderId=client_order_id,
    )
    return Envelope(payload_type_of(message), message, f"id of {client_order_id}")


def filled(kind: int = model.ORDER_FILLED) -> Envelope:
    message = api.ProtoOAExecutionEvent(ctidTraderAccountId=7, executionType=kind)
    return Envelope(payload_type_of(message), message, "id")


def script(*entries: dict[str, Any], **options: Any) -> Script:
    return Script(parse_script(list(entries), "test"), **options)


def test_without_faults_everything_is_delivered() -> None:
    assert script().inbound(1, order()) == [Deliver(order())]
    assert script().outbound(1, filled()) == [Deliver(filled())]


def test_the_nth_message_of_a_type_is_met_and_no_other() -> None:
    drop_second = script({"fault": "drop", "on": "NewOrderReq", "nth": 2})
    assert [len(drop_second.inbound(1, order())) for _ in range(3)] == [1, 0, 1]
    twice = script({"fault": "drop", "on": "NewOrderReq", "nth": 2, "times": 2})
    assert [len(twice.inbound(1, order())) for _ in range(4)] == [1, 0, 0, 1]
    for_good = script({"fault": "drop", "on": "NewOrderReq", "times": 0})
    assert [len(for_good.inbound(1, order())) for _ in range(3)] == [0, 0, 0]


def test_conditions_look_into_the_message() -> None:
    lose_fills = script({"fault": "drop", "on": "ExecutionEvent", "where": {"executionType": "ORDER_FILLED"}})
    assert lose_fills.outbound(1, filled(model.ORDER_ACCEPTED)) == [Deliver(filled(model.ORDER_ACCEPTED))]
    assert lose_fills.outbound(1, filled()) == []
    by_id = script({"fault": "drop", "on": "NewOrderReq", "where": {"clientOrderId": "two"}})
    assert [len(by_id.inbound(1, order(name))) for name in ("one", "two")] == [1, 0]
    nested = script({"fault": "drop", "on": "ExecutionEvent", "where": {"order.orderId": 3}})
    assert nested.outbound(1, filled()) == [Deliver(filled())]


def test_chance_is_drawn_from_the_seed() -> None:
    def lost(seed: int) -> list[int]:
        at_random = script({"fault": "drop", "on": "*", "direction": "in", "times": 0, "chance": 0.3, "seed": seed})
        return [len(at_random.inbound(1, order())) for _ in range(200)]

    assert lost(1) == lost(1) != lost(2)
    assert 30 < lost(1).count(0) < 90


def test_a_star_leaves_heartbeats_alone() -> None:
    beat = Envelope(51, common.ProtoHeartbeatEvent())
    assert script({"fault": "drop", "on": "*", "direction": "out"}).outbound(1, beat) == [Deliver(beat)]
    assert script({"fault": "drop", "on": "HeartbeatEvent"}).outbound(1, beat) == []


def test_delay_duplicate_and_reorder() -> None:
    assert script({"fault": "delay", "on": "NewOrderReq", "seconds": 0.5}).inbound(1, order()) == [
        Deliver(order(), 0.5)
    ]
    assert script({"fault": "duplicate", "on": "ExecutionEvent"}).outbound(1, filled()) == [Deliver(filled())] * 2
    late = script({"fault": "reorder", "on": "ExecutionEvent", "behind": 2})
    assert late.outbound(1, filled()) == []
    assert late.outbound(2, filled(4)) == [Deliver(filled(4))], "another line does not count"
    assert late.outbound(1, filled(4)) == [Deliver(filled(4))]
    assert late.outbound(1, filled(5)) == [Deliver(filled(5)), Deliver(filled())]


def test_truncation_keeps_the_first_bytes_whole_frame_or_torn() -> None:
    (raw,) = script({"fault": "truncate", "on": "ExecutionEvent", "keep": 5}).outbound(1, filled())
    assert isinstance(raw, Raw)
    assert len(raw.payload) == 5
    torn, cut = script({"fault": "truncate", "on": "ExecutionEvent", "keep": 6, "torn": True}).outbound(1, filled())
    assert isinstance(torn, Torn)
    assert (torn.data[:3], len(torn.data)) == (b"\0\0\0", 6)
    assert cut == CutLine()


def test_a_replacement_changes_fields_is_another_message_or_any_bytes() -> None:
    original = filled()
    changed = script({"fault": "replace", "on": "ExecutionEvent", "fields": {"executionType": "ORDER_PARTIAL_FILL"}})
    (action,) = changed.outbound(1, original)
    assert isinstance(action, Deliver)
    assert action.envelope.message.executionType == model.ORDER_PARTIAL_FILL
    assert original.message.executionType == model.ORDER_FILLED, "others may still send the original"
    other = script({"fault": "replace", "on": "ExecutionEvent", "message": "ErrorRes", "fields": {"errorCode": "X"}})
    (action,) = other.outbound(1, original)
    assert isinstance(action, Deliver)
    assert (action.envelope.name, action.envelope.message.errorCode) == ("ErrorRes", "X")
    assert action.envelope.client_msg_id == "id"
    assert script({"fault": "replace", "on": "ExecutionEvent", "hex": "00ff"}).outbound(1, original) == [
        Raw(b"\x00\xff")
    ]


def test_a_request_is_carried_out_unseen_before_the_line_is_cut_after_it() -> None:
    cut = script({"fault": "cut", "on": "NewOrderReq"})
    assert cut.inbound(1, order()) == [FreezeLine(None), Deliver(order()), CutLine()]
    assert script({"fault": "cut", "on": "NewOrderReq", "at": "before"}).inbound(1, order()) == [CutLine()]
    assert script({"fault": "cut", "on": "ExecutionEvent"}).outbound(1, filled()) == [Deliver(filled()), CutLine()]


def test_refusals_and_throttling_count_real_time() -> None:
    refuse = script({"fault": "refuse", "on": "NewOrderReq", "code": "NOT_ENOUGH_MONEY", "shape": "order_error"})
    (action,) = refuse.inbound(1, order())
    assert isinstance(action, Decline)
    assert (action.code, action.shape) == ("NOT_ENOUGH_MONEY", "order_error")
    now = [100.0]
    throttle = script({"fault": "throttle", "on": "*", "direction": "in", "seconds": 2}, clock=lambda: now[0])
    kinds = []
    for instant in (100.0, 101.9, 102.0):
        now[0] = instant
        kinds += [type(one) for one in throttle.inbound(1, order())]
    assert kinds == [Decline, Decline, Deliver]


def test_a_push_a_token_that_ends_and_a_frozen_line() -> None:
    push = script({"fault": "push", "on": "NewOrderReq", "message": "ClientDisconnectEvent", "fields": {"reason": "x"}})
    deliver, pushed = push.inbound(1, order())
    assert deliver == Deliver(order())
    assert isinstance(pushed, Answer)
    assert pushed.envelope.message.reason == "x"
    assert script({"fault": "expire_tokens", "on": "ReconcileReq"}).inbound(1, order()) == [Deliver(order())]
    assert script({"fault": "expire_tokens", "on": "NewOrderReq"}).inbound(1, order()) == [
        Expire(False),
        Deliver(order()),
    ]
    assert script({"fault": "freeze", "on": "ExecutionEvent", "seconds": 3}).outbound(1, filled()) == [
        Deliver(filled()),
        FreezeLine(3.0),
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"fault": "dely", "on": "NewOrderReq"}, "did you mean delay?"),
        ({"fault": "drop", "on": "NewOrderRq"}, "did you mean NewOrderReq?"),
        ({"fault": "drop"}, "`on`"),
        ({"fault": "drop", "on": "*"}, "[0].direction: is missing"),
        ({"fault": "drop", "on": "NewOrderReq", "ntn": 1}, "unknown field `ntn`"),
        ({"fault": "drop", "on": "NewOrderReq", "nth": 0}, "[0].nth"),
        ({"fault": "drop", "on": "NewOrderReq", "chance": 2}, "[0].chance"),
        ({"fault": "drop", "on": "NewOrderReq", "direction": "out"}, "never goes out"),
        ({"fault": "drop", "on": "ExecutionEvent", "where": {"kind": 1}}, "no field 'kind'"),
        ({"fault": "drop", "on": "ExecutionEvent", "where": {"executionType": "FILLED"}}, "ORDER_FILLED"),
        ({"fault": "drop", "on": "ExecutionEvent", "where": {"order.x": 1}}, "no field 'x'"),
        ({"fault": "drop", "on": "ExecutionEvent", "where": {"bid.x": 1}}, "no message 'bid'"),
        ({"fault": "refuse", "on": "ExecutionEvent", "code": "X"}, "only a request can be refused"),
        ({"fault": "truncate", "on": "NewOrderReq", "torn": True}, "[0].torn"),
        ({"fault": "replace", "on": "ExecutionEvent"}, "give one of them"),
        ({"fault": "replace", "on": "ExecutionEvent", "hex": "0g"}, "is not hexadecimal"),
        ({"fault": "replace", "on": "ExecutionEvent", "message": "ErrorRes"}, "needs errorCode"),
        ({"fault": "replace", "on": "SpotEvent", "fields": {"bid": "x"}}, "fields.bid: 'x' does not fit"),
        ({"fault": "replace", "on": "SpotEvent", "fields": {"bidd": 1}}, "no such field"),
        ({"fault": "push", "on": "SpotEvent", "message": "Nothing"}, "'Nothing' is no message"),
        ({"fault": "withhold_bars", "symbol": "EURUSD", "timeframe": "M16"}, "'M16' is no timeframe"),
        ("drop", "is no fault"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry: object, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_script([entry], "script.json")
    assert str(refused.value).startswith("script.json: [0]")
    assert told in str(refused.value)


def test_a_file_that_is_no_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_script(path)
    path.write_text("[{]")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        load_script(path)
    path.write_text('{"fault": "drop"}')
    with pytest.raises(ConfigError, match="is a list"):
        load_script(path)
    path.write_text('[{"fault": "drop", "on": "NewOrderReq"}]')
    assert [type(one).__name__ for one in load_script(path)] == ["Drop"]


def test_a_changed_message_survives_the_wire() -> None:
    spot = api.ProtoOASpotEvent(ctidTraderAccountId=7, symbolId=1, bid=110000)
    change = {"fault": "replace", "on": "SpotEvent", "fields": {"bid": None, "trendbar": [{"volume": 3}]}}
    (action,) = script(change).outbound(1, Envelope(payload_type_of(spot), spot))
    assert isinstance(action, Deliver)
    back = unwrap(wrap(action.envelope.message)).message
    assert (back.HasField("bid"), [bar.volume for bar in back.trendbar]) == (False, [3])
