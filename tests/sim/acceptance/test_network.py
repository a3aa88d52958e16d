"""FAILURE_MODES, network: rows 1 to 10."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from oracle_batch.openapi.frames import frame
from oracle_batch.sim.line import Line
from oracle_batch.sim.process import Plan
from tests.sim.acceptance.world import World

ENTRY = "ob-EURUSD_M15-1704672900-1"
EACH = {"times": 0}


def ready(world: World, script: str = "W L1 W") -> None:
    """One model whose next tick, of bar 1, enters."""
    world.lab.add("EURUSD", "M15", script)
    world.start()
    world.play(0)


def entered_once(world: World) -> None:
    assert world.deals() == [(ENTRY, False)]
    assert world.positions() == [("oracle:EURUSD_M15", "BUY", 100_000)]
    world.agree()


@pytest.mark.parametrize("certificate", ["self-signed", "expired", "wrong-host"])
def test_row_1_not_one_application_byte_leaves_for_a_wrong_certificate(
    world: World, certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    monkeypatch.setattr(Line, "dataReceived", lambda _, data: heard.append(data))
    world.lab.add("EURUSD", "M15", "W L1")
    world.start(plan=Plan(certificate=certificate))
    result = world.tick(0)
    assert result.code == 69
    assert "certificate" in result.err
    assert heard == []


def test_row_2_a_refused_or_mute_server_ends_the_run_in_bounded_time(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1")
    world.hasten()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        world.start(settings={"port": closed.getsockname()[1]})
        began = time.monotonic()
        assert world.tick(0).code == 69, "nobody listens"
        closed.listen()
        assert world.tick(0).code == 69, "somebody listens, and says nothing"
        assert time.monotonic() - began < 40


def test_row_3_split_and_glued_frames_mean_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(line: Line, data: bytes) -> None:
        pieces = frame(data)
        size = 1 if len(pieces) < 400 else 97
        for start in range(0, len(pieces), size):
            line.transport.write(pieces[start : start + size])

    monkeypatch.setattr(Line, "write", split)
    ready(world)
    assert world.tick(1).code == 0
    entered_once(world)


@pytest.mark.parametrize("garbage", [{"hex": "ffffffffff"}, {"hex": "0801" + "00" * 40}])
def test_row_4_garbage_ends_the_line_and_sends_no_order(world: World, garbage: dict[str, str]) -> None:
    ready(world)
    world.simulator.faults({"fault": "replace", "on": "TraderRes", **EACH, **garbage})
    result = world.tick(1)
    assert result.code == 69
    assert world.received("NewOrderReq") == []
    world.simulator.faults({"fault": "replace", "on": "TraderRes", **garbage})
    assert world.tick(1).code == 0, "one bad frame costs a connection, no more"
    entered_once(world)


def test_row_4_an_oversized_frame_ends_the_line_and_sends_no_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(world)
    monkeypatch.setattr(Line, "write", lambda line, _: line.transport.write(b"\x7f\xff\xff\xff" + b"\0" * 100))
    assert world.tick(1).code == 69
    assert world.received("NewOrderReq") == []


def test_row_5_a_line_that_drops_before_the_order_is_made_anew_for_the_same_id(world: World) -> None:
    ready(world)
    world.simulator.faults({"fault": "cut", "on": "NewOrderReq", "at": "before"})
    assert world.tick(1).code in (0, 1)
    world.simulator.faults()
    assert world.tick(1).code == 0
    assert set(world.received("NewOrderReq")) == {ENTRY}
    assert len(world.deals()) <= 1
    world.agree()


def test_row_6_an_order_whose_line_drops_after_the_write_is_asked_about_and_not_sent_again(world: World) -> None:
    ready(world)
    world.simulator.faults({"fault": "cut", "on": "NewOrderReq", "at": "after"})
    result = world.tick(1)
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert world.received("NewOrderReq") == [ENTRY]
    entered_once(world)


def test_row_6_with_nobody_to_ask_the_outcome_is_unknown_and_the_next_run_finds_it(world: World) -> None:
    ready(world)
    world.hasten()
    world.simulator.faults(
        {"fault": "cut", "on": "NewOrderReq", "at": "after"},
        {"fault": "drop", "on": "OrderListReq", **EACH},
        {"fault": "drop", "on": "DealListReq", **EACH},
    )
    result = world.tick(1)
    assert result.code == 1
    assert world.came_to(result)[1] == "UNKNOWN"
    world.simulator.faults()
    assert world.tick(1).code == 0
    assert world.received("NewOrderReq") == [ENTRY]
    entered_once(world)


def test_row_7_a_half_open_line_is_given_up_and_the_fill_is_found(world: World) -> None:
    ready(world)
    world.hasten(silence_s=1.5)
    world.simulator.faults({"fault": "freeze", "on": "NewOrderReq"})
    began = time.monotonic()
    assert world.tick(1).code == 0
    assert time.monotonic() - began < 30, "the silence is 35 s as a rule"
    assert world.received("NewOrderReq") == [ENTRY]
    entered_once(world)


def test_row_8_a_late_reply_answers_no_other_request(world: World) -> None:
    ready(world)
    world.hasten(answer_s=0.5)
    late = {"fault": "delay", "seconds": 1.0}
    world.simulator.faults(
        {"on": "ReconcileRes", **late}, {"on": "GetTrendbarsRes", **late}, {"on": "TraderRes", "nth": 2, **late}
    )
    world.tick(1)
    world.simulator.faults()
    assert world.tick(1).code == 0
    assert len(world.deals()) <= 1
    world.agree()


def test_row_9_twenty_orders_leave_in_one_burst_within_the_rate(world: World) -> None:
    names = (["EUR", "GBP", "AUD", "NZD"], ["USD", "CAD", "CHF", "SGD", "NOK", "SEK"])
    symbols = [a + b for b in names[1] for a in names[0]][:20]
    pairs = ["USDCAD", "USDCHF", "USDSGD", "USDNOK", "USDSEK"]
    for symbol in symbols:
        world.lab.add(symbol, "M15", "W L1 W")
    for pair in pairs:
        world.lab.put(f"{pair}_M15", world.lab.bars["EURUSD_M15"])
    world.start(symbols, config="[risk]\nmax_open_positions = 40\n", balance=100_000.0)
    world.play(0)
    assert world.tick(1).code == 0
    state = world.simulator.state()
    sent = [one["monotonic_ns"] for one in state["received"] if one["type"] == "NewOrderReq"]
    assert len(sent) == len(world.positions()) == 20
    assert max(map(sent.count, sent)) >= 15, "one write; the rate may put a few off by the rest of a second"
    assert (max(sent) - min(sent)) / 1e9 < 10
    assert state["requests"]["max_per_second"] <= 50
    assert state["requests"]["max_historical_per_second"] <= 5
    world.agree()


@pytest.mark.parametrize("code", ["REQUEST_FREQUENCY_EXCEEDED", "BLOCKED_PAYLOAD_TYPE"])
def test_row_10_a_throttled_run_waits_and_makes_no_storm(world: World, code: str) -> None:
    ready(world)
    before = world.simulator.state()["requests"]["total"]
    throttle = {"fault": "throttle", "on": "*", "direction": "in", "nth": 4, "seconds": 1.0, "code": code}
    world.simulator.faults(throttle)
    assert world.tick(1).code == 0
    assert world.simulator.state()["requests"]["total"] - before < 60
    entered_once(world)
