"""What backtests have said of bundles, ``state/verdicts/MODEL.jsonl``: one JSON object a line, only ever added to."""

from __future__ import annotations

import msgspec

from oracle_batch.errors import StateError
from oracle_batch.store.files import read_bytes, state_error
from oracle_batch.store.workspace import Workspace


class Verdict(msgspec.Struct, frozen=True):
    """One look at a bundle's unseen bars. ``time`` and ``unseen_from`` are Unix seconds; ``edge``: it showed one."""

    time: float
    model: str
    bundle_sha256: str
    edge: bool
    verdict: str
    unseen_from: int | None
    last_bar: int


def read(workspace: Workspace, model: str) -> list[Verdict]:
    """Everything that was said of a model's bundles, oldest first.

    Raises:
        StateError: a line is damaged.
    """
    path = workspace.verdict_path(model)
    data = read_bytes(path)
    try:
        return msgspec.json.Decoder(Verdict).decode_lines(data) if data else []
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(
            f"holds a line that is no verdict: {error}", file=path, fix="repair it, or remove it"
        ) from None


def latest(workspace: Workspace, model: str, bundle_sha256: str) -> Verdict | None:
    """The newest verdict on one bundle, None where it was never judged.

    Raises:
        StateError: the record is damaged.
    """
    found = [one for one in read(workspace, model) if one.bundle_sha256 == bundle_sha256]
    return found[-1] if found else None


def record(workspace: Workspace, verdict: Verdict) -> None:
    """Add a verdict.

    Raises:
        StateError: the system refused.
    """
    path = workspace.verdict_path(verdict.model)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(msgspec.json.Encoder().encode_lines([verdict]))
    except OSError as error:
        raise state_error(error, path, "write") from error
