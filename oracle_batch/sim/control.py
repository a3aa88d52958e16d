"""The control port: one JSON object a line, one answered (DESIGN §10). On loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final, Literal

import msgspec

from oracle_batch.errors import OracleBatchError
from oracle_batch.sim.faults import parse_script
from oracle_batch.sim.server import HOST, Server
from oracle_batch.sim.state import state_of
from oracle_batch.store.documents import split_path

LINE_BYTES: Final = 4_000_000
CONNECTIONS: Final = 64
LONGEST_STEP_S: Final = 10 * 366 * 86400.0
"""Nobody plays more in one go; whoever asks for it means something else than Unix seconds."""
_TURNS: Final = 3
"""Turns of the loop after which what was written has been handed to the system."""


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="cmd", tag=str.lower):
    """One line."""


class Advance(_Command, frozen=True):
    """Play the market to an instant; a past one changes nothing."""

    to: float


class Clock(_Command, frozen=True):
    """Tell the instant now and after every advance."""


class State(_Command, frozen=True):
    """What the market and the accounts are like; ``account``: of one of them."""

    account: int | None = None


class Faults(_Command, frozen=True):
    """Put another fault script in place."""

    script: list[Any]


class Stop(_Command, frozen=True):
    """End the simulator."""


_DECODER: Final = msgspec.json.Decoder(Advance | Clock | State | Faults | Stop)
Commands = Literal["advance", "clock", "state", "faults", "stop"]


class Control:
    """The control port of one server. ``stop`` is called when somebody asks for the end."""

    def __init__(self, server: Server, stop: Callable[[], None]) -> None:
        self._server = server
        self._stop = stop
        self._listening: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._watching: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int = 0) -> int:
        """Serve on loopback and return the port."""
        self._listening = await asyncio.start_server(self._talk, HOST, port, limit=LINE_BYTES)
        number: int = self._listening.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Stop serving and drop every connection."""
        if self._listening is not None:
            self._listening.close()
        for writer in list(self._writers):
            writer.close()

    async def advance(self, to: float) -> None:
        """Play the market to an instant; those who watch the clock are told once its events are out."""
        self._server.advance(to)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._server.told_ns = monotonic_ns()
        for writer in list(self._watching):
            _tell(writer, self._now())

    def _now(self) -> dict[str, float]:
        return {"now": self._server.exchange.now}

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CONNECTIONS:
            _tell(writer, {"error": f"there are {CONNECTIONS} connections already"})
            writer.close()
            return
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                if line.strip():
                    _tell(writer, await self._answer(line, writer))
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        except ValueError:
            _tell(writer, {"error": f"a line is longer than {LINE_BYTES} bytes"})
        finally:
            self._writers.discard(writer)
            self._watching.discard(writer)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> dict[str, Any]:
        try:
            return await self._carry_out(_DECODER.decode(line), writer)
        except msgspec.ValidationError as error:
            what, field = split_path(error)
            known = ", ".join(Commands.__args__)  # type: ignore[attr-defined]
            return {"error": f"{field}: {what}" if field else what, "commands": known}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return {"error": f"not one JSON object: {error}"}
        except OracleBatchError as error:
            return {"error": str(error)}

    async def _carry_out(self, command: object, writer: asyncio.StreamWriter) -> dict[str, Any]:
        match command:
            case Advance():
                if not math.isfinite(command.to):
                    return {"error": "to: is no instant"}
                if command.to - self._server.exchange.now > LONGEST_STEP_S:
                    return {"error": "to: is more than ten years ahead; it is in Unix seconds"}
                await self.advance(command.to)
            case Clock():
                self._watching.add(writer)
            case State():
                return self._state(command.account)
            case Faults():
                faults = parse_script(command.script, "script")
                self._server.interference.load(faults)
                return {"faults": len(faults)}
            case Stop():
                asyncio.get_running_loop().call_soon(self._stop)
        return self._now()

    def _state(self, account: int | None) -> dict[str, Any]:
        known = self._server.exchange.account_ids
        if account is not None and account not in known:
            return {"error": f"account: there is no {account}; known: {', '.join(map(str, known))}"}
        return state_of(self._server, known if account is None else (account,))


def _tell(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
