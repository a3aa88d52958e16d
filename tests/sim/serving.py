"""A server in this process, on this loop, and a plain client for it: asyncio streams, frames and messages, no more."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from oracle_batch.openapi.frames import FrameReader, frame
from oracle_batch.openapi.messages import Envelope, api, common, unwrap, wrap
from oracle_batch.sim.server import HOST, Server
from oracle_batch.sim.tls import ServerTls
from oracle_batch.sim.tokens import Tokens

CLIENT_ID, CLIENT_SECRET = "an-application", "its-secret"
PATIENCE_S = 60.0


@cache
def certificate() -> bytes:
    """A key and a certificate for loopback that vouches for itself, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + signed.public_bytes(serialization.Encoding.PEM)


@cache
def both_tls() -> tuple[ServerTls, ssl.SSLContext]:
    """The server's and the client's end of TLS."""
    with TemporaryDirectory() as folder:
        pem = Path(folder, "both.pem")
        pem.write_bytes(certificate())
        return ServerTls(pem, pem), ssl.create_default_context(cafile=str(pem))


class Refusal(AssertionError):
    """The server said no where the test wanted a yes."""


class Client:
    """One connection. ``pushes`` are the messages that answered nothing, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pushes: list[Any] = []
        self.closed = False
        self.beats = 0
        self._reader, self._writer = reader, writer
        self._frames = FrameReader()
        self._ids = count(1)
        self._answers: dict[str, list[Any]] = {}
        self._news = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    def send(self, message: Any) -> str:
        """Send a message and return its id."""
        number = str(next(self._ids))
        self.write(frame(wrap(message, number)))
        return number

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def answers(self, number: str, amount: int = 1) -> list[Any]:
        """The messages that carry an id, once there are so many."""
        await self.until(lambda: len(self._answers.get(number, [])) >= amount)
        return self._answers.pop(number)

    async def ask(self, message: Any, amount: int = 1) -> Any:
        """Send a message and return its answer (the last of so many), whatever it is."""
        return (await self.answers(self.send(message), amount))[-1]

    async def get(self, message: Any) -> Any:
        """As ``ask``, but a refusal fails the test."""
        answer = await self.ask(message)
        if hasattr(answer, "errorCode") and answer.errorCode:
            raise Refusal(f"{answer.errorCode}: {getattr(answer, 'description', '')}")
        return answer

    async def code(self, message: Any) -> str:
        """The error code of an answer, with its kind."""
        answer = await self.ask(message)
        return f"{type(answer).__name__} {answer.errorCode}"

    async def pushed(self, kind: type[Any], amount: int = 1) -> list[Any]:
        """The pushes of a kind, once there are so many."""
        await self.until(lambda: len(self.seen(kind)) >= amount)
        return self.seen(kind)

    def seen(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.pushes if isinstance(message, kind)]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                assert not self.closed, "the server closed the connection"
                self._news.clear()
                await self._news.wait()

    async def gone(self) -> None:
        """Wait until the server has closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            await self._listener

    async def authorise(self, server: Server, *accounts: int) -> None:
        """Show the application's and the accounts' credentials."""
        await self.get(api.ProtoOAApplicationAuthReq(clientId=CLIENT_ID, clientSecret=CLIENT_SECRET))
        for account in accounts or server.exchange.account_ids:
            token = server.tokens.current.access_token
            await self.get(api.ProtoOAAccountAuthReq(ctidTraderAccountId=account, accessToken=token))

    async def close(self) -> None:
        self._writer.close()
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while data := await self._reader.read(65536):
                for whole in self._frames.feed(data):
                    self._take(unwrap(whole))
                self._news.set()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            self.closed = True
            self._news.set()

    def _take(self, envelope: Envelope) -> None:
        if envelope.client_msg_id:
            self._answers.setdefault(envelope.client_msg_id, []).append(envelope.message)
        elif isinstance(envelope.message, common.ProtoHeartbeatEvent):
            self.beats += 1
        else:
            self.pushes.append(envelope.message)


class Serving:
    """A server that runs, and connections to it."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        """A client that has shown nothing yet."""
        reader, writer = await asyncio.open_connection(HOST, self.port, ssl=both_tls()[1], server_hostname=HOST)
        self._clients.append(Client(reader, writer))
        return self._clients[-1]

    async def client(self, *accounts: int) -> Client:
        """A client that is authorised for these accounts, or all."""
        client = await self.connect()
        await client.authorise(self.server, *accounts)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def serving(exchange: Any, *, may_trade: bool = True, **options: Any) -> AsyncIterator[Serving]:
    """Serve an exchange on this loop while the block runs."""
    reactor: Any = AsyncioSelectorReactor(asyncio.get_running_loop())
    tokens = Tokens(exchange.account_ids, may_trade=may_trade)
    server = Server(exchange, reactor, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, tokens=tokens, **options)
    running = Serving(server, server.listen(both_tls()[0]))
    try:
        yield running
    finally:
        await running.close()
        await server.close().asFuture(asyncio.get_running_loop())
        await eventually(lambda: not server.lines)
        reactor.removeAll()
        reactor.removeReader(reactor.waker)
        reactor.waker.connectionLost(Failure(ConnectionDone()))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario on a loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(whole())


async def eventually(done: Callable[[], bool]) -> None:
    """Wait until something has become true that no message tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.001)
