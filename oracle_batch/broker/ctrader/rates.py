"""How fast requests may leave: so many in any second, and fewer of the historical ones. Pure.

A place is free again a second after its *answer* came: the server had counted the request by then. Counting from the
sending would let a network that is slow once compress two seconds into one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 1.0
MARGIN_S: Final = 0.02
"""So much longer than the server's second."""
REQUESTS: Final = 49
"""The server takes 50; one is left for a heartbeat."""
HISTORICAL: Final = 5


@dataclass(slots=True)
class _Window:
    limit: int
    under_way: set[str] = field(default_factory=set)
    answered: deque[float] = field(default_factory=deque)

    def free(self, now: float) -> int:
        while self.answered and self.answered[0] <= now - WINDOW_S - MARGIN_S:
            self.answered.popleft()
        return self.limit - len(self.under_way) - len(self.answered)

    def wait_s(self, now: float) -> float:
        """Until one more may leave; with all places under way nobody knows, and a little is waited."""
        if self.free(now) > 0:
            return 0.0
        return self.answered[0] + WINDOW_S + MARGIN_S - now if self.answered else MARGIN_S


@dataclass(slots=True)
class Limiter:
    """Both windows of one connection. Times are of any monotonic clock, in seconds."""

    requests: _Window = field(default_factory=lambda: _Window(REQUESTS))
    historical: _Window = field(default_factory=lambda: _Window(HISTORICAL))

    def free(self, now: float) -> int:
        """How many ordinary requests may leave at once."""
        return self.requests.free(now)

    def wait_s(self, now: float, *, historical: bool) -> float:
        """How long the next request has to wait; 0: not at all."""
        wait = self.requests.wait_s(now)
        return max(wait, self.historical.wait_s(now)) if historical else wait

    def sent(self, identity: str, *, historical: bool) -> None:
        """Note that a request has left."""
        self.requests.under_way.add(identity)
        if historical:
            self.historical.under_way.add(identity)

    def answered(self, identity: str, now: float) -> None:
        """Note that a request was answered, or is given up; a second later its place is free."""
        for window in (self.requests, self.historical):
            if identity in window.under_way:
                window.under_way.remove(identity)
                window.answered.append(now)

    def punished(self, now: float) -> None:
        """The server says that it were too many: every place stays taken for another second."""
        for window in (self.requests, self.historical):
            window.answered.extend([now] * max(window.free(now), 0))
