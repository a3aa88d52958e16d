"""FAILURE_MODES, broker: rows 11 to 18 and 22 to 24, one model on one hedged account."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from oracle_batch.sim.values import DealView
from tests.sim.acceptance.world import World

ENTRY = "ob-EURUSD_M15-1704672900-1"
EACH = {"times": 0}
FILLED = {"where": {"executionType": "ORDER_FILLED"}}


def ready(world: World, script: str = "W L1 W W", **entry: Any) -> None:
    """One model whose next tick, of bar 1, enters."""
    world.lab.add("EURUSD", "M15", script, **entry)
    world.start()
    world.play(0)


def entered_once(world: World, volume: int = 100_000) -> None:
    assert world.deals() == [(ENTRY, False)]
    assert world.positions() == [("oracle:EURUSD_M15", "BUY", volume)]
    world.agree()


@pytest.mark.parametrize(
    ("request_", "code", "named"),
    [
        ("ApplicationAuthReq", "CH_CLIENT_AUTH_FAILURE", "application"),
        ("AccountAuthReq", "CH_ACCESS_TOKEN_INVALID", "account"),
        ("AccountAuthReq", "RET_ACCOUNT_DISABLED", "account"),
    ],
)
def test_row_11_a_refused_authorisation_stops_and_says_which(
    world: World, request_: str, code: str, named: str
) -> None:
    ready(world)
    world.simulator.faults({"fault": "refuse", "on": request_, "code": code, **EACH})
    result = world.tick(1)
    assert result.code == 78
    assert named in result.err
    assert code in result.err
    assert world.received("NewOrderReq") == []


def test_row_12_accepted_and_then_silence_is_asked_about(world: World) -> None:
    ready(world)
    world.hasten()
    world.simulator.faults({"fault": "drop", "on": "ExecutionEvent", **FILLED, **EACH})
    result = world.tick(1)
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert world.received("NewOrderReq") == [ENTRY]
    entered_once(world)


def test_row_12_accepted_and_never_an_answer_is_no_success(world: World) -> None:
    ready(world)
    world.hasten()
    silent = [{"fault": "drop", "on": name, **EACH} for name in ("OrderListRes", "DealListRes")]
    world.simulator.faults({"fault": "drop", "on": "ExecutionEvent", **FILLED, **EACH}, *silent)
    result = world.tick(1)
    assert (result.code, world.came_to(result)[1]) == (1, "UNKNOWN")
    world.simulator.faults()
    assert world.tick(1).code == 0
    entered_once(world)


def test_row_13_repeated_and_reordered_events_count_once(world: World) -> None:
    ready(world, "W L1 S1 W")
    world.simulator.faults(
        {"fault": "reorder", "on": "ExecutionEvent", "where": {"executionType": "ORDER_ACCEPTED"}, **EACH},
        {"fault": "duplicate", "on": "ExecutionEvent", "copies": 3, **EACH},
    )
    world.play(1, 2, 3)
    assert len(world.deals()) == 4
    assert world.positions() == []
    world.agree()


def test_row_14_the_filled_part_of_a_cancelled_order_is_booked(world: World) -> None:
    ready(world, "W L3 L3 W")
    world.simulator.faults({"fault": "partial_fill", "fraction": 0.5})
    world.tick(1)
    assert world.positions() == [("oracle:EURUSD_M15", "BUY", 200_000)]
    world.agree()
    assert world.tick(2).code == 0
    assert world.tick(3).code == 0
    assert world.positions() == []
    world.agree()


def test_row_15_a_rejection_is_the_same_in_each_of_its_shapes(world: World) -> None:
    ready(world, "W L1 W L1 W L1 W")
    seen = []
    for bar, shape in ((1, "error"), (3, "order_error"), (5, "execution")):
        refusal = {"fault": "refuse", "on": "NewOrderReq", "code": "NOT_ENOUGH_MONEY", "shape": shape}
        world.simulator.faults(refusal)
        result = world.tick(bar)
        seen.append((result.code, world.came_to(result)))
        assert world.tick(bar + 1).code == 0
    assert seen == [seen[0]] * 3
    assert seen[0][1] == ("OPEN", "FAIL", "NOT_ENOUGH_MONEY")
    assert world.deals() == []


def test_row_16_no_reply_at_all_to_an_order_that_arrived(world: World) -> None:
    ready(world)
    world.hasten()
    world.simulator.faults({"fault": "drop", "on": "ExecutionEvent", **EACH})
    result = world.tick(1)
    assert (result.code, world.came_to(result)[1]) == (0, "OK")
    entered_once(world)


def test_row_16_an_order_that_never_arrived_is_not_sent_blindly(world: World) -> None:
    ready(world)
    world.hasten()
    world.simulator.faults({"fault": "drop", "on": "NewOrderReq"})
    result = world.tick(1)
    assert result.code == (1 if world.came_to(result)[1] == "UNKNOWN" else 0)
    world.simulator.faults()
    world.tick(1)
    assert set(world.received("NewOrderReq")) == {ENTRY}
    assert len(world.deals()) <= 1
    world.agree()


def test_row_18_a_fill_without_its_stop_is_amended_and_told(world: World) -> None:
    ready(world, sl_usd=10)
    world.simulator.faults({"fault": "no_protection"})
    assert world.tick(1).code in (0, 1)
    (position,) = world.simulator.state()["positions"]
    assert position["stop_loss"] is not None
    assert position["stop_loss"] < position["price"]
    assert len(world.received("AmendPositionSLTPReq")) == 1
    world.agree()


def test_row_18_where_the_stop_cannot_be_set_the_position_is_closed(world: World) -> None:
    ready(world, sl_usd=10)
    refusal = {"fault": "refuse", "on": "AmendPositionSLTPReq", "code": "TRADING_BAD_STOPS", "shape": "order_error"}
    world.simulator.faults({"fault": "no_protection"}, refusal | EACH)
    world.tick(1)
    assert world.positions() == []
    world.agree()


@pytest.mark.parametrize("mode", ["DISABLED_WITHOUT_PENDINGS_EXECUTION", "CLOSE_ONLY_MODE"])
def test_row_22_a_symbol_that_does_not_open_skips_the_entry(world: World, mode: str) -> None:
    ready(world)
    world.simulator.faults({"fault": "trading_mode", "symbol": "EURUSD", "mode": mode})
    result = world.tick(1)
    assert world.came_to(result)[1] in ("SKIP", "FAIL")
    assert world.deals() == []
    assert world.tick(2).code == 0
    world.agree()


def test_row_22_a_close_that_the_market_refuses_is_carried_out_by_the_next_run_that_can(world: World) -> None:
    world.hold()
    stopped = {"fault": "trading_mode", "symbol": "EURUSD", "mode": "DISABLED_WITHOUT_PENDINGS_EXECUTION"}
    world.simulator.faults(stopped)
    world.tick(2)
    assert len(world.positions()) == 1
    assert world.cli("guard").code in (0, 1)
    assert len(world.positions()) == 1
    world.simulator.faults(stopped | {"mode": "ENABLED"})
    assert world.cli("guard").code == 0
    assert world.positions() == []
    world.agree()


def test_row_23_a_locked_position_is_tried_again_a_bounded_number_of_times(world: World) -> None:
    world.hold()
    account = world.simulator.exchange.account_ids[0]
    lock = {"fault": "lock_position", "account": account, "position": world.position_id}
    world.simulator.faults(lock | {"times": 2})
    assert world.tick(2).code == 0
    assert world.positions() == []
    assert len(world.received("ClosePositionReq")) == 3
    world.agree()


def test_row_23_a_position_that_stays_locked_is_closed_by_a_later_run(world: World) -> None:
    world.hold()
    world.simulator.faults(
        {"fault": "refuse", "on": "ClosePositionReq", "code": "POSITION_LOCKED", "shape": "order_error", **EACH}
    )
    assert world.came_to(world.tick(2)) == ("CLOSE", "FAIL", "POSITION_LOCKED")
    assert len(world.received("ClosePositionReq")) < 10
    world.simulator.faults()
    assert world.tick(3).code == 0
    assert world.positions() == []
    world.agree()


def test_row_24_a_stop_that_fires_between_reconcile_and_close_leaves_it_flat(world: World) -> None:
    world.hold("W L1 S1 S1 W")
    position, exchange = world.position_id, world.simulator.exchange
    account = exchange.account_ids[0]
    world.simulator.faults({"fault": "delay", "on": "ClosePositionReq", "seconds": 1.5})
    ended: list[DealView] = []

    def fire() -> None:
        """The market closes the position while our request is on its way."""
        while not world.received("ClosePositionReq"):
            time.sleep(0.01)
        world.simulator.call(lambda: world.simulator.server.publish(exchange.close(account, position, 100_000)))
        ended.extend(one for one in exchange.deals(account, 0, exchange.now) if one.closing)

    other = threading.Thread(target=fire)
    other.start()
    result = world.tick(2)
    other.join()
    assert [one.position_id for one in ended] == [position]
    assert result.code == 0
    assert [side for _, side, _ in world.positions()] in ([], ["SELL"])
    assert world.tick(3).code == 0
    world.agree()
