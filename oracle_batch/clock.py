"""Where the time comes from. All code takes it from a clock that is passed in (DESIGN §8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from oracle_batch.errors import UsageError


class Clock(Protocol):
    """Unix seconds UTC."""

    def now(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()


@dataclass(slots=True)
class FrozenClock:
    """A clock that stands at one instant until it is moved."""

    instant: float

    def now(self) -> float:
        return self.instant


def parse_instant(text: str, option: str = "--now") -> float:
    """Unix seconds from ``1770000001``, ``1770000001.5`` or ISO 8601 with an offset. A refusal names ``option``.

    Raises:
        UsageError: the text is neither, or the ISO form has no offset.

    >>> parse_instant("2026-02-13T21:45:01Z")
    1771019101.0
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no instant", field=option, fix="Unix seconds, or ISO 8601 with offset"
        ) from error
    if moment.tzinfo is None:
        raise UsageError(f"{text!r} has no UTC offset", field=option, fix="add Z or +00:00")
    return moment.timestamp()
