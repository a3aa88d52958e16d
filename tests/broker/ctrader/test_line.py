"""The connection itself against small servers: certificates, deadlines, frames."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oracle_batch.broker.ctrader.line import (
    Line,
    LineError,
    NotVerified,
    Pace,
    end_reactor,
    new_reactor,
    open_line,
    trust_of,
)
from oracle_batch.errors import ConfigError
from oracle_batch.openapi.frames import frame
from oracle_batch.openapi.messages import Envelope, api, common, wrap

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DAY = datetime.timedelta(days=1)


def certificate(folder: Path, *, host: str = "localhost", age_days: int = 0, name: str = "server") -> Path:
    """A self-signed certificate with its key, PEM; it ends two days after its beginning."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    begin = datetime.datetime.now(datetime.UTC) - DAY - age_days * DAY
    alternative: x509.GeneralName = x509.DNSName(host)
    if host[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(host))
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + 2 * DAY)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def server(pem: Path, talk: Talk) -> AsyncIterator[int]:
    """A TLS server on loopback that talks as it is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
        await running.wait_closed()


class Ear:
    """What a line tells."""

    def __init__(self) -> None:
        self.heard: list[Envelope] = []
        self.lost: list[str] = []


@asynccontextmanager
async def line_to(port: int, cafile: Path, ear: Ear, pace: Pace, host: str = "localhost") -> AsyncIterator[Line]:
    reactor = new_reactor()
    line = None
    try:
        line = await open_line(reactor, host, port, trust_of(cafile), pace, ear.heard.append, ear.lost.append)
        yield line
    finally:
        if line is not None:
            await line.close()
        end_reactor(reactor)


def run(scenario: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await scenario
        await asyncio.sleep(0)

    asyncio.run(whole())


PACE = Pace(connect_s=20.0, heartbeat_s=0.1, silence_s=20.0)


@pytest.mark.parametrize("fault", ["self-signed", "expired", "another host"])
def test_not_one_application_byte_leaves_before_the_certificate_is_verified(tmp_path: Path, fault: str) -> None:
    got = bytearray()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        got.extend(await reader.read(100))

    async def scenario() -> None:
        good = certificate(tmp_path, name="trusted")
        if fault == "self-signed":
            pem, cafile = certificate(tmp_path), good
        elif fault == "expired":
            pem = cafile = certificate(tmp_path, age_days=5)
        else:
            pem = cafile = certificate(tmp_path, host="other.example")
        async with server(pem, talk) as port:
            ear = Ear()
            with pytest.raises(NotVerified) as refusal:
                async with line_to(port, cafile, ear, PACE):
                    pytest.fail("the line is open")
            assert "certificate" in refusal.value.message
            assert (ear.heard, ear.lost) == ([], [])
            await asyncio.sleep(0.1)
        assert not got

    run(scenario())


def test_a_name_and_an_address_are_both_verified(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def scenario() -> None:
        for host in ("localhost", "127.0.0.1"):
            pem = certificate(tmp_path, host=host)
            async with server(pem, talk) as port, line_to(port, pem, Ear(), PACE, host) as line:
                assert line.alive

    run(scenario())


def test_a_closed_port_is_told_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(LineError, match="refused"):
            async with line_to(9, certificate(tmp_path), Ear(), PACE):
                pytest.fail("the line is open")

    run(scenario())


def test_a_listener_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        mute = socket.create_server(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        with pytest.raises(LineError, match=r"did not answer within 0\.3 s"):
            async with line_to(port, certificate(tmp_path), Ear(), Pace(connect_s=0.3)):
                pytest.fail("the line is open")
        mute.close()

    run(scenario())


def test_frames_come_out_the_same_one_byte_at_a_time(tmp_path: Path) -> None:
    messages = [api.ProtoOAVersionRes(version=str(number)) for number in range(5)]
    stream = b"".join(frame(wrap(one, "id")) for one in messages)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for place in range(len(stream)):
            writer.write(stream[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(stream)
        await writer.drain()
        await reader.read()

    async def scenario() -> None:
        ear, pem = Ear(), certificate(tmp_path)
        async with server(pem, talk) as port, line_to(port, pem, ear, PACE):
            while len(ear.heard) < 10:
                await asyncio.sleep(0.01)
        assert [one.message for one in ear.heard] == messages * 2

    run(scenario())


@pytest.mark.parametrize(
    "junk", [(20_000_000).to_bytes(4, "big") + b"x", frame(b"\xff" * 20), frame(b"")], ids=["long", "garbage", "empty"]
)
def test_garbage_ends_the_line(tmp_path: Path, junk: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(junk + frame(wrap(api.ProtoOAVersionRes(version="1"), "id")))
        await writer.drain()
        await reader.read()

    async def scenario() -> None:
        ear, pem = Ear(), certificate(tmp_path)
        async with server(pem, talk) as port, line_to(port, pem, ear, PACE) as line:
            while line.alive:
                await asyncio.sleep(0.01)
            with pytest.raises(LineError, match="garbage"):
                line.write([wrap(api.ProtoOAVersionReq())])
        assert ear.heard == []
        assert [why.partition(":")[0] for why in ear.lost] == ["garbage"]

    run(scenario())


def test_heartbeats_go_out_and_silence_ends_the_line(tmp_path: Path) -> None:
    got = bytearray()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            got.extend(data)

    async def scenario() -> None:
        ear, pem = Ear(), certificate(tmp_path)
        async with server(pem, talk) as port:
            async with line_to(port, pem, ear, Pace(connect_s=20, heartbeat_s=0.1, silence_s=1.6)) as line:
                while line.alive:
                    await asyncio.sleep(0.01)
            assert [why.partition(" for ")[0] for why in ear.lost] == ["silent"]
        beat = frame(wrap(common.ProtoHeartbeatEvent()))
        assert got.count(beat) >= 4
        assert got.replace(beat, b"") == b""

    run(scenario())


@pytest.mark.parametrize("text", [None, "", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"])
def test_an_authority_file_that_is_none_is_named(tmp_path: Path, text: str | None) -> None:
    cafile = tmp_path / "ca.pem"
    if text is not None:
        cafile.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        trust_of(cafile)
    assert (refusal.value.file, refusal.value.field) == (str(cafile), "broker.ctrader.cafile")
