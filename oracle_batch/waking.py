"""When the resident wakes what: a tick so long before each close as it wants to get ready, and a guard each minute."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from apscheduler.triggers.base import BaseTrigger

from oracle_batch import market_hours
from oracle_batch.closes import TRIGGER_DELAY_S, timeframes_in
from oracle_batch.market_hours import MarketHours
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import TIMEFRAME_SECONDS

GUARD_SECOND: Final = 20
"""The second of each minute on which a guard is woken: ticks are over by then, and the next is not armed yet."""
SET_BACK_S: Final = 30.0
"""A clock that goes back by less does not make what has happened happen again."""
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Waking:
    """The instants. Bundles and hours are looked at anew each time, so a model that is added later is woken for, too.

    ``arm_s`` is how long before a close a tick is started, 0: one second after it. A lead longer than half of the
    shortest timeframe would leave no time between two ticks, and is cut.
    """

    workspace: Workspace
    arm_s: float

    def timeframes(self) -> set[str]:
        """The timeframes of the bundles that are there now.

        Raises:
            ConfigError: there is none.
        """
        return timeframes_in(self.workspace.models)

    def lead(self, timeframes: Collection[str]) -> float:
        """Seconds from the start of a tick to the close that it is for; negative: it starts after the close.

        >>> from pathlib import Path
        >>> waking = Waking(Workspace(Path()), 40.0)
        >>> waking.lead({"M15", "H1"}), waking.lead({"M1"}), Waking(waking.workspace, 0.0).lead({"M15"})
        (40.0, 30.0, -1.0)
        """
        shortest = min(TIMEFRAME_SECONDS[timeframe] for timeframe in timeframes)
        return min(self.arm_s, shortest / 2) if self.arm_s else -float(TRIGGER_DELAY_S)

    def next_tick(self, timeframes: Collection[str], after: float) -> float:
        """The first instant later than ``after`` at which a tick is started; closed markets need none."""
        lead = self.lead(timeframes)
        return market_hours.next_close_to_wake_for(timeframes, after + lead, self._hours()) - lead

    def next_guard(self, after: float) -> float:
        """The first such second later than ``after``; while all markets are closed only the last one of each hour.

        Limits are reset on full hours, and the last look before a reset counts.
        """
        instant = (int(after - GUARD_SECOND) // 60 + 1) * 60.0 + GUARD_SECOND
        hours = self._hours()
        if hours is None or hours.may_trade(instant):
            return instant
        return instant + 60 * (59 - instant // 60 % 60)

    def _hours(self) -> MarketHours | None:
        """What is known of the hours of all models' markets."""
        return market_hours.load(self.workspace.market_hours, (one.stem for one in self.workspace.models.glob("*.zip")))


class Fires(BaseTrigger):  # type: ignore[misc]
    """An APScheduler trigger: what a function makes of the later of the last fire and now.

    What is past by then is left out, so a wake-up that is late happens once. A clock that is set back by moments makes
    nothing happen twice; one that is set back by more is followed.
    """

    def __init__(self, following: Callable[[float], float]) -> None:
        self._following = following
        self._last = 0.0

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next instant; without ``previous`` the one after the last fire that this has heard of."""
        here = now.timestamp()
        if previous is not None:
            self._last = previous.timestamp()
        if self._last - here >= SET_BACK_S:
            self._last = 0.0
        return datetime.fromtimestamp(self._following(max(here, self._last)), UTC)


class WhenTold(BaseTrigger):  # type: ignore[misc]
    """An APScheduler trigger that never fires by itself: its job waits for a simulator's clock."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Beyond all waiting."""
        return _NEVER
