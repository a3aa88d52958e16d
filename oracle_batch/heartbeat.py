"""``state/heartbeat.json``: that ``oracle-batch run`` is alive, and when it wakes next; and that it is the only one.

The file is written about twice a minute, in one piece and without an fsync: after a power cut nobody needs it. A
resident that ends in order takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from oracle_batch.errors import LockHeld
from oracle_batch.store.files import FILE_MODE, state_error

SCHEMA: Final = 1
BEAT_S: Final = 30.0
SILENT_S: Final = 150.0
"""A heart that has not beaten for so long has stopped."""


class Ended(msgspec.Struct, frozen=True):
    """A child that has ended: its exit code (negative: the signal that ended it), and how long it ran."""

    at: float
    exit_code: int
    seconds: float


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The resident at ``beat_at``. All instants are Unix seconds; ``next_tick`` is when a child is started next."""

    schema: int = SCHEMA
    process: int
    started_at: float
    beat_at: float
    next_tick: float | None = None
    running: Literal["tick", "guard"] | None = None
    ticks: int = 0
    guards: int = 0
    last_tick: Ended | None = None
    last_guard: Ended | None = None

    def is_stale(self, now: float) -> bool:
        """Whether nothing has been heard for longer than there ever is between two beats."""
        return now - self.beat_at > SILENT_S


def write(path: Path, beat: Heartbeat) -> None:
    """Replace the file.

    Raises:
        OSError: the system refused.
    """
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temp.write_bytes(msgspec.json.encode(beat) + b"\n")
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


def read(path: Path) -> Heartbeat | None:
    """The newest beat; None when nothing resident has left one that can be read."""
    try:
        beat = msgspec.json.decode(path.read_bytes(), type=Heartbeat)
    except (OSError, msgspec.DecodeError):
        return None
    return beat if beat.schema == SCHEMA else None


def forget(path: Path) -> None:
    """Take the file away, whoever left it."""
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Be the only resident of a workspace; the system ends that with the process. (``filelock`` would cost 5 MB here.)

    Raises:
        LockHeld: there is one; the file tells its process.
        StateError: the lock file cannot be made.
    """
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise state_error(error, lock, "lock") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            why = (
                f"`oracle-batch run` is at work here already, as process {os.pread(file, 32, 0).decode() or 'unknown'}"
            )
            raise LockHeld(why, file=lock, fix="leave it to that one, or stop it first") from error
        except OSError as error:
            raise state_error(error, lock, "lock") from error
        with contextlib.suppress(OSError):  # only for others to know
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)
