"""Writing what a run has changed: bars, then twins, then books. Bars may be ahead of a twin, never behind it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from oracle_batch.bars import Bars
from oracle_batch.errors import StateError
from oracle_batch.store import twins, windows
from oracle_batch.store.files import replace_all
from oracle_batch.store.windows import Window
from oracle_batch.think import Fresh, Thought
from oracle_batch.world import Job, World

_log = logging.getLogger(__name__)


def commit(job: Job, world: World, thoughts: Mapping[str, Thought]) -> None:
    """Write what changed; a file that cannot be written fails its model, books that cannot be, their account.

    Raises:
        StateError: the books of the last account cannot be written.
    """
    if job.dry_run:
        return
    world.take_in_newest()
    workspace, source = job.workspace, job.settings.accounts[0].source
    changed = {name: thoughts[name] for name in world.fresh if name in thoughts}
    lost = _replace_each({name: (workspace.bars_path(name), _window(world.fresh[name], source)) for name in changed})
    kept = {name: (workspace.twin_path(name), twins.encode(changed[name].twin)) for name in changed if name not in lost}
    lost |= _replace_each(kept)
    for desk in world.desks:
        for name, error in lost.items():
            desk.fail(name, error, changed[name])
    files, refused = dict[str, tuple[Path, bytes]](), dict[str, StateError]()
    for desk in world.desks:
        try:
            if file := desk.unwritten():
                files[desk.name] = file
        except StateError as error:
            refused[desk.name] = error
    refused |= _replace_each(files)
    for desk in [one for one in world.desks if one.name in refused]:
        world.give_up(desk, refused[desk.name])


def _replace_each(files: Mapping[str, tuple[Path, bytes]]) -> dict[str, StateError]:
    """Replace the files of all models together; if the system refuses, one by one, and return who lost out."""
    try:
        replace_all(list(files.values()))
    except StateError as error:
        _log.error("%s; writing what can be written", error)
    else:
        return {}
    lost = {}
    for name, file in files.items():
        try:
            replace_all([file])
        except StateError as error:
            lost[name] = error
    return lost


def _window(fresh: Fresh, source: str) -> bytes:
    bars: Bars = fresh.bars
    return windows.encode(Window(bars, source), fresh.model.symbol, fresh.model.timeframe)
