"""When the models' markets are open, as the last run heard it: a close before which nothing can trade needs no run.

``state/compiled/hours.json`` is a cache, and only ever a reason to do nothing: whatever it does not know, or does not
know for certain any more, is taken to be open.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from oracle_batch.closes import EARLY_S, next_close, timeframes_in
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id

if TYPE_CHECKING:
    from oracle_batch.desk import Desk
    from oracle_batch.store.workspace import Workspace

_log = logging.getLogger(__name__)

SCHEMA: Final = 1
MAX_AGE_S: Final = 86400.0
"""Hours that were heard so long ago are not relied on, so that a change of theirs is noticed on the next day."""
REFRESH_S: Final = 6 * 3600.0
"""The file is written anew after so long, though nothing has changed."""
LINGER_S: Final = 3600.0
"""A market is looked at for so long after its close: late bars, corrections, what an earlier run could not do."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    told_at: float
    models: dict[str, tuple[Schedule, ...]]


@dataclass(frozen=True, slots=True)
class MarketHours:
    """What every model's market keeps, on each account, as heard at ``told_at`` (Unix seconds)."""

    told_at: float
    kept: frozenset[tuple[str, Schedule]]
    """Timeframes and schedules."""

    def holds_at(self, instant: float) -> bool:
        """Whether this is young enough to say anything about an instant."""
        return 0.0 <= instant - self.told_at <= MAX_AGE_S

    def may_have_traded(self, close: int) -> bool:
        """Whether a bar that may close at ``close`` can hold a price, or a market has closed within the hour.

        H4 and D1 grids follow the broker's clock, so their bars may close at every full hour.
        """
        if not self.holds_at(close):
            return True
        return any(
            _open_within(schedule, close - TIMEFRAME_SECONDS[timeframe] - LINGER_S, close)
            for timeframe, schedule in self.kept
            if close % min(TIMEFRAME_SECONDS[timeframe], 3600) == 0
        )

    def may_trade(self, now: float, ahead_s: float = 120.0) -> bool:
        """Whether a market is open, has closed within the hour, or opens within moments."""
        if not self.holds_at(now):
            return True
        return any(_open_within(schedule, now - LINGER_S, now + ahead_s) for _, schedule in self.kept)


def _open_within(schedule: Schedule, start: float, end: float) -> bool:
    gap = schedule.next_break(start)
    return gap is None or gap.start > start or gap.end <= end


def next_close_to_wake_for(timeframes: Collection[str], after: float, hours: MarketHours | None) -> int:
    """The first close after an instant before which something can have traded; what is not known is open."""
    close = next_close(timeframes, after)
    while hours is not None and not hours.may_have_traded(close):  # ends where the hours are a day old
        close = next_close(timeframes, close)
    return close


def nothing_closes(workspace: Workspace, now: float, arm_s: float) -> bool:
    """Whether the close that a tick with this lead would wait for is one before which nothing can have traded."""
    hours = load(workspace.market_hours, (one.stem for one in workspace.models.glob("*.zip")))
    if hours is None:
        return False
    close = next_close(timeframes_in(workspace.models), now)
    return close - now <= arm_s + EARLY_S and not hours.may_have_traded(close)


def load(path: Path, models: Iterable[str]) -> MarketHours | None:
    """The hours of all these models; None where those of one are not known, or the file is no good."""
    file = _read(path)
    if file is None or file.schema != SCHEMA:
        return None
    kept: set[tuple[str, Schedule]] = set()
    for model in models:
        identity, schedules = split_model_id(model), file.models.get(model, ())
        if identity is None or not schedules:
            return None
        kept |= {(identity[1], schedule) for schedule in schedules}
    return MarketHours(file.told_at, frozenset(kept)) if kept else None


async def keep(path: Path, desks: Iterable[Desk], now: float) -> None:
    """Write down what the brokers of all accounts say of the models' markets. The file may be lost: no fsync."""
    try:
        heard = await _heard(desks)
        old = _read(path)
        if old is None or old.models != heard or not 0.0 <= now - old.told_at < REFRESH_S:
            temp = path.with_name(f".{path.name}.tmp")
            temp.write_bytes(msgspec.json.encode(_File(SCHEMA, now, heard)))
            temp.replace(path)
    except (OracleBatchError, OSError) as error:
        _log.debug("the hours of the markets were not kept: %s", error)


async def _heard(desks: Iterable[Desk]) -> dict[str, tuple[Schedule, ...]]:
    """The schedules of each model that every account knows one of."""
    heard: dict[str, tuple[Schedule, ...]] = {}
    for number, desk in enumerate(desks):
        symbols = {name: model.broker_symbol for name, model in desk.models.items()}
        said = await desk.broker.schedules(sorted(set(symbols.values())))
        before: Mapping[str, tuple[Schedule, ...]] = heard
        heard = {
            name: (*before.get(name, ()), said[symbol])
            for name, symbol in symbols.items()
            if symbol in said and (name in before or not number)
        }
    return {name: tuple(dict.fromkeys(schedules)) for name, schedules in heard.items()}


def _read(path: Path) -> _File | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return None
