"""The state folder's lock: one run at a time. The system releases it when its owner dies, however it dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout

from oracle_batch.bounded import watchdog
from oracle_batch.clock import SystemClock
from oracle_batch.errors import LockHeld
from oracle_batch.store import lease
from oracle_batch.store.files import FILE_MODE, state_error
from oracle_batch.types import LONGEST_RUN_S, utc

LEASE_NAME: Final = "lease"
Role = Literal["run", "guard"]
POLL_S: Final = 0.05
OPERATOR_TIMEOUT_S: Final = 60.0
"""How long an operator's command waits for a running tick."""


@contextlib.contextmanager
def hold(path: Path, *, timeout_s: float = 0.0, role: Role = "run", guard_s: float = 0.0) -> Iterator[None]:
    """Hold the lock within a ``with`` block; a tick does not wait, an operator's command waits ``timeout_s``.

    A holder whose ``role`` is "guard" is waited for ``guard_s`` longer: it is short, and must not cost a bar close.

    Raises:
        LockHeld: another run has it, here or on another machine; the message says which, as far as is known.
        StateError: the lock file cannot be made.
    """
    lock = FileLock(path, mode=FILE_MODE)
    try:
        try:
            lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
        except Timeout:
            if not guard_s or not _is_guards(path):
                raise
            lock.acquire(timeout=guard_s, poll_interval=POLL_S)
    except Timeout as error:
        raise LockHeld(f"{_owner(path)} holds the lock", file=path, fix="wait until it has ended") from error
    except OSError as error:
        raise state_error(error, path, "lock") from error
    lease_path = path.with_name(LEASE_NAME)
    try:
        _write_owner(path, role)
        mine = lease.take(lease_path)
        try:
            with watchdog(LONGEST_RUN_S):
                yield
        finally:
            lease.give_back(lease_path, mine)
    finally:
        lock.release()


def _write_owner(path: Path, role: Role) -> None:
    with contextlib.suppress(OSError):  # only for others to know; a full disk must not stop a tick here
        path.write_text(f"{os.getpid()} {utc(SystemClock().now())} {role}\n")


def _is_guards(path: Path) -> bool:
    try:
        return path.read_text().endswith(" guard\n")
    except (OSError, ValueError):
        return False


def _owner(path: Path) -> str:
    try:
        process, _, rest = path.read_text().strip().partition(" ")
        since = rest.rpartition(" ")[0]
    except (OSError, ValueError):
        return "another run"
    return f"process {process} (since {since})" if process.isdigit() and since else "another run"
