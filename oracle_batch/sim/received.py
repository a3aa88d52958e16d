"""Which requests arrived when, for the control port."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

KEPT: Final = 100_000
"""Requests remembered; older ones are forgotten."""


class Received(NamedTuple):
    """A request as it came in. ``type`` is its name, e.g. ``NewOrderReq``; ``client_order_id`` is empty without one.

    ``monotonic_ns`` is CLOCK_MONOTONIC at the read that completed it.
    """

    client_order_id: str
    type: str
    monotonic_ns: int


def received_log() -> deque[Received]:
    """An empty log."""
    return deque(maxlen=KEPT)
