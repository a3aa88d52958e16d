"""Bugs that the campaigns have to catch: a proof that cannot go red proves nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace as with_

from oracle_batch.broker.base import OpenIntent
from oracle_batch.desk import Desk
from tests.chaos import campaigns
from tests.chaos.points import Expected
from tests.chaos.stage import Stage

TIME_S: Final = 60.0
POINTS: Final = 4


class Bug(NamedTuple):
    """How it is planted, the campaign that has to catch it, and the calls at which it does its harm."""

    plant: Callable[[pytest.MonkeyPatch], None]
    campaign: str
    kinds: str


def resend(patch: pytest.MonkeyPatch) -> None:
    """Entries without an answer are sent again, whatever the broker shows."""
    real = Desk.recover

    async def recover(self: Desk) -> None:
        await real(self)
        again = [leg for leg, _ in self.recovery.found if isinstance(leg, OpenIntent)]
        if again:
            await self.broker.execute(again, lambda _: {})

    patch.setattr(Desk, "recover", recover)


def unrecorded(patch: pytest.MonkeyPatch) -> None:
    """Orders leave before their intents are written."""
    send, journal_intents = Desk.send, Desk.journal_intents

    async def send_first(self: Desk) -> None:
        await send(self)
        journal_intents(self)

    patch.setattr(Desk, "journal_intents", lambda self: None)
    patch.setattr(Desk, "send", send_first)


def unsynced(patch: pytest.MonkeyPatch) -> None:
    """Intents are written and not made durable before the orders leave."""
    journal_intents = Desk.journal_intents

    def write_only(self: Desk) -> None:
        with pytest.MonkeyPatch.context() as lazy:
            lazy.setattr(os, "fsync", lambda _: None)
            journal_intents(self)

    patch.setattr(Desk, "journal_intents", write_only)


def early(patch: pytest.MonkeyPatch) -> None:
    """The books are committed before the answers are known, with the mark behind the intents."""
    journal_intents = Desk.journal_intents

    def commit_too(self: Desk) -> None:
        journal_intents(self)
        self.executor = with_(self.executor, journal=self.journal.append([]))
        self.commit()

    patch.setattr(Desk, "journal_intents", commit_too)


def forgetful(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever made durable."""
    patch.setattr(os, "fsync", lambda _: None)


BUGS: Final = {
    "resend": Bug(resend, "kill", "write state/journal"),
    "unrecorded": Bug(unrecorded, "kill", "write state/journal"),
    "early": Bug(early, "kill", "write state/journal"),
    "unsynced": Bug(unsynced, "power", "write state/journal"),
    "forgetful": Bug(forgetful, "power", "write state/journal"),
}


def caught(stage: Stage, expected: Expected) -> dict[str, Any]:
    """What the campaigns count with each bug in place; ``violations`` are the bugs that they did not see."""
    found: dict[str, Any] = {}
    for name, bug in BUGS.items():
        harmful = tuple(one for one in expected.calls if one.kind.startswith(bug.kinds))
        with pytest.MonkeyPatch.context() as patch:
            bug.plant(patch)
            chosen = campaigns.prepare(stage, replace(expected, calls=harmful), 0, [bug.campaign])
            found[name] = campaigns.run(chosen, TIME_S, POINTS)
        print(f"{name}: {found[name]['violations']} of {found[name]['points']} points", file=sys.stderr)
    return {"planted": found, "violations": sum(not one["violations"] for one in found.values())}
