"""Connections: frames in any pieces, garbage, heartbeats, silence, stamps. No market is needed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle_batch.openapi.frames import frame
from oracle_batch.openapi.messages import api, common, wrap
from oracle_batch.sim.line import MAX_REQUEST_BYTES
from oracle_batch.sim.server import Pace
from tests.examples import examples
from tests.sim.serving import Client, eventually, run, serving

VERSION = api.ProtoOAVersionReq()


def market() -> Any:
    """As much of an exchange as a connection without requests for one needs."""
    return SimpleNamespace(account_ids=(1,), money_digits=2, watched=None, symbols={})


async def alive(client: Client) -> bool:
    return bool((await client.get(VERSION)).version)


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has ended the connection, in order or not."""
    async with asyncio.timeout(60):
        with suppress(ConnectionError):
            while await reader.read(4096):
                pass


def test_one_byte_at_a_time_is_read_as_well_as_glued_frames() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            for byte in frame(wrap(VERSION, "slow")):
                client.write(bytes([byte]))
                await asyncio.sleep(0)
            await client.answers("slow")
            client.write(b"".join(frame(wrap(VERSION, f"glued-{number}")) for number in range(20)))
            for number in range(20):
                await client.answers(f"glued-{number}")

    run(scenario)


@settings(max_examples=examples(20, 40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=200), max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_whatever_comes_the_server_goes_on(junk: list[bytes], cuts: list[int]) -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            data = b"".join(frame(wrap(VERSION, "x")) + piece for piece in junk) or frame(b"")
            start = 0
            for cut in cuts:
                client.write(data[start : start + cut])
                start += cut
                await asyncio.sleep(0)
            client.write(data[start:])
            assert await alive(await running.connect())

    run(scenario)


@settings(max_examples=examples(30, 60), deadline=None)
@given(st.integers(0, 2**31), st.binary(max_size=60), st.text(max_size=5))
def test_a_whole_envelope_around_nonsense_is_answered_or_ends_the_line(kind: int, payload: bytes, number: str) -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            envelope = common.ProtoMessage(payloadType=kind, payload=payload, clientMsgId=number or "x")
            client.write(frame(envelope.SerializeToString()))
            await alive(client)

    run(scenario)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (MAX_REQUEST_BYTES + 1).to_bytes(4, "big"),
        frame(b"\xff" * 40),
        frame(b"GET / HTTP/1.1"),
        frame(b""),
    ],
)
def test_what_is_no_message_ends_the_line_and_no_other(data: bytes) -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            other, client = await running.connect(), await running.connect()
            client.write(data)
            await client.gone()
            assert await alive(other)
            assert len(running.server.lines) == 1

    run(scenario)


def test_a_frame_that_is_too_long_is_named_before_the_line_ends() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            client.write((MAX_REQUEST_BYTES + 1).to_bytes(4, "big"))
            await client.gone()
            assert [refusal.errorCode for refusal in client.seen(common.ProtoErrorRes)] == ["FRAME_TOO_LONG"]

    run(scenario)


@pytest.mark.parametrize("payload_type", [1, 9999, common.ProtoErrorRes().payloadType])
def test_a_message_that_is_no_request_is_refused_and_nothing_else_happens(payload_type: int) -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            payload = common.ProtoErrorRes(errorCode="X").SerializeToString()
            envelope = common.ProtoMessage(payloadType=payload_type, payload=payload, clientMsgId="odd")
            client.write(frame(envelope.SerializeToString()))
            assert (await client.answers("odd"))[0].errorCode == "UNSUPPORTED_MESSAGE"
            assert await alive(client)

    run(scenario)


def test_a_missing_field_is_an_invalid_request() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            kind = api.ProtoOANewOrderReq().payloadType
            envelope = common.ProtoMessage(payloadType=kind, payload=b"", clientMsgId="bare")
            client.write(frame(envelope.SerializeToString()))
            assert (await client.answers("bare"))[0].errorCode == "INVALID_REQUEST"
            assert await alive(client)

    run(scenario)


def test_everything_of_one_read_has_one_stamp_and_is_handled_afterwards() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            orders = [
                api.ProtoOANewOrderReq(
                    ctidTraderAccountId=1,
                    symbolId=1,
                    orderType="MARKET",
                    tradeSide="BUY",
                    volume=1,
                    clientOrderId=f"id-{number}",
                )
                for number in range(20)
            ]
            before = time.monotonic_ns()
            client.write(b"".join(frame(wrap(order, order.clientOrderId)) for order in orders))
            for order in orders:
                answer = (await client.answers(order.clientOrderId))[0]
                assert answer.errorCode == "CH_CLIENT_NOT_AUTHENTICATED"
            log = [entry for entry in running.server.received if entry.type == "NewOrderReq"]
            assert [entry.client_order_id for entry in log] == [order.clientOrderId for order in orders]
            assert len({entry.monotonic_ns for entry in log}) == 1
            assert before < log[0].monotonic_ns < time.monotonic_ns()

    run(scenario)


def test_a_silent_line_gets_heartbeats_and_is_dropped() -> None:
    async def scenario() -> None:
        async with serving(market(), pace=Pace(heartbeat_s=0.2, silence_s=2.0)) as running:
            started = time.monotonic()
            silent, chatty = await running.connect(), await running.connect()
            beats = asyncio.create_task(_beat(chatty))
            await silent.gone()
            assert 2.0 <= time.monotonic() - started < 20
            assert silent.beats >= 2
            assert await alive(chatty)
            beats.cancel()

    run(scenario)


async def _beat(client: Client) -> None:
    while True:
        client.send(common.ProtoHeartbeatEvent())
        await asyncio.sleep(0.05)


def test_too_many_requests_are_refused_and_counted() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            numbers = [client.send(VERSION) for _ in range(60)]
            answers = [(await client.answers(number))[0] for number in numbers]
            refused = [answer.errorCode for answer in answers if isinstance(answer, api.ProtoOAErrorRes)]
            assert refused == ["REQUEST_FREQUENCY_EXCEEDED"] * 10
            assert running.server.traffic.rates.max_per_second == 60
            assert running.server.traffic.rates.total == 60
            assert await alive(await running.connect())

    run(scenario)


def test_heartbeats_are_no_requests() -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            client = await running.connect()
            for _ in range(100):
                client.send(common.ProtoHeartbeatEvent())
            assert await alive(client)
            assert running.server.traffic.rates.total == 1

    run(scenario)


def test_starting_and_stopping_is_quick() -> None:
    async def scenario() -> None:
        async def once() -> float:
            started = time.perf_counter()
            async with serving(market()):
                pass
            return time.perf_counter() - started

        assert min([await once() for _ in range(5)]) < 0.5

    run(scenario)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 100])
def test_a_client_that_speaks_no_tls_is_sent_away(data: bytes) -> None:
    async def scenario() -> None:
        async with serving(market()) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(data)
            await ended(reader)
            writer.close()
            assert await alive(await running.connect())

    run(scenario)


def test_a_client_that_never_shakes_hands_is_dropped_after_the_silence() -> None:
    async def scenario() -> None:
        async with serving(market(), pace=Pace(heartbeat_s=0.05, silence_s=0.2)) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            await ended(reader)
            writer.close()
            await eventually(lambda: not running.server.lines)

    run(scenario)
