"""The campaigns, each a row of points in the order in which they are worth trying, and their play within a time."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from errno import ENOSPC
from functools import partial
from itertools import islice
from typing import Any, Final

from tests.chaos.losses import losses
from tests.chaos.points import Aim, Expected, Outcome, Point, Seen, Then, tried
from tests.chaos.ptrace import Action
from tests.chaos.stage import AWAITS, ORDERS, Stage

KILL: Final = Action("kill")
NESTED: Final = 300
SAMPLES: Final = 8
COLD: Final = ("kill", "late", "next", "nested", "errors", "full", "power")
"""Campaigns of a tick that is started at the close."""
ARMED: Final = ("armed", "armed_errors", "armed_power")
"""Campaigns of one that waits for it, armed."""
Play = Callable[[], Outcome]


@dataclass
class Campaign:
    """Points to try, all of them or a slice (not ``whole``); ``of`` is how many there are, where that is known."""

    name: str
    plays: Iterator[tuple[str, Play]]
    of: int | None
    whole: bool = True
    points: int = 0
    complete: bool = False
    seconds: float = 0.0


@dataclass
class Counts:
    """What ``make chaos`` prints."""

    points: int = 0
    kills: int = 0
    recoveries: int = 0
    duplicates: int = 0
    lost: int = 0
    violations: int = 0
    met: int = 0
    most_recoveries: int = 0

    def take(self, name: str, outcome: Outcome) -> None:
        verdict = outcome.verdict
        self.points += 1
        self.kills += outcome.kills
        self.recoveries += outcome.recoveries
        self.met += outcome.met
        self.most_recoveries = max(self.most_recoveries, outcome.recoveries)
        self.duplicates += verdict.duplicates
        self.lost += verdict.lost
        if verdict.violations or verdict.duplicates or verdict.lost:
            self.violations += 1
            print(f"VIOLATED {name}:", *verdict.violations[:6], sep="\n  ", file=sys.stderr)


def prepare(
    stage: Stage, expected: Expected, seed: int, only: Sequence[str] = (), *, first: int = 1, last: int | None = None
) -> list[Campaign]:
    """All campaigns of a stage, or some; of each the points from ``first`` to ``last``, counted from 1."""
    made = _of_armed(stage, expected, seed, only) if stage.armed else _of_cold(stage, expected, seed, only)
    whole = (first, last) == (1, None)
    return [replace(one, plays=islice(one.plays, first - 1, last), whole=whole) for one in made]


def _of_cold(stage: Stage, expected: Expected, seed: int, only: Sequence[str]) -> list[Campaign]:
    made = {
        "kill": _points(stage, expected, [Point(one.aim, KILL) for one in _ordered(expected.calls, seed)]),
        "late": _points(stage, expected, _kills(expected, seed, "late")),
        "next": _points(stage, expected, _kills(expected, seed, "next")),
        "nested": _points(stage, expected, _nested(expected, seed)),
        "errors": _points(stage, expected, _errors(expected, seed)),
        "full": _points(stage, expected, _full(expected, seed)),
        "power": (_power(stage, expected, seed), None),
    }
    return [Campaign(name, *made[name]) for name in COLD if not only or name in only]


def _of_armed(stage: Stage, expected: Expected, seed: int, only: Sequence[str]) -> list[Campaign]:
    """Every call from the last second on, and before it those that leave something behind.

    Errors are those of files: without its line to the clock a tick does not know what time it is, and rightly does
    nothing.
    """
    waits = next(place for place, one in enumerate(expected.calls) if one.kind == AWAITS)
    calls = tuple(one for place, one in enumerate(expected.calls) if place >= waits or one.changes)
    close = replace(expected, calls=calls)
    files = replace(expected, calls=tuple(one for one in calls if not one.kind.endswith((" socket", " pipe"))))
    made = {
        "armed": _points(stage, close, [Point(one.aim, KILL) for one in _ordered(close.calls, seed)]),
        "armed_errors": _points(stage, files, _errors(files, seed)),
        "armed_power": (_power(stage, close, seed), None),
    }
    return [Campaign(name, *made[name]) for name in ARMED if not only or name in only]


def run(campaigns: Sequence[Campaign], seconds: float, per: int = 0) -> dict[str, Any]:
    """Play the campaigns, the one that has had the least time next, until all are done or the time is up.

    ``per`` is the most points of each (0: all).
    """
    counts, waiting, until = Counts(), list(campaigns), time.monotonic() + seconds
    while waiting and time.monotonic() < until:
        one = min(waiting, key=lambda campaign: campaign.seconds)
        began = time.monotonic()
        name, play = next(one.plays, ("", None))
        if play is None:
            one.complete = one.whole
            waiting.remove(one)
            continue
        counts.take(name, play())
        one.points += 1
        one.seconds += time.monotonic() - began
        if one.points == per:
            waiting.remove(one)
        if counts.points % 50 == 0:
            print(f"{counts.points} points, {counts.violations} violations", file=sys.stderr)
    return {
        **{key: getattr(counts, key) for key in ("points", "kills", "recoveries", "duplicates", "lost", "violations")},
        "disturbances_met": counts.met,
        "most_recoveries": counts.most_recoveries,
        "orders": ORDERS,
        "campaigns": {one.name: {"points": one.points, "of": one.of, "complete": one.complete} for one in campaigns},
    }


def _points(stage: Stage, expected: Expected, points: Sequence[Point]) -> tuple[Iterator[tuple[str, Play]], int]:
    return ((str(point), partial(tried, stage, expected, point)) for point in points), len(points)


def _ordered(calls: Iterable[Seen], seed: int) -> list[Seen]:
    """Calls in the order in which they are worth trying.

    One of each sort that changes something, the others that do, one of each sort that does not, the rest; the seed
    mixes what is equal. A call has its place whatever others there are, so that slices of two runs fit together.
    """
    known = set[str]()
    ranked = []
    for one in sorted(calls, key=lambda one: _lot(seed, one)):
        ranked.append((2 * (not one.changes) + (one.kind in known), one))
        known.add(one.kind)
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]


def _lot(seed: int, one: Seen, action: Action | None = None) -> float:
    return random.Random(f"{seed} {one.kind} {one.aim.nth} {action}").random()


def _kills(expected: Expected, seed: int, then: Then) -> list[Point]:
    changing = [one for one in expected.calls if one.changes]
    return [Point(one.aim, KILL, then) for one in _ordered(changing, seed + 1)]


def _nested(expected: Expected, seed: int) -> list[Point]:
    """Killed, and killed again in the run that follows, which has about as many calls."""
    chance, count = random.Random(seed + 2), len(expected.calls)
    firsts = chance.choices([one for one in expected.calls if one.changes], k=NESTED)
    return [
        Point(one.aim, KILL, chance.choice(("again", "again", "late")), (Aim(chance.randrange(count)), KILL))
        for one in firsts
    ]


def _errors(expected: Expected, seed: int) -> list[Point]:
    """Every failure of every call; first one call of each sort."""
    known = set[tuple[str, Action]]()
    ranked = []
    for one in sorted(expected.calls, key=lambda one: _lot(seed + 3, one)):
        for action in one.failures:
            rank = 2 * (not one.changes) + ((one.kind, action) in known)
            ranked.append((rank, _lot(seed + 3, one, action), one.aim, action))
            known.add((one.kind, action))
    return [Point(aim, action) for *_, aim, action in sorted(ranked, key=lambda row: row[:2])]


def _full(expected: Expected, seed: int) -> list[Point]:
    """A disk that is full from some call on."""
    full = Action("fail", ENOSPC)
    calls = [one for one in _ordered(expected.calls, seed + 4) if full in one.failures]
    return [Point(one.aim, full, lasting=True) for one in calls]


def _power(stage: Stage, expected: Expected, seed: int) -> Iterator[tuple[str, Play]]:
    """The power is gone before each call that changes something, and each disk that this may leave.

    The cuts take turns, so that a short time sees many of them.
    """
    cuts = [one.aim for one in _ordered((one for one in expected.calls if one.changes), seed + 5)]
    chance, known, rows = random.Random(seed + 5), set[int](), list[tuple[Aim, list[Play]]]()
    for aim in cuts:
        row = list(losses(stage, expected, aim, seed, SAMPLES, known))
        chance.shuffle(row)
        rows.append((aim, row))
        if row:
            yield str(aim), row.pop()
    while any(row for _, row in rows):
        for aim, row in rows:
            if row:
                yield str(aim), row.pop()
