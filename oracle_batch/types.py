"""The words every part shares: timeframes, actions, model ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

WINDOW: Final = 350
"""Closed bars that one decision looks at."""
STORED_BARS: Final = 1000
"""Closed bars kept for each model; also what a warm-up asks for."""
LONGEST_RUN_S: Final = 900.0
"""No run may have a later deadline, so that whatever looks older than this belongs to no living run."""
MAX_ARM_S: Final = 300.0
"""The longest that a tick may wait for its close."""
GUARD_PATIENCE_S: Final = 30.0
"""So long a tick waits for a guard that has the lock. For another tick it does not wait."""

TIMEFRAME_SECONDS: Final[dict[str, int]] = {
    "M1": 60,
    "M5": 300,
    "M15": 900,
    "M30": 1800,
    "H1": 3600,
    "H4": 14400,
    "D1": 86400,
}


@dataclass(frozen=True, slots=True)
class Action:
    """One of the policy's seven actions. WAIT is a signal; FLAT is the position it leads to."""

    index: int
    name: str
    direction: int
    intensity: int


ACTIONS: Final[tuple[Action, ...]] = (
    Action(0, "WAIT", 0, 0),
    Action(1, "LONG_WEAK", 1, 1),
    Action(2, "LONG_MODERATE", 1, 2),
    Action(3, "LONG_STRONG", 1, 3),
    Action(4, "SHORT_WEAK", -1, 1),
    Action(5, "SHORT_MODERATE", -1, 2),
    Action(6, "SHORT_STRONG", -1, 3),
)
ACTION_BY_NAME: Final = {action.name: action for action in ACTIONS}


def action_of(direction: int, intensity: int) -> Action:
    """The action that leads to a position.

    >>> action_of(-1, 2).name
    'SHORT_MODERATE'
    """
    if direction == 0:
        return ACTIONS[0]
    return ACTIONS[intensity if direction > 0 else 3 + intensity]


def model_id(symbol: str, timeframe: str) -> str:
    """The id of a model, which also names its files: ``EURUSD_M15``."""
    return f"{symbol}_{timeframe}"


def split_model_id(identifier: str) -> tuple[str, str] | None:
    """Symbol and timeframe of a model id, or None when it is not one.

    >>> split_model_id("US_500_H1")
    ('US_500', 'H1')
    """
    symbol, _, timeframe = identifier.rpartition("_")
    return (symbol, timeframe) if symbol and timeframe in TIMEFRAME_SECONDS else None


LABEL_PREFIX: Final = "oracle:"


def label_of(model: str) -> str:
    """The label that marks a broker position as a model's."""
    return LABEL_PREFIX + model


def model_of(label: str) -> str | None:
    """The model that a broker position's label names, or None when it names none.

    >>> model_of("oracle:EURUSD_M15"), model_of("oracle:by hand"), model_of("EURUSD_M15")
    ('EURUSD_M15', None, None)
    """
    name = label.removeprefix(LABEL_PREFIX)
    return name if label.startswith(LABEL_PREFIX) and split_model_id(name) is not None else None


def utc(seconds: float) -> str:
    """A time for people.

    >>> utc(1771019100)
    '2026-02-13 21:45Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def coming(instant: float, now: float) -> str:
    """A time to come, for people: that of the day, and the day where it is half a day ahead or more.

    >>> coming(1771019080.0, 1771019000.0), coming(1771019080.0, 1770900000.0)
    ('21:44:40Z', 'Fri 21:44:40Z')
    """
    moment = datetime.fromtimestamp(instant, UTC)
    return moment.strftime("%H:%M:%SZ" if instant - now < 43200 else "%a %H:%M:%SZ")
