"""What the resident goes by: the settings and bundles of the workspace, looked at again and again while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oracle_batch.bounded import WATCHDOG_S
from oracle_batch.config import Settings
from oracle_batch.errors import ConfigError
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import GUARD_PATIENCE_S, LONGEST_RUN_S, TIMEFRAME_SECONDS
from oracle_batch.waking import Waking

_log = logging.getLogger(__name__)

MARGIN_S: Final = 10.0
"""What a child gets on top of its own deadline, its watchdog and its wait for the lock, before it is told to end."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """What is known at one moment. ``deadline_s`` is that of one run, from its start on."""

    waking: Waking
    timeframes: frozenset[str]
    deadline_s: float

    @property
    def lead_s(self) -> float:
        """Seconds from the start of a tick to its close; negative: it starts after the close."""
        return self.waking.lead(self.timeframes)

    @property
    def tick_timeout_s(self) -> float:
        """A tick that has not ended itself after this long is told to."""
        own = min(self.deadline_s + max(self.lead_s, 0.0), LONGEST_RUN_S)
        return own + GUARD_PATIENCE_S + WATCHDOG_S + MARGIN_S

    def next_tick(self, after: float) -> float:
        """When the next tick is started."""
        return self.waking.next_tick(self.timeframes, after)

    def next_guard(self, after: float) -> float:
        """When the next guard is started."""
        return self.waking.next_guard(after)

    def names(self) -> str:
        """The timeframes for people, the shortest first."""
        return ", ".join(sorted(self.timeframes, key=TIMEFRAME_SECONDS.__getitem__))


class Watched:
    """The newest timetable that can be had. What becomes wrong meanwhile is told once, and the last good one stands.

    ``settings`` reads the configuration anew; ``file`` is where it stands.

    Raises:
        ConfigError: the configuration is wrong, or no bundle tells when to wake up.
    """

    def __init__(self, workspace: Workspace, settings: Callable[[], Settings], file: Path) -> None:
        self._workspace, self._settings, self._file = workspace, settings, file
        self._seen = _stamp(file)
        self._wrong: dict[str, str] = {}
        self.newest = self._made(settings(), Waking(workspace, 0.0).timeframes())

    def look(self) -> bool:
        """Look at the workspace again; whether the timetable is another now."""
        before = self.newest
        tick = before.waking.arm_s, before.deadline_s
        stamp = _stamp(self._file)
        if stamp != self._seen:
            self._seen = stamp
            try:
                found = self._settings().tick
                tick = found.arm_s, found.tick_deadline_s
                self._told("settings", None)
            except ConfigError as error:
                self._told("settings", f"{error}; runs fail until it is corrected, and are woken as before")
        timeframes = before.timeframes
        try:
            timeframes = frozenset(before.waking.timeframes())
            self._told("bundles", None)
        except ConfigError as error:
            self._told("bundles", f"{error}; waking up as before")
        self.newest = Timetable(Waking(self._workspace, tick[0]), timeframes, tick[1])
        return self.newest != before

    def _made(self, settings: Settings, timeframes: set[str]) -> Timetable:
        waking = Waking(self._workspace, settings.tick.arm_s)
        return Timetable(waking, frozenset(timeframes), settings.tick.tick_deadline_s)

    def _told(self, what: str, wrong: str | None) -> None:
        """Say what is wrong when it becomes so, and when it is right again."""
        if wrong is None:
            if self._wrong.pop(what, None) is not None:
                _log.info("the %s are usable again", what)
        elif self._wrong.get(what) != wrong:
            self._wrong[what] = wrong
            _log.warning("%s", wrong)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None: there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
