"""A run's state on disk, so that it can be resumed: arrays and JSON in one ``.npz``, nothing that could run."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from oracle_batch.bundle.model import TrainingCosts
from oracle_batch.errors import StateError
from oracle_batch.store.files import remove, replace_atomically
from oracle_batch.training.fit import State
from oracle_batch.training.parameters import V1, TrainingParameters

SCHEMA: Final = 1
_TREE: Final = "tree"


def identity_of(parameters: TrainingParameters, costs: TrainingCosts, bars_sha256: str, seed: int) -> str:
    """What a run's result depends on, as one hash."""
    given = msgspec.to_builtins(parameters)
    if parameters.features == V1:
        del given["features"]  # they were no parameter once: a training of then is still the same one
    told = msgspec.json.encode([SCHEMA, given, msgspec.to_builtins(costs), bars_sha256, seed])
    return hashlib.sha256(told).hexdigest()


def encode(state: State, identity: str) -> bytes:
    """The state as the bytes of an ``.npz``."""
    arrays: dict[str, Any] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value
            return {"array": f"a{len(arrays) - 1}"}
        if isinstance(value, dict):
            return {"dict": {name: plain(part) for name, part in value.items()}}
        if isinstance(value, (list, tuple)):
            return [plain(part) for part in value]
        return value.item() if isinstance(value, np.generic) else value

    tree = json.dumps({"schema": SCHEMA, "identity": identity, "state": plain(state)})
    arrays[_TREE] = np.frombuffer(tree.encode(), np.uint8)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def decode(data: bytes, identity: str, file: Path) -> State:
    """The state that :func:`encode` wrote.

    Raises:
        StateError: damaged, or of a run with other bars, costs, parameters or seed.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        tree = json.loads(found[_TREE].tobytes())
        same = tree["schema"] == SCHEMA and tree["identity"] == identity
        state = _whole(tree["state"], found) if same else None
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise StateError(f"is damaged: {error}", file=file, fix="train without --resume") from None
    if not isinstance(state, dict):
        raise StateError(
            "belongs to a training with other bars, costs, parameters or seed",
            file=file,
            field="identity",
            fix="give the same again, or train without --resume",
        )
    return state


def _whole(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {name: _whole(part, arrays) for name, part in value["dict"].items()}
    if isinstance(value, list):
        return [_whole(part, arrays) for part in value]
    return value


class Checkpoints:
    """The states of the runs of one model, in a folder of their own below ``--out``."""

    def __init__(self, out: Path, model_id: str) -> None:
        self.folder = out / ".training" / model_id

    def path(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}.npz"

    def save(self, seed: int, data: bytes) -> None:
        """Replace a run's state in one piece."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_atomically(self.path(seed), data)

    def load(self, seed: int) -> bytes | None:
        """A run's state, None where there is none."""
        path = self.path(seed)
        return path.read_bytes() if path.is_file() else None

    def clear(self) -> None:
        """Forget all of them: the bundle is written."""
        for path in sorted(self.folder.glob("seed-*.npz")):
            remove(path)
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
