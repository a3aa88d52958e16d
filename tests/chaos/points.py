"""One point: a tick that is disturbed, the runs that follow it, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.chaos import judge
from tests.chaos.calls import Call
from tests.chaos.judge import Picture, Verdict
from tests.chaos.kinds import changes, failures, kind_of, needs_room
from tests.chaos.ptrace import Action, End, plain, traced
from tests.chaos.stage import LIMIT_S, Scene, Stage

RUNS: Final = 4
"""How many runs may follow a disturbed one until everything is settled."""
Then = Literal["again", "late", "next"]
"""The run that follows: within the deadline, after it, or at the next bar."""


@dataclass(frozen=True)
class Aim:
    """The n-th call of a kind (from 0), or of any: runs differ a little in how they wait for the network."""

    nth: int
    kind: str | None = None


@dataclass(frozen=True)
class Seen:
    """One call of the undisturbed tick."""

    aim: Aim
    kind: str
    changes: bool
    failures: tuple[Action, ...]


@dataclass(frozen=True)
class Point:
    """A disturbance of one call, perhaps another one of the run that follows, and when that run is."""

    aim: Aim
    action: Action
    then: Then = "again"
    recovery: tuple[Aim, Action] | None = None
    lasting: bool = False
    """Whether every later call that writes fails as well: the disk stays full."""


@dataclass
class Outcome:
    """What came of a point."""

    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    recoveries: int = 0
    met: int = 0
    """How many of its disturbances the runs came to."""


@dataclass(frozen=True)
class Expected:
    """What the undisturbed runs came to: this bar, and the bar after it."""

    again: Picture
    next_bar: Picture
    entries: dict[str, int]
    calls: tuple[Seen, ...]


def undisturbed(stage: Stage) -> Expected:
    """Run the tick, noting its calls, and the next bar's."""
    seen: list[Seen] = []
    kinds: Counter[str] = Counter()

    def note(call: Call) -> None:
        kind = kind_of(call)
        seen.append(Seen(Aim(kinds[kind], kind), kind, changes(call), tuple(failures(call))))
        kinds[kind] += 1

    scene = stage.play()
    try:
        before = judge.entries(scene.market.state())
        _came_through(scene, traced(scene.first(), note, LIMIT_S))
        state = scene.market.state()
        again = judge.picture(scene, state)
        problems = [*judge.whole(scene, state), *judge.sent_unrecorded(scene, state)]
        assert not problems, problems
        entries = judge.entries(state) - before
        scene.market.advance(stage.next_bar)
        _came_through(scene, plain(scene.tick(stage.next_bar), LIMIT_S))
        return Expected(again, judge.picture(scene, scene.market.state()), dict(entries), tuple(seen))
    finally:
        scene.close()


def _came_through(scene: Scene, end: End) -> None:
    assert end == End(0), f"the undisturbed tick ended with {end}: {scene.log.read_text()}"


class Disturbance:
    """What becomes of each call of a run: the one aimed at meets the action.

    With ``lasting`` each later one that needs room does, too. ``reached`` says whether it came to that.
    """

    def __init__(self, aim: Aim, action: Action, *, lasting: bool = False) -> None:
        self.reached = False
        self._aim, self._action, self._lasting, self._left = aim, action, lasting, aim.nth

    def __call__(self, call: Call) -> Action | None:
        if self.reached:
            return self._action if self._lasting and needs_room(call) else None
        if self._aim.kind is not None and self._aim.kind != kind_of(call):
            return None
        self._left -= 1
        self.reached = self._left < 0
        return self._action if self.reached else None


def tried(stage: Stage, expected: Expected, point: Point) -> Outcome:
    """Play a point and judge it."""
    scene, outcome = stage.play(), Outcome()
    try:
        outcome.verdict = _verdict(scene, expected, point, outcome)
    finally:
        scene.close()
    return outcome


def _verdict(scene: Scene, expected: Expected, point: Point, outcome: Outcome) -> Verdict:
    stage, market, wrong = scene.stage, scene.market, list[str]()
    disturbance = Disturbance(point.aim, point.action, lasting=point.lasting)
    end = _run(scene, scene.first(), disturbance, outcome)
    state = market.state()
    wrong += judge.sent_unrecorded(scene, state)
    sent = judge.entries(state)
    if end.code == 0:
        wrong += [f"exit code 0, but {one}" for one in judge.same(expected.again, judge.picture(scene, state))]
    now = {"again": stage.now, "late": stage.later, "next": stage.next_bar}[point.then]
    market.advance(now)
    if point.recovery is not None:
        _run(scene, scene.tick(now), Disturbance(*point.recovery), outcome)
        state = market.state()
        wrong += judge.sent_unrecorded(scene, state)
    wrong += settle(scene, now, outcome)
    return judged(scene, expected, point.then, sent, wrong)


def _run(scene: Scene, tick: Callable[[], int], disturbance: Disturbance, outcome: Outcome) -> End:
    end = traced(tick, disturbance, LIMIT_S)
    outcome.kills += end.code < 0
    outcome.met += disturbance.reached
    return end


def settle(scene: Scene, now: float, outcome: Outcome) -> list[str]:
    """Run until a run says that all is well; what is wrong if none does."""
    end = End(0)
    for _ in range(RUNS):
        end = plain(scene.tick(now), LIMIT_S)
        scene.market.state()
        outcome.recoveries += 1
        if end.code == 0:
            return []
    return [f"still exit code {end.code} after {RUNS} runs{' (hung)' if end.hung else ''}: {_tail(scene.log)}"]


def judged(scene: Scene, expected: Expected, then: Then, sent: dict[str, int], wrong: list[str]) -> Verdict:
    """The verdict on a scene that is settled; ``sent`` are the entries that had arrived before the last runs."""
    state = scene.market.state()
    try:
        found = judge.picture(scene, state)
        wrong += judge.whole(scene, state)
    except (OSError, ValueError, KeyError) as error:
        return Verdict((*wrong, f"unreadable: {error}"))
    filled = judge.entries(state)
    twice = sum(filled[entry] > volume for entry, volume in expected.entries.items())
    lost = 0
    if then == "again":
        wrong += judge.same(expected.again, found)
        lost = len(set(map(repr, expected.again.deals)) - set(map(repr, found.deals)))
    else:
        lost = _in_part(scene, expected, then, found, wrong, sent, filled)
    return Verdict(tuple(wrong), twice, lost)


def _in_part(
    scene: Scene,
    expected: Expected,
    then: Then,
    found: Picture,
    wrong: list[str],
    sent: dict[str, int],
    filled: dict[str, int],
) -> int:
    """After the deadline: what had been sent stands, nothing was sent late, closes are done, twins as ever."""
    whole_picture = expected.again if then == "late" else expected.next_bar
    never = {entry for entry in expected.entries if not sent.get(entry)}
    wrong += [f"{entry} was sent late" for entry in never if filled.get(entry)]
    wrong += judge.abandoned(scene, never)
    if whole_picture.files != found.files:
        wrong.append("twins or windows differ")
    labels = {f"oracle:{entry.removeprefix('ob-').rsplit('-', 2)[0]}" for entry in never}
    positions = tuple(one for one in whole_picture.positions if one[0] not in labels)
    if positions != found.positions:
        wrong.append(f"positions {found.positions}, not {positions}")
    closes = {one for one in whole_picture.deals if one[-1]} - set(found.deals)
    return len(closes)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]
