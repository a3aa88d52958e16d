"""Where the time of one run goes, in the Chrome trace format. Off unless a run asks for it.

Like the log, a trace belongs to the process: whoever has something to tell calls ``span`` or ``instant``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from oracle_batch.errors import StateError

_MICRO: Final = 1e6
_events: list[dict[str, Any]] | None = None


def start(path: Path) -> None:
    """Keep from now on what is told, for a file that can be written.

    Raises:
        StateError: it cannot.
    """
    global _events
    _events = []
    write(path)


def span(name: str, began: float, ended: float, row: str = "tick") -> None:
    """Something that took from one instant to another, on the monotonic clock in seconds."""
    if _events is not None:
        _events.append({"name": name, "ph": "X", "ts": began * _MICRO, "dur": (ended - began) * _MICRO, "row": row})


def instant(name: str, at: float, row: str = "tick") -> None:
    """Something that happened, on the monotonic clock in seconds."""
    if _events is not None:
        _events.append({"name": name, "ph": "i", "s": "t", "ts": at * _MICRO, "row": row})


def is_on() -> bool:
    """Whether anybody wants to know."""
    return _events is not None


def document() -> dict[str, Any]:
    """What was told, one row a thread, times from the first instant on (``monotonic_s``, on the machine's clock)."""
    told = sorted(_events or (), key=lambda event: event["ts"])
    rows = {name: number for number, name in enumerate(dict.fromkeys(event["row"] for event in told), 1)}
    first = told[0]["ts"] if told else 0.0
    names = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": name}}
        for name, number in rows.items()
    ]
    events = []
    for event in told:
        plain = {key: value for key, value in event.items() if key != "row"}
        events.append(plain | {"ts": round(event["ts"] - first, 3), "pid": 1, "tid": rows[event["row"]]})
    began = {"monotonic_s": first / _MICRO}
    return {"displayTimeUnit": "ms", "otherData": began, "traceEvents": [*names, *events]}


def write(path: Path) -> None:
    """Write the document, for chrome://tracing or Perfetto.

    Raises:
        StateError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(document()) + "\n", encoding="utf-8")
    except OSError as error:
        raise StateError(f"cannot be written: {error.strerror}", file=path, field="--trace") from error
