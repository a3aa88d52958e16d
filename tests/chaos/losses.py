"""A tick whose power is cut: recovery from every disk that could be left."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from oracle_batch.store import lease
from oracle_batch.store.files import TEMP_SUFFIX
from tests.chaos import judge
from tests.chaos.calls import Call
from tests.chaos.judge import Verdict
from tests.chaos.points import Aim, Disturbance, Expected, Outcome, judged, settle
from tests.chaos.power import Recorder, Tree, read_tree, write_tree
from tests.chaos.ptrace import Action, traced
from tests.chaos.stage import LIMIT_S, Market, Scene, Stage


@dataclass(frozen=True)
class Loss:
    """What one cut of the power may leave: the market as it stands, and the disks that are legal."""

    market: bytes
    deals: tuple[int, ...]
    disks: tuple[Tree, ...]


class Restarted(Scene):
    """A machine that has been started anew: no lock is left of the run before, and its lease is of an earlier start."""

    def tick(self, now: float) -> Callable[[], int]:
        return partial(_restarted, super().tick(now))


def _restarted(run: Callable[[], int]) -> int:
    lease._boot = lambda: "another start of the machine"
    return run()


def cut(stage: Stage, aim: Aim, seed: int, samples: int) -> Loss:
    """Cut the power right before a call of the tick."""
    scene = stage.play(name="cut")
    try:
        recorder = Recorder(scene.home)
        dying = Disturbance(aim, Action("kill"))

        def at_call(call: Call) -> Action | None:
            action = dying(call)
            if action is None:
                recorder.note(call)
            return action

        traced(scene.first(), at_call, LIMIT_S)
        deals = tuple(one["deal_id"] for one in scene.market.state()["deals"])
        seen, real = recorder.disk.tree(), read_tree(scene.home)
        different = [path for path in seen.keys() | real.keys() if seen.get(path, "") != real.get(path, "")]
        assert not different, f"the record of the run is wrong: {different}"
        disks = tuple(recorder.disk.losses(random.Random(f"{seed} {aim}"), samples))
        scene.market.advance(stage.now)
        return Loss(scene.market.copy(), deals, disks)
    finally:
        scene.close()


def losses(
    stage: Stage, expected: Expected, aim: Aim, seed: int, samples: int, known: set[int]
) -> Iterator[Callable[[], Outcome]]:
    """A point for each disk that this cut may leave and that is not ``known``.

    Of temporary files, which a run removes before it does anything, it counts only whether there are any.
    """
    loss = cut(stage, aim, seed, samples)
    for disk in loss.disks:
        lasting = frozenset((path, data) for path, data in disk.items() if not path.endswith(TEMP_SUFFIX))
        digest = hash((loss.deals, lasting, len(lasting) < len(disk)))
        if digest not in known:
            known.add(digest)
            yield partial(recovered, stage, expected, loss.market, disk)


def recovered(stage: Stage, expected: Expected, market: bytes, disk: Tree) -> Outcome:
    """Start the machine on a disk and run until all is well."""
    home = stage.scratch / "restarted"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copytree(stage.home / "models", home / "models", copy_function=os.link)
    write_tree(home, {path: data for path, data in disk.items() if not path.startswith("models")})
    scene, outcome = Restarted(stage, home, Market(market)), Outcome(kills=1, met=1)
    try:
        state = scene.market.state()
        wrong = list(judge.sent_unrecorded(scene, state))
        wrong += settle(scene, stage.now, outcome)
        outcome.verdict = judged(scene, expected, "again", judge.entries(state), wrong)
    except OSError as error:
        outcome.verdict = Verdict((f"cannot be judged: {error}",))
    finally:
        scene.close()
    return outcome
