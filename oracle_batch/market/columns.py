"""What a table of bars must look like before any row of it can be found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oracle_batch.bars import FIELDS, PRICE_FIELDS, FloatArray, IntArray
from oracle_batch.errors import BarError
from oracle_batch.types import utc

LATEST_SECONDS = 100_000_000_000
"""Larger values (year 5138 in seconds) are milliseconds or finer."""
_ALIASES = {"timestamp": "time", "datetime": "time", "tick_volume": "volume"}


def find_columns(names: Sequence[str], path: Path) -> dict[str, str]:
    """The file's own column name for each field; ``volume`` may be absent.

    Raises:
        BarError: a column is missing or stands twice.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = name.strip().lower()
        field = _ALIASES.get(plain, plain)
        if field not in FIELDS:
            continue
        if field in found:
            both = f"{found[field]!r}, {name!r}"
            raise BarError(f"two columns for {field}: {both}", file=path, field=field, fix="keep one")
        found[field] = name
    for field in ("time", *PRICE_FIELDS):
        if field not in found:
            listed = ", ".join(repr(name) for name in names) or "none"
            fix = f"name the columns {','.join(FIELDS)}"
            raise BarError(f"no column {field}; there are {listed}", file=path, field=field, fix=fix)
    return found


def check_times(times: IntArray, path: Path) -> IntArray:
    """Return the times, or refuse what is not Unix seconds in strictly increasing order.

    Raises:
        BarError: naming the file and the first time that is wrong.
    """
    if len(times) and int(times.max()) > LATEST_SECONDS:
        raise BarError(
            f"time {int(times.max())} is in milliseconds or finer", file=path, field="time", fix="store Unix seconds"
        )
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        before, after = int(times[wrong[0]]), int(times[wrong[0] + 1])
        problem = "stands twice" if before == after else f"comes after {before} ({utc(before)})"
        raise BarError(
            f"time {after} ({utc(after)}) {problem}", file=path, field="time", fix="sort the rows and drop duplicates"
        )
    return times


def whole_seconds(values: FloatArray, path: Path) -> IntArray:
    """Times as int64; a fraction of a second or a NaN is refused."""
    bad = np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)))
    if len(bad):
        value = float(values[bad[0]])
        raise BarError(f"time {value!r} is not a whole second", file=path, field="time", fix="store Unix seconds")
    return values.astype(np.int64)
