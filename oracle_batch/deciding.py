"""The brain's half of a run: the newest signal of every model."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from msgspec.structs import replace as with_

from oracle_batch.store import twins
from oracle_batch.think import Thought, chart, think
from oracle_batch.world import Isolated, Job, World

_log = logging.getLogger(__name__)


def decide(job: Job, world: World) -> dict[str, Thought]:
    """The newest signal of every model that has one; models without news keep the signal of their last bar."""
    courses = []
    for name, fresh in world.fresh.items():
        with Isolated(name, world):
            courses.append(chart(fresh, auto_warmup=job.settings.tick.auto_warmup))
    thoughts = checked(world, think(courses))
    for name, stored in world.stored.items():
        if name not in thoughts and name not in world.failed and stored.twin is not None:
            thoughts[name] = Thought(stored.model, stored.twin, past=stored.twin.history)
    for thought in thoughts.values():
        for event in thought.events:
            level = logging.INFO if event.name == "auto_warmup" else logging.WARNING
            _log.log(level, "%s: %s %s", event.model, event.name, event.detail)
            for desk in world.desks:
                desk.before_send.append(event)
    return thoughts


def checked(world: World, thoughts: Iterable[Thought], *, newest_only: bool = False) -> dict[str, Thought]:
    """Thoughts by model, without those whose new twin cannot be right.

    ``newest_only`` of a twin's states where those before it were read from its file, which has been checked.
    """
    found = {}
    for thought in thoughts:
        name = thought.model.model_id
        with Isolated(name, world):
            twin = with_(thought.twin, history=thought.twin.history[-1:]) if newest_only else thought.twin
            twins.check(twin, file=f"new twin of {name}")
            found[name] = thought
    return found
