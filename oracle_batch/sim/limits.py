"""How many requests a connection may send: 50 in any second, 5 of them historical ones. Pure; times are passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

REQUESTS_PER_SECOND: Final = 50
HISTORICAL_PER_SECOND: Final = 5
_WINDOW_NS: Final = 1_000_000_000


class Window:
    """Counts what happened within the last second, that instant included."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def count(self, now_ns: int) -> int:
        """How many lie in ``(now − 1 s, now]``."""
        while self._times and self._times[0] <= now_ns - _WINDOW_NS:
            self._times.popleft()
        return len(self._times)

    def add(self, now_ns: int) -> int:
        """Count one more and return the new number."""
        self._times.append(now_ns)
        return self.count(now_ns)


class Allowance:
    """What one connection may still send. Refused requests use nothing up, so waiting a second always helps."""

    def __init__(self) -> None:
        self._all = Window()
        self._historical = Window()

    def admits(self, now_ns: int, *, historical: bool) -> bool:
        """Whether one more request is within both rates; it is counted if so."""
        if self._all.count(now_ns) >= REQUESTS_PER_SECOND:
            return False
        if historical and self._historical.count(now_ns) >= HISTORICAL_PER_SECOND:
            return False
        self._all.add(now_ns)
        if historical:
            self._historical.add(now_ns)
        return True


@dataclass(frozen=True, slots=True)
class Rates:
    """What came in from all connections so far, refused requests included; the maxima are of one connection."""

    total: int
    historical: int
    max_per_second: int
    max_historical_per_second: int


class Traffic:
    """Counts every request that arrives, for the control port."""

    def __init__(self) -> None:
        self.rates = Rates(0, 0, 0, 0)
        self._windows: dict[int, tuple[Window, Window]] = {}

    def add(self, connection: int, now_ns: int, *, historical: bool) -> None:
        """Count a request of a connection."""
        every, slow = self._windows.setdefault(connection, (Window(), Window()))
        seen, before = every.add(now_ns), self.rates
        slowly = slow.add(now_ns) if historical else 0
        self.rates = Rates(
            before.total + 1,
            before.historical + historical,
            max(before.max_per_second, seen),
            max(before.max_historical_per_second, slowly),
        )

    def forget(self, connection: int) -> None:
        """Let the windows of a closed connection go."""
        self._windows.pop(connection, None)
