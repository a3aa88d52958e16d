"""Arithmetic on bar histories: which bar has closed, what an official answer changes (DESIGN §3.6, §8). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.closes import newest_closed
from oracle_batch.errors import BarError
from oracle_batch.types import STORED_BARS, TIMEFRAME_SECONDS, WINDOW, utc

OVERLAP_BARS = WINDOW
"""Stored bars that every pull asks for again, to notice revisions: all that the newest decision looks at."""
LONG_GRID_SLACK = 3600
"""H4 and D1 grids follow the broker's clock and may move by an hour with daylight saving."""


def may_have_closed(timeframe: str, last_bar: int, now: float) -> bool:
    """Whether a bar after ``last_bar`` can have closed; for H4 and D1 the broker's own bars have the last word."""
    seconds = TIMEFRAME_SECONDS[timeframe]
    if seconds <= 3600:
        return newest_closed(timeframe, now) > last_bar
    return now >= last_bar + 2 * seconds - LONG_GRID_SLACK


@dataclass(frozen=True, slots=True)
class Merged:
    """A stored window brought up to date. ``revised``: times of stored bars that the official answer changed."""

    bars: Bars
    revised: tuple[int, ...]


def merge(stored: Bars, official: Bars, symbol: str, timeframe: str) -> Merged:
    """The stored bars with the official ones in their place.

    Raises:
        BarError: the two cannot be the same market: no common time where they overlap (a shifted grid), or most common
            bars differ (another scale or feed).
    """
    if not len(official) or not len(stored):
        return Merged((official if len(official) else stored)[-STORED_BARS:], ())
    first, last = official.time[0], official.time[-1]
    inside = (stored.time >= first) & (stored.time <= last)
    old = stored[inside]
    known = official[official.time <= stored.time[-1]]
    common, rows_old, rows_new = np.intersect1d(old.time, known.time, assume_unique=True, return_indices=True)
    if len(old) and not len(common):
        raise BarError(
            f"{symbol} {timeframe}: the history has no bar at {utc(old.time[0])}, which is stored: a shifted grid",
            field="time",
            fix=f"check the feed's clock, then run `oracle-batch warmup {symbol}`",
        )
    same = np.ones(len(common), bool)
    for name in FIELDS[1:]:
        same &= getattr(old, name)[rows_old] == getattr(known, name)[rows_new]
    changed = common[~same]
    if len(common) >= 4 and 2 * len(changed) > len(common):
        when = int(changed[0])
        raise BarError(
            f"{symbol} {timeframe}: {len(changed)} of {len(common)} stored bars differ from the history, "
            f"first at {when} ({utc(when)}): another scale or feed",
            field="close",
            fix=f"check the feed, then run `oracle-batch warmup {symbol}`",
        )
    lost_or_late = np.setxor1d(old.time, known.time, assume_unique=True)
    revised = np.sort(np.concatenate([changed, lost_or_late]))  # no common element: union1d would import numpy.ma
    before, after = stored[stored.time < first], stored[stored.time > last]
    bars = Bars(
        *(
            np.concatenate([getattr(before, name), getattr(official, name), getattr(after, name)])[-STORED_BARS:]
            for name in FIELDS
        )
    )
    return Merged(bars, tuple(revised.tolist()))
