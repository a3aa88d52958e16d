"""The session by itself, without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oracle_batch.broker.ctrader.session import Door, Session
from oracle_batch.openapi.messages import api


def test_a_cancellation_that_meets_the_answer_is_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise who is told to end goes on, and who waits for that waits for ever."""

    async def life() -> None:
        access: Any = None
        session = Session(Door("localhost", 1, Path("none.pem")), access)
        monkeypatch.setattr(session, "post", lambda *_, **__: SimpleNamespace(heard_at=0.0))
        asking = asyncio.ensure_future(session.ask(api.ProtoOAVersionReq()))
        while not session._pending:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        (answer,) = session._pending.values()
        answer.set_result(SimpleNamespace(message=api.ProtoOAVersionRes(version="1")))  # type: ignore[arg-type]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(asyncio.wait_for(life(), 10))
