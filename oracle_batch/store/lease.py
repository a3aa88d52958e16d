"""Two machines on one folder: the second is refused while the first may still be at work.

The lock keeps two runs of one machine apart; on a folder that machines share it may not hold. So each run also leaves a
lease beside the lock, made in one step that succeeds for one run only, and names in it the machine, as it was started,
and the time. A run that ends takes it away. A lease that was left behind by this machine is void, since its lock is
free; one by another machine counts until no run that is bounded can be alive any more.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.clock import SystemClock
from oracle_batch.errors import LockHeld
from oracle_batch.store.files import FILE_MODE, TEMP_SUFFIX, state_error
from oracle_batch.types import LONGEST_RUN_S, utc

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Lease(msgspec.Struct, frozen=True):
    """Which machine, since which start of it (``boot``), which process, when (Unix seconds)."""

    host: str
    boot: str
    process: int
    time: float


def take(path: Path) -> None:
    """Make the lease at ``path``; call it with the lock held.

    Raises:
        LockHeld: another machine's run has it.
        StateError: the system refused.
    """
    mine = Lease(os.uname().nodename, _boot(), os.getpid(), SystemClock().now())
    signed = path.with_name(f".{path.name}.{os.getpid()}{TEMP_SUFFIX}")
    try:
        signed.touch(FILE_MODE)
        signed.write_bytes(msgspec.json.encode(mine))
        for _ in range(2):
            try:
                os.link(signed, path)
            except FileExistsError:
                _refuse_living(path, mine)
                path.unlink(missing_ok=True)
            else:
                return
    except OSError as error:
        raise state_error(error, path, "take the lease") from error
    finally:
        signed.unlink(missing_ok=True)
    raise LockHeld("another machine took the lease just now", file=path, fix="run one machine only on this folder")


def give_back(path: Path) -> None:
    """Take our lease away."""
    with contextlib.suppress(OSError):  # it is void anyway as soon as the lock is free
        path.unlink(missing_ok=True)


def _refuse_living(path: Path, mine: Lease) -> None:
    try:
        other = msgspec.json.decode(path.read_bytes(), type=Lease)
    except (OSError, msgspec.DecodeError):
        return  # torn by a crash of the machine, or gone
    if other.boot != mine.boot and abs(mine.time - other.time) < LONGEST_RUN_S:
        until = utc(other.time + LONGEST_RUN_S)
        raise LockHeld(
            f"a run on {other.host} (process {other.process}, since {utc(other.time)}) works on this folder",
            file=path,
            fix=f"run one machine only on a folder; if that one is gone, delete the file or wait until {until}",
        )


def _boot() -> str:
    """What tells one start of one machine from any other; its name where the system has no better word."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return os.uname().nodename
