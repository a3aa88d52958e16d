"""What the brain does in a tick: catch up silently, recompute revised bars, decide the newest bar of every model.

Pure: windows and twins in, thoughts out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.brain import decide
from oracle_batch.brain.awaiting import Awaiting
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.broker.base import Bar
from oracle_batch.bundle.model import Model
from oracle_batch.errors import NeedsWarmup
from oracle_batch.store.records import Event
from oracle_batch.store.twins import HISTORY, TwinFile
from oracle_batch.types import ACTIONS, STORED_BARS, WINDOW


@dataclass(frozen=True, slots=True)
class Fresh:
    """A model with its window as the feed now has it, and the twin as the last run left it."""

    model: Model
    bars: Bars
    twin: TwinFile | None
    revised: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Thought:
    """The newest signal of one model, and the twin file to keep.

    ``virtual_pnl`` is the twin's floating profit that the observation saw. ``past`` holds the twin after each bar
    before the newest one, as far as it is known. ``replaced`` are the times of bars for which a revision led to
    another decision than the one that was made.
    """

    model: Model
    twin: TwinFile
    events: tuple[Event, ...] = ()
    past: tuple[TwinState, ...] = ()
    replaced: tuple[int, ...] = ()

    @property
    def bar_time(self) -> int:
        return self.twin.state.bar_time

    @property
    def action(self) -> int:
        return self.twin.state.last_action

    @property
    def hmm_state(self) -> int:
        return self.twin.state.last_hmm_state

    @property
    def before(self) -> TwinState:
        """The twin before the newest bar."""
        return self.twin.history[-1] if self.twin.history else FLAT

    @property
    def virtual_pnl(self) -> float:
        return self.before.floating_pnl


@dataclass(frozen=True, slots=True)
class _Course:
    """How a twin gets to the newest bar: the state it starts from and the bars it consumes."""

    fresh: Fresh
    base: TwinState
    known: tuple[TwinState, ...]
    rows: int
    warmed_to: int
    events: list[Event] = field(default_factory=list)


def needs_history(bars: Bars, twin: TwinFile | None) -> bool:
    """Whether the window does not reach back far enough to bring the twin to the newest bar.

    True without a twin, too: a warm-up wants all the history there is.
    """
    if twin is None or len(bars) < WINDOW:
        return True
    return rows_after(bars, twin.state.bar_time) > len(bars) - WINDOW + 1


def rows_after(bars: Bars, bar_time: int) -> int:
    """How many bars come after a time."""
    return len(bars) - int(np.searchsorted(bars.time, bar_time, side="right"))


def warming_up(bars: Bars) -> bool:
    """Whether there are too few closed bars for any signal."""
    return len(bars) < WINDOW


def chart(fresh: Fresh, *, auto_warmup: bool) -> _Course:
    """Where the twin starts and which bars it consumes.

    Raises:
        NeedsWarmup: the bars that the twin has missed cannot be had, and warming up is not allowed.
    """
    bars, twin, model = fresh.bars, fresh.twin, fresh.model
    newest = int(bars.time[-1])
    events = [Event("bar_revised", model.model_id, {"bar_time": when}) for when in fresh.revised]
    if twin is None or needs_history(bars, twin):
        if not auto_warmup:
            why = "has no twin yet" if twin is None else "is further behind than the stored bars reach"
            raise NeedsWarmup(
                f"NEEDS_WARMUP: {model.model_id} {why}", fix=f"run `oracle-batch warmup {model.model_id}`"
            )
        since = 0 if twin is None else twin.state.bar_time
        event = Event("auto_warmup", model.model_id, {"bars": len(bars), "behind_since": since})
        return _from_flat(fresh, int(bars.time[-2]), [*events, event])
    if newest < twin.state.bar_time:
        raise NeedsWarmup(
            f"NEEDS_WARMUP: the twin of {model.model_id} is ahead of the bars ({twin.state.bar_time} > {newest})",
            fix=f"check the feed, then run `oracle-batch warmup {model.model_id}`",
        )
    revised = [when for when in fresh.revised if when <= twin.state.bar_time]
    if not revised:
        return _course_from(fresh, twin.state, twin.history, events)
    known = [state for state in (*twin.history, twin.state) if state.bar_time < revised[0]]
    usable = known and known[-1].bar_time and rows_after(bars, known[-1].bar_time) <= len(bars) - WINDOW + 1
    if usable:
        return _course_from(fresh, known[-1], tuple(known[:-1]), events)
    events.append(Event("twin_rebuilt", model.model_id, {"first_revised": revised[0], "bars": len(bars)}))
    return _from_flat(fresh, twin.warmed_to, events)


def _course_from(fresh: Fresh, base: TwinState, known: tuple[TwinState, ...], events: list[Event]) -> _Course:
    assert fresh.twin is not None
    return _Course(fresh, base, known, rows_after(fresh.bars, base.bar_time), fresh.twin.warmed_to, events)


def _from_flat(fresh: Fresh, warmed_to: int, events: list[Event]) -> _Course:
    rows = min(len(fresh.bars), STORED_BARS) - WINDOW + 1
    return _Course(fresh, FLAT, (), rows, warmed_to, events)


def think(courses: Sequence[_Course]) -> list[Thought]:
    """Catch every twin up, then decide the newest bars of all models in one pass."""
    ready: list[tuple[_Course, list[TwinState]]] = []
    for course in courses:
        states = [*course.known, course.base]
        if course.rows > 1:
            bars, silent = course.fresh.bars, course.rows - 1
            states += decide.replay(course.fresh.model, bars[:-1], course.base, silent).twins
        ready.append((course, states))
    live = [(course, states) for course, states in ready if course.rows > 0]
    if live:
        brain = decide.Brain([course.fresh.model for course, _ in live])
        windows = decide.stack_windows([course.fresh.bars for course, _ in live])
        for (_, states), decision in zip(live, brain.decide(windows, [states[-1] for _, states in live]), strict=True):
            states.append(decision.twin)
    return [_thought(course, states) for course, states in ready]


class Foresight:
    """Models whose twins stand before a bar that is about to close: all of its decision but that bar's arithmetic.

    ``fresh`` are their windows and twins, which end with the same bar.
    """

    def __init__(self, fresh: Sequence[Fresh]) -> None:
        self.fresh = tuple(fresh)
        self._awaiting = Awaiting([one.model for one in fresh], [one.bars for one in fresh])
        self._twins = [one.twin for one in fresh if one.twin is not None]
        assert len(self._twins) == len(self.fresh)

    def think(self, newest: Mapping[str, Bar]) -> list[Thought]:
        """What the models decide whose bar is there, by model id; as ``think`` would with the bar in the window."""
        rows = [row for row, one in enumerate(self.fresh) if one.model.model_id in newest]
        bars = {row: newest[self.fresh[row].model.model_id] for row in rows}
        decisions = self._awaiting.decide(bars, [twin.state for twin in self._twins])
        found = []
        for row in rows:
            one, twin = self.fresh[row], self._twins[row]
            states = (*twin.history, twin.state, decisions[row].twin)
            found.append(_thought(_Course(one, twin.state, twin.history, 1, twin.warmed_to), states))
        return found


def _thought(course: _Course, states: Sequence[TwinState]) -> Thought:
    model, old = course.fresh.model, course.fresh.twin
    twin = TwinFile(
        model=model.model_id,
        bundle_sha256=model.sha256,
        state=states[-1],
        history=tuple(states[:-1][-HISTORY:]),
        warmed_to=min(course.warmed_to, states[-1].bar_time),
    )
    events: list[Event] = list(course.events)
    replaced: tuple[int, ...] = ()
    if old is not None and course.fresh.revised:
        again = {state.bar_time: state for state in states}
        changed = [state for state in (*old.history, old.state) if again.get(state.bar_time, state) != state]
        if changed:
            last = again[changed[-1].bar_time]
            detail = {"bar_time": last.bar_time, "was": _words(changed[-1]), "is": _words(last)}
            events.append(Event("twin_recomputed", model.model_id, detail))
        replaced = tuple(state.bar_time for state in changed if again[state.bar_time].last_action != state.last_action)
    return Thought(model, twin, tuple(events), tuple(states[:-1]), replaced)


def _words(state: TwinState) -> dict[str, object]:
    return {"signal": ACTIONS[state.last_action].name, "floating_pnl": state.floating_pnl}


def warm(model: Model, bars: Bars) -> TwinFile:
    """The twin after a silent fast-forward over all given bars, from flat (DESIGN §3.6).

    Raises:
        NeedsWarmup: fewer than 350 bars.
    """
    if warming_up(bars):
        raise NeedsWarmup(f"{model.model_id}: {len(bars)} closed bars, {WINDOW} are needed", fix="give more history")
    count = len(bars) - WINDOW + 1
    states = [FLAT, *decide.replay(model, bars, FLAT, count).twins]
    last = states[-1]
    return TwinFile(
        model=model.model_id,
        bundle_sha256=model.sha256,
        state=last,
        history=tuple(states[:-1][-HISTORY:]),
        warmed_to=last.bar_time,
    )
