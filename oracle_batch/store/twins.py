"""The twin's file, ``state/twin/MODEL.json``: what a model believes it holds, and which bundle believes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from oracle_batch.brain.twin import TwinState
from oracle_batch.errors import NeedsWarmup, StateError
from oracle_batch.store import documents
from oracle_batch.store.documents import Migration
from oracle_batch.store.files import read_bytes
from oracle_batch.types import ACTIONS, action_of

SCHEMA: Final = 1
MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType({})
HISTORY: Final = 16
"""States kept from before the newest bars, so that a revised bar can be replayed."""


class TwinFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model's twin.

    ``history`` holds the states before each of the last bars consumed, oldest first: ``history[-1]`` is the twin as it
    was before ``state.bar_time``. ``warmed_to`` is the last bar a warm-up consumed silently (Unix seconds; 0 = none).
    """

    schema: int = SCHEMA
    model: str
    bundle_sha256: str
    state: TwinState
    history: tuple[TwinState, ...] = ()
    warmed_to: int = 0


def repair(model: str) -> str:
    """What to do about a file of a model's that cannot be used: its twin, or its window."""
    return f"move the file away and run `oracle-batch warmup {model}`"


def load(
    path: Path,
    model: str,
    bundle_sha256: str,
    *,
    schema: int = SCHEMA,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> TwinFile | None:
    """The twin of a model, or None when it has none yet.

    Raises:
        NeedsWarmup: the twin was made by another bundle.
        StateError: damaged, of another model or a newer schema, or a value that no twin can have.
    """
    data = read_bytes(path)
    if data is None:
        return None
    twin = documents.decode(data, TwinFile, schema=schema, migrations=migrations, file=path, fix=repair(model))
    if twin.model != model:
        raise StateError(f"is the twin of {twin.model}, not of {model}", file=path, field="model", fix=repair(model))
    check(twin, file=path)
    if twin.bundle_sha256 != bundle_sha256:
        raise NeedsWarmup(
            f"made by another bundle (SHA-256 {twin.bundle_sha256[:12]}…, models/ has {bundle_sha256[:12]}…)",
            file=path,
            field="bundle_sha256",
            fix=f"run `oracle-batch warmup {model}`",
        )
    return twin


def encode(twin: TwinFile) -> bytes:
    """The file's bytes.

    Raises:
        StateError: a value that no twin can have; nothing impossible is ever written.
    """
    check(twin, file=f"twin of {twin.model}")
    return documents.encode(twin)


def check(twin: TwinFile, *, file: object) -> None:
    """Refuse what no replay of bars can lead to.

    Raises:
        StateError: naming the field.
    """
    for field, state in [("state", twin.state), *((f"history[{i}]", old) for i, old in enumerate(twin.history))]:
        for name, why in _impossible(state):
            raise StateError(why, file=file, field=f"{field}.{name}", fix=repair(twin.model))
    times = [state.bar_time for state in (*twin.history, twin.state)]
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise StateError("bar times do not increase", file=file, field="history", fix=repair(twin.model))
    if len(twin.history) > HISTORY:
        raise StateError(f"holds more than {HISTORY} states", file=file, field="history", fix=repair(twin.model))
    if not 0 <= twin.warmed_to <= twin.state.bar_time:
        why = f"{twin.warmed_to} is not between 0 and the last bar consumed"
        raise StateError(why, file=file, field="warmed_to", fix=repair(twin.model))


def _impossible(state: TwinState) -> list[tuple[str, str]]:
    """Field and complaint of everything about a state that cannot be."""
    flat = state.direction == 0
    money = ("entry_price", "floating_pnl", "realized_pnl")
    wrong = [(name, "is not finite") for name in money if not math.isfinite(getattr(state, name))]
    if state.direction not in (-1, 0, 1):
        wrong.append(("direction", f"{state.direction} is none of -1, 0, 1"))
    elif not (state.intensity == 0 if flat else 1 <= state.intensity <= 3):
        wrong.append(("intensity", f"{state.intensity} does not go with direction {state.direction}"))
    elif not 0 <= state.last_action < len(ACTIONS):
        wrong.append(("last_action", f"{state.last_action} is no action"))
    elif action_of(state.direction, state.intensity).index != state.last_action:
        wrong.append(("last_action", f"{state.last_action} does not lead to this position"))
    if (state.entry_price == 0) != flat or state.entry_price < 0:
        wrong.append(("entry_price", f"{state.entry_price} does not go with direction {state.direction}"))
    if flat and state.floating_pnl != 0:
        wrong.append(("floating_pnl", f"{state.floating_pnl} of a flat position"))
    if state.bar_time < 0:
        wrong.append(("bar_time", f"{state.bar_time} is negative"))
    if not (state.entry_time == 0 if flat else 0 < state.entry_time <= state.bar_time):
        wrong.append(("entry_time", f"{state.entry_time} does not go with bar {state.bar_time}"))
    if state.entry_hmm_state < -1 or (flat and state.entry_hmm_state != -1):
        wrong.append(("entry_hmm_state", f"{state.entry_hmm_state} does not go with direction {state.direction}"))
    if state.last_hmm_state < -1:
        wrong.append(("last_hmm_state", f"{state.last_hmm_state} is no regime"))
    return wrong
