"""When bars close, as far as the names of the bundles tell."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from oracle_batch.errors import ConfigError
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

TRIGGER_DELAY_S: Final = 1
"""A tick acts so long after the close (DESIGN §8)."""
EARLY_S: Final = 5.0
"""A tick that is woken so much before its lead waits all the same."""


def timeframes_in(models: Path) -> set[str]:
    """The timeframes of the bundles in a folder, by their names.

    Raises:
        ConfigError: there is none to wake up for.
    """
    known = [split_model_id(path.stem) for path in models.glob("*.zip")]
    found = {identity[1] for identity in known if identity is not None}
    if not found:
        raise ConfigError("no model bundle here", file=models, fix="oracle-batch models add FILE.zip")
    return found


def next_close(timeframes: Collection[str], after: float) -> int:
    """The first instant later than ``after`` at which a bar of one of the timeframes may close.

    H4 and D1 grids follow the broker's clock, so their models are looked at every full hour.

    >>> next_close({"M15", "H1"}, 899.0), next_close({"M15"}, 900.0), next_close({"D1"}, 900.0)
    (900, 1800, 3600)
    """
    steps = {min(TIMEFRAME_SECONDS[timeframe], 3600) for timeframe in timeframes}
    return min(int(after // step + 1) * step for step in steps)


def newest_closed(timeframe: str, now: float) -> int:
    """Open time of the newest bar of the UTC grid that has closed.

    >>> newest_closed("M15", 1800.0), newest_closed("M15", 1799.9)
    (900, 0)
    """
    seconds = TIMEFRAME_SECONDS[timeframe]
    return int(now // seconds) * seconds - seconds
