"""What the line and the broker can do wrong, and what must then be true (deals are counted, not messages)."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.base import AmendIntent
from oracle_batch.broker.ctrader import session
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.errors import BrokerError
from tests.broker.ctrader.lab import LOT, entry, exit_of, lab, open_gate, opened, run
from tests.market.build import T0
from tests.sim.serving import eventually

FILLED = {"executionType": "ORDER_FILLED"}
ACCEPTED = {"executionType": "ORDER_ACCEPTED"}


def test_a_line_that_dropped_before_the_write_is_made_anew_and_the_same_id_leaves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            for line in list(found.server.lines):
                line.drop("cut by the test")
            await eventually(lambda: not found.broker._session.alive)
            await opened(found)
            assert found.orders(entry().intent_id) == 1
            assert len(found.deals()) == 1

    run(scenario())


@pytest.mark.parametrize("at", ["after", "before"])
def test_an_order_whose_line_drops_after_the_write_is_asked_about_and_never_sent_again(tmp_path: Path, at: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "cut", "on": "NewOrderReq", "at": at})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert found.orders(entry().intent_id) == 1
            deals = found.deals()
            if at == "after":
                assert (ack.status, len(deals)) == ("OK", 1)
                assert ack.deals[0].deal_id == deals[0].deal_id
                assert ack.deals[0].client_order_id == entry().intent_id
            else:
                assert (ack.status, ack.reason, len(deals)) == ("UNKNOWN", "NO_ANSWER", 0)

    run(scenario())


@pytest.mark.parametrize("at", ["after", "before"])
def test_a_close_whose_line_drops_is_finished(tmp_path: Path, at: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.faults({"fault": "cut", "on": "ClosePositionReq", "at": at})
            legs = [exit_of(ack.position_id or 0), entry(2, direction=-1, after_close=ack.position_id)]
            closed, reversed_ = await found.broker.execute(legs, open_gate)
            assert (closed.status, reversed_.status) == ("OK", "OK")
            assert len(closed.deals) == 1
            assert len(found.deals()) == 3
            [position] = await found.broker.positions()
            assert position.direction == -1

    run(scenario())


def test_a_frozen_line_is_given_up_and_the_fill_is_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "freeze", "on": "NewOrderReq", "at": "after"})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert ack.status == "OK"
            assert len(found.deals()) == 1

    run(scenario())


def test_silence_ends_an_idle_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, pace=Pace(heartbeat_s=0.3, silence_s=1.5)) as found:
            found.faults({"fault": "freeze", "on": "TraderReq", "at": "before"})
            with pytest.raises(BrokerError):
                await asyncio.wait_for(found.broker._session.ask(_version()), 30)
            assert not found.broker._session.alive

    run(scenario())


def _version() -> Any:
    from oracle_batch.openapi.messages import api

    return api.ProtoOATraderReq(ctidTraderAccountId=1)


def test_a_server_that_is_gone_is_tried_a_bounded_number_of_times_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    real = session.open_line

    async def counted(*arguments: Any) -> Any:
        tries.append(1)
        return await real(*arguments)

    monkeypatch.setattr(session, "open_line", counted)

    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            broker = found.make(port=9)
            began = time.monotonic()
            with pytest.raises(BrokerError, match="refused") as refusal:
                await broker.connect()
            assert refusal.value.exit_code == 69
            assert time.monotonic() - began > 0.5
            assert len(tries) == session.CONNECT_TRIES
            with pytest.raises(BrokerError, match="refused"):
                await broker._session.restore()
            assert len(tries) == session.CONNECT_TRIES
            await broker.close()

    run(scenario())


def test_a_question_that_nobody_waits_for_any_more_makes_no_connection_when_the_session_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "drop", "on": "TraderReq"})
            asking = asyncio.ensure_future(found.broker._session.request(_version()))
            await eventually(lambda: found.requests("TraderReq") == 1)
            made = found.server._next_number
            await found.broker.close()
            with pytest.raises(BrokerError, match="closed"):
                await asking
            assert made == found.server._next_number

    run(scenario())


def test_a_session_that_ends_while_it_connects_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with lab(tmp_path, connect=False) as found:
                broker = found.make(port=mute.getsockname()[1])
                connecting = asyncio.ensure_future(broker.connect())
                await eventually(lambda: broker._session._opening is not None)
                await asyncio.sleep(0.05)
                began = time.monotonic()
                await broker.close()
                assert time.monotonic() - began < 5, "the connection may take ten seconds"
                with pytest.raises(asyncio.CancelledError):
                    await connecting
        gc.collect()  # a socket that is left open would be told of

    run(scenario())


def test_a_late_answer_reaches_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "delay", "on": "AssetListReq", "seconds": 1.2})
            ask = found.broker._session.ask
            from oracle_batch.openapi.messages import api

            account = found.account
            with pytest.raises(BrokerError, match=r"no answer|fell silent"):
                await ask(api.ProtoOAAssetListReq(ctidTraderAccountId=account))
            answers = [
                type(await found.broker._session.request(api.ProtoOATraderReq(ctidTraderAccountId=account)))
                for _ in range(20)
            ]
            await asyncio.sleep(0.4)
            answers.append(type(await found.broker._session.request(api.ProtoOATraderReq(ctidTraderAccountId=account))))
            assert set(answers) == {api.ProtoOATraderRes}

    run(scenario())


def test_too_many_requests_are_waited_for_without_a_storm(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "throttle", "on": "NewOrderReq", "seconds": 0.5})
            began = time.monotonic()
            await opened(found)
            assert time.monotonic() - began > 0.9
            assert found.orders(entry().intent_id) <= 3
            assert len(found.deals()) == 1

    run(scenario())


def test_accepted_then_silence_is_no_success_until_the_broker_is_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "drop", "on": "ExecutionEvent", "where": FILLED, "times": 0})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert (ack.status, len(ack.deals)) == ("OK", 1)
            assert found.requests("OrderListReq") >= 1

    run(scenario())


def test_no_answer_and_nobody_to_ask_is_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults(
                {"fault": "drop", "on": "ExecutionEvent", "times": 0},
                {"fault": "drop", "on": "OrderListReq", "times": 0},
            )
            [ack] = await found.broker.execute([entry()], open_gate)
            assert (ack.status, ack.reason) == ("UNKNOWN", "NO_ANSWER")
            assert found.orders(entry().intent_id) == 1

    run(scenario())


def test_a_lost_order_is_unknown_and_not_sent_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "drop", "on": "NewOrderReq"})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert (ack.status, ack.reason) == ("UNKNOWN", "NO_ANSWER")
            assert found.orders(entry().intent_id) == 1

    run(scenario())


def test_repeated_and_reordered_events_count_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults(
                {"fault": "duplicate", "on": "ExecutionEvent", "copies": 3, "times": 0, "where": FILLED},
                {"fault": "reorder", "on": "ExecutionEvent", "where": ACCEPTED, "times": 0, "behind": 1},
            )
            [first] = await opened(found, entry(stop_relative=500))
            legs = [exit_of(first.position_id or 0), entry(2, direction=-1, after_close=first.position_id)]
            acks = await found.broker.execute(legs, open_gate)
            assert [(ack.status, len(ack.deals)) for ack in acks] == [("OK", 1), ("OK", 1)]
            assert len(found.deals()) == 3

    run(scenario())


def test_the_filled_part_of_a_cancelled_order_is_booked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "partial_fill", "fraction": 0.5})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert ack.status == "OK"
            [position] = await found.broker.positions()
            assert sum(deal.volume_cents for deal in ack.deals) == position.volume_cents == LOT // 20

    run(scenario())


def test_a_close_that_is_filled_in_part_holds_the_reversal_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.faults({"fault": "partial_fill", "fraction": 0.5})
            legs = [exit_of(ack.position_id or 0), entry(2, direction=-1, after_close=ack.position_id)]
            closed, reversed_ = await found.broker.execute(legs, open_gate)
            assert (closed.status, closed.reason) == ("FAIL", "PARTIALLY_CLOSED")
            assert sum(deal.volume_cents for deal in closed.deals) == LOT // 20
            assert (reversed_.status, reversed_.reason) == ("FAIL", "CLOSE_NOT_CONFIRMED")

    run(scenario())


@pytest.mark.parametrize("shape", ["error", "order_error", "execution"])
@pytest.mark.parametrize("code", ["NOT_ENOUGH_MONEY", "MARKET_CLOSED", "SOMETHING_NEW"])
def test_a_no_is_the_same_in_each_of_its_shapes_and_the_others_trade(tmp_path: Path, shape: str, code: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "refuse", "on": "NewOrderReq", "code": code, "shape": shape})
            refused, filled = await found.broker.execute([entry(1), entry(2, "GBPUSD")], open_gate)
            assert (refused.status, refused.reason) == ("FAIL", code)
            assert filled.status == "OK"
            assert found.orders(entry().intent_id) == 1

    run(scenario())


@pytest.mark.parametrize("code", ["POSITION_NOT_FOUND", "POSITION_NOT_OPEN"])
@pytest.mark.parametrize("shape", ["error", "order_error", "execution"])
def test_a_position_that_is_gone_is_a_close_that_is_done(tmp_path: Path, shape: str, code: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.faults({"fault": "refuse", "on": "ClosePositionReq", "code": code, "shape": shape})
            [closed] = await found.broker.execute([exit_of(ack.position_id or 0)], open_gate)
            assert (closed.status, closed.reason) == ("OK", "ALREADY_CLOSED")

    run(scenario())


def test_a_locked_position_is_tried_again_a_bounded_number_of_times(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            position = ack.position_id or 0
            found.faults({"fault": "lock_position", "account": found.account, "position": position, "times": 2})
            [closed] = await found.broker.execute([exit_of(position)], open_gate)
            assert closed.status == "OK"
            assert found.requests("ClosePositionReq") == 3
            [ack] = await opened(found, entry(2))
            position = ack.position_id or 0
            found.faults({"fault": "lock_position", "account": found.account, "position": position})
            found.server.received.clear()
            [closed] = await found.broker.execute([exit_of(position)], open_gate)
            assert (closed.status, closed.reason) == ("FAIL", "POSITION_LOCKED")
            assert found.requests("ClosePositionReq") == 4

    run(scenario())


def test_an_expired_token_is_renewed_once_and_the_order_leaves_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "expire_tokens", "on": "NewOrderReq", "at": "before"})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert ack.status in ("OK", "UNKNOWN")
            assert len(found.deals()) == (1 if ack.status == "OK" else 0)
            assert found.requests("RefreshTokenReq") == 1
            assert found.workspace.tokens.stat().st_mode & 0o777 == 0o600

    run(scenario())


def test_a_token_that_dies_with_orders_out_is_renewed_and_they_are_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults(
                {"fault": "drop", "on": "ExecutionEvent", "times": 0},
                {"fault": "expire_tokens", "on": "NewOrderReq", "at": "after"},
            )
            [ack] = await found.broker.execute([entry()], open_gate)
            assert ack.status == "OK"
            assert found.orders(entry().intent_id) == 1
            assert found.requests("RefreshTokenReq") == 1

    run(scenario())


@pytest.mark.parametrize("what", ["account", "client"])
def test_a_session_that_the_server_ends_is_made_anew(tmp_path: Path, what: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "disconnect", "on": "TraderReq", "what": what})
            await found.broker.account()
            await opened(found)

    run(scenario())


def test_garbage_ends_the_line_and_no_order_is_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "replace", "on": "ExecutionEvent", "hex": "ffffffff"})
            [ack] = await found.broker.execute([entry()], open_gate)
            assert ack.status == "OK"
            assert found.orders(entry().intent_id) == 1
            assert len(found.deals()) == 1

    run(scenario())


def test_a_clock_that_is_off_refuses_entries_and_closes_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.clock.off_s = -4.0
            await found.broker.quotes(["EURUSD"])
            found.server.advance(found.exchange.now + 300)
            await found.broker.confirm()
            legs = [exit_of(ack.position_id or 0), entry(2, "GBPUSD")]
            closed, refused = await found.broker.execute(legs, open_gate)
            assert closed.status == "OK"
            assert (refused.status, refused.reason) == ("SKIP", "CLOCK_SKEW")

    run(scenario())


def test_an_amendment_that_gets_no_answer_is_looked_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.faults({"fault": "drop", "on": "ExecutionEvent", "times": 0})
            amend = AmendIntent("a", "EURUSD_M15", ack.position_id or 0, "EURUSD", 1.09, 1.12, float(T0))
            [done] = await found.broker.execute([amend], open_gate)
            assert (done.status, done.reason) == ("OK", None)

    run(scenario())
