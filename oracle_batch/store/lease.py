"""Two machines on one folder: the second is refused while the first may still be at work.

The lock keeps two runs of one machine apart; on a folder that machines share it may not hold. So each run also leaves a
lease beside the lock, made in one step that succeeds for one run only, and names in it the machine, as it was started,
and the time. A run that ends takes its own away. A lease that was left behind by this machine is void, whether it was
started anew since or its lock is free; one by another machine counts until no run that is bounded can be alive any
more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.clock import SystemClock
from oracle_batch.errors import LockHeld
from oracle_batch.store.files import FILE_MODE, TEMP_SUFFIX, state_error
from oracle_batch.types import LONGEST_RUN_S, utc

LAPSES_S: Final = LONGEST_RUN_S + 60.0
"""Longer than any run: the watchdog ends one 15 s after its longest deadline, and clocks may be apart a little."""
SETTLE_S: Final = 1.0
"""How long a lease that took the place of a lapsed one has to stand: a third machine may have seen that one, too."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID: Final = Path("/etc/machine-id")


class Lease(msgspec.Struct, frozen=True):
    """Which machine, since which start of it (``boot``), which process, when (Unix seconds).

    ``machine`` is the same after another start, and empty where the system has no word for it.
    """

    host: str
    boot: str
    process: int
    time: float
    machine: str = ""


def take(path: Path) -> Lease:
    """Make the lease at ``path``; call it with the lock held.

    Raises:
        LockHeld: another machine's run has it.
        StateError: the system refused.
    """
    mine = Lease(os.uname().nodename, _boot(), os.getpid(), SystemClock().now(), _machine())
    signed, lapsed = path.with_name(f".{path.name}.{os.getpid()}{TEMP_SUFFIX}"), False
    try:
        signed.touch(FILE_MODE)
        signed.write_bytes(msgspec.json.encode(mine))
        for _ in range(2):
            try:
                os.link(signed, path)
            except FileExistsError:
                lapsed = _has_lapsed(path, mine)
                path.unlink(missing_ok=True)
            else:
                if lapsed:
                    time.sleep(SETTLE_S)
                if not lapsed or _read(path) == mine:
                    return mine
                break
    except OSError as error:
        raise state_error(error, path, "take the lease") from error
    finally:
        signed.unlink(missing_ok=True)
    raise LockHeld("another machine took the lease just now", file=path, fix="run one machine only on this folder")


def give_back(path: Path, mine: Lease) -> None:
    """Take our lease away; one that another machine has put in its place stays."""
    with contextlib.suppress(OSError):  # it is void anyway as soon as the lock is free
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _has_lapsed(path: Path, mine: Lease) -> bool:
    """Whether a lease that is in the way may be void to other machines as well; otherwise it was left by this one.

    Raises:
        LockHeld: it is in force.
    """
    other = _read(path)
    if other is None:
        return True
    if other.boot == mine.boot or (mine.machine and (other.host, other.machine) == (mine.host, mine.machine)):
        return False
    if abs(mine.time - other.time) < LAPSES_S:
        until = utc(other.time + LAPSES_S)
        raise LockHeld(
            f"a run on {other.host} (process {other.process}, since {utc(other.time)}) works on this folder",
            file=path,
            fix=f"run one machine only on a folder; if that one is gone, delete the file or wait until {until}",
        )
    return True


def _read(path: Path) -> Lease | None:
    """A lease; None where it is gone, or was torn by a crash of its machine."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lease)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _boot() -> str:
    """What tells one start of one machine from any other; its name where the system has no better word."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return os.uname().nodename


def _machine() -> str:
    """What tells this machine from any other, also when it was started anew; it does not tell the system's own word."""
    try:
        return hashlib.sha256(b"oracle-batch " + _MACHINE_ID.read_bytes().strip()).hexdigest()
    except OSError:
        return ""
