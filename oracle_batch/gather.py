"""The reading half of a tick: bundles, windows, twins, and what the feed has that they lack."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from oracle_batch import bars as bars_module
from oracle_batch.bars import Bars
from oracle_batch.broker.base import Broker
from oracle_batch.bundle.model import Model
from oracle_batch.closes import newest_closed
from oracle_batch.errors import NeedsWarmup
from oracle_batch.history import OVERLAP_BARS, may_have_closed, merge
from oracle_batch.store import twins, windows
from oracle_batch.store.twins import TwinFile
from oracle_batch.store.windows import Window
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import Fresh, needs_history, rows_after
from oracle_batch.types import STORED_BARS, TIMEFRAME_SECONDS, WINDOW

_log = logging.getLogger(__name__)

HISTORY_TRIES = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """A model and its files, as the last run left them."""

    model: Model
    window: Window | None
    twin: TwinFile | None


def load(workspace: Workspace, model: Model, source: str) -> Stored:
    """A model's window and twin.

    Raises:
        StateError: a file is damaged, or belongs to another symbol, schema or feed.
        NeedsWarmup: the twin was made by another bundle.
    """
    twin = twins.load(workspace.twin_path(model.model_id), model.model_id, model.sha256)
    window = windows.load(workspace.bars_path(model.model_id), model.symbol, model.timeframe)
    if window is not None and window.source != source:
        raise NeedsWarmup(
            f"NEEDS_WARMUP: these bars come from {window.source!r}, the feed is {source!r}",
            file=workspace.bars_path(model.model_id),
            field="source",
            fix=f"run `oracle-batch warmup {model.model_id}`",
        )
    return Stored(model, window, twin)


def may_be_due(stored: Stored, now: float) -> bool:
    """Whether a bar can have closed that this model's twin has not seen."""
    last = stored.twin.state.bar_time if stored.twin is not None else 0
    return may_have_closed(stored.model.timeframe, last, now)


def just_closed_is_missing(fresh: Fresh, now: float) -> bool:
    """Whether the feed has everything but the bar that has just closed, which may only be a moment late.

    A longer gap is a break of the market, and the grids of H4 and D1 are the broker's: neither is waited for.
    """
    timeframe = fresh.model.timeframe
    seconds = TIMEFRAME_SECONDS[timeframe]
    if seconds > 3600 or not len(fresh.bars):
        return False
    return int(fresh.bars.time[-1]) == newest_closed(timeframe, now) - seconds


async def refresh(broker: Broker, stored: Stored, now: float, revised_before: Collection[int] = ()) -> Fresh:
    """The model with its window as the feed has it now.

    ``revised_before`` are bars that an interrupted run saw revised: the window may hold the official ones already, and
    the twin not yet.

    Raises:
        BarError: the feed holds a bar that breaks the rules, or disagrees with the stored window as a whole.
    """
    model = stored.model
    if stored.window is None or not len(stored.window.bars):
        return Fresh(model, await history(broker, model, now), stored.twin)
    old = stored.window.bars
    start = int(old.time[-min(OVERLAP_BARS, len(old))])
    merged = merge(
        old, await broker.bars(model.broker_symbol, model.timeframe, start, int(now)), model.symbol, model.timeframe
    )
    bars, revised = merged.bars, tuple(sorted({*merged.revised, *revised_before}))
    if needs_history(bars, stored.twin):
        longer = await history(broker, model, now, _reach(bars, stored.twin))
        if len(longer) > len(bars) or (len(longer) and longer.time[-1] > bars.time[-1]):
            bars = longer
    return Fresh(model, bars, stored.twin, revised)


def _reach(bars: Bars, twin: TwinFile | None) -> int:
    """How many bars bring a twin to the newest one: the missing ones and a window before them, or a warm-up's."""
    behind = STORED_BARS if twin is None else rows_after(bars, twin.state.bar_time)
    return STORED_BARS if behind >= STORED_BARS else max(STORED_BARS, behind + WINDOW - 1)


async def history(broker: Broker, model: Model, now: float, count: int = STORED_BARS) -> Bars:
    """The last ``count`` closed bars, or all there are; asks for longer and longer spans, a bounded number of times."""
    seconds = TIMEFRAME_SECONDS[model.timeframe]
    span = count * seconds * 3 // 2 + 4 * 86400
    found, unchanged = bars_module.empty(), 0
    for _ in range(HISTORY_TRIES):
        longer = await broker.bars(model.broker_symbol, model.timeframe, max(int(now) - span, 0), int(now))
        unchanged = unchanged + 1 if len(longer) == len(found) else 0
        found = longer
        if len(found) >= count or span >= now or unchanged == 3:
            break
        span *= 2
    return found[-count:]
