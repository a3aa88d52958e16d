"""Which bars a bundle was made from, as far as it says."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.bundle.files import read_file
from oracle_batch.types import utc

DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Boundaries:
    """What of a history a model has seen. Times are Unix seconds of bar opens.

    ``trained_until`` is the last bar that it was fitted on, ``unseen_from`` the first one that neither fitting nor
    selection looked at; None where not known. ``stated``: by the bundle; ``inferred``: from its counts of bars;
    ``unknown``: nothing can be kept apart. ``words`` say it to a person.
    """

    source: Literal["stated", "inferred", "unknown"]
    trained_from: int | None
    trained_until: int | None
    unseen_from: int | None
    words: str

    def first_unseen(self, bars_time: np.ndarray[Any, np.dtype[np.int64]]) -> int | None:
        """The first row of these bars that the model has not seen; None where that is not known, or there is none."""
        if self.unseen_from is None:
            return None
        row = int(np.searchsorted(bars_time, self.unseen_from))
        return row if row < len(bars_time) else None


def read_comment(path: Path) -> dict[str, Any]:
    """The metadata of a bundle that loads."""
    with zipfile.ZipFile(io.BytesIO(read_file(path))) as archive:
        found: dict[str, Any] = json.loads(archive.comment)
    return found


def boundaries_of(metadata: Mapping[str, Any], bars: Bars) -> Boundaries:
    """Where a bundle's parts lie in these bars."""
    info = metadata.get("data_info")
    info = info if isinstance(info, dict) else {}
    if _is_time(info.get("train_end")) and _is_time(info.get("test_start")):
        if info["test_start"] < info["train_end"]:
            words = f"the bundle's parts overlap: trained until {utc(info['train_end'])}, tested from "
            return Boundaries("unknown", None, None, None, f"{words}{utc(info['test_start'])}")
        begin = info.get("train_start")
        return Boundaries(
            "stated",
            int(begin) if isinstance(begin, int) and _is_time(begin) else None,
            int(info["train_end"]),
            int(info["test_start"]),
            f"trained until {utc(info['train_end'])}, selected until {utc(info['test_start'])}, unseen from there on",
        )
    begin, end = _day(info.get("date_start")), _day(info.get("date_end"))
    total, trained = info.get("total_bars"), info.get("train_bars")
    if begin is None or end is None:
        return Boundaries("unknown", None, None, None, "the bundle does not say which bars it was made from")
    if len(bars) and bars.time[0] >= end + DAY_S:
        words = "the bundle's data end before these bars begin: all of them are unseen"
        return Boundaries("inferred", begin, end + DAY_S - 1, int(bars.time[0]), words)
    inside = np.flatnonzero((bars.time >= begin) & (bars.time < end + DAY_S))
    if isinstance(total, int) and isinstance(trained, int) and 0 < trained < total and len(inside) == total:
        last = int(bars.time[inside[trained - 1]])
        words = (
            f"trained on the first {trained} of its {total} bars, until {utc(last)}; the bundle has no boundary "
            "between validation and test, so the rest counts as unseen, though the choice of the model may have seen it"
        )
        return Boundaries("inferred", int(bars.time[inside[0]]), last, int(bars.time[inside[trained]]), words)
    after = end + DAY_S
    words = f"the bundle was made from other bars than these, of {info['date_start']} to {info['date_end']}; "
    words += "only what comes after is unseen"
    return Boundaries("inferred", begin, end + DAY_S - 1, after, words)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _day(value: object) -> int | None:
    """The start of a day that is written as an ISO date."""
    if not isinstance(value, str):
        return None
    try:
        return int(datetime.combine(date.fromisoformat(value[:10]), time(), UTC).timestamp())
    except ValueError:
        return None
