"""Files replaced in one piece: after any crash a path holds the old bytes or the new ones, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from oracle_batch.errors import StateError

TEMP_SUFFIX: Final = ".tmp"
FILE_MODE: Final = 0o600
MANY: Final = 64
"""Files that are replaced one after another; more of them have their fsyncs in parallel."""
WRITERS: Final = 8

_FIXES: Final = {
    errno.ENOSPC: "free some disk space and run again",
    errno.EDQUOT: "free some of the disk quota and run again",
    errno.EFBIG: "raise the file size limit (ulimit -f) and run again",
    errno.EROFS: "remount the file system read-write, or choose another --home",
    errno.EACCES: "give this user access: chown or chmod u+rwX",
    errno.EPERM: "give this user access: chown or chmod u+rwX",
    errno.EISDIR: "a folder is where a file should be: move it away",
    errno.ENOTDIR: "a file is where a folder should be: move it away",
    errno.EIO: "the disk reports errors: check it before trading on",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def state_error(error: OSError, path: Path, what: str) -> StateError:
    """The StateError for a failed system call: file, the system's own words, and what the operator can do."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StateError(f"cannot {what}: {reason}", file=path, fix=_FIXES.get(error.errno or 0))


def replace_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: temp file beside it, fsync, rename, fsync of the folder. Mode 0600.

    Raises:
        StateError: the system refused; the old file is whole and no temp file is left.
    """
    replace_all([(path, data)])


def replace_all(items: Sequence[tuple[Path, bytes]]) -> None:
    """Replace many files, each in one piece, in the order given; every folder is fsynced once, at the end.

    All temp files are on disk before the first rename, so a full disk changes nothing at all. Renames happen in
    order; a crash between two of them leaves the first ones new and the rest old.

    Raises:
        StateError: the system refused. Before the first rename nothing has changed; no temp file is left.
    """
    waiting = deque((_temp(path, number), path) for number, (path, _) in enumerate(items))
    path = Path()
    try:
        _write_all([(temp, data) for (temp, _), (_, data) in zip(waiting, items, strict=True)])
        while waiting:
            temp, path = waiting[0]
            temp.replace(path)
            waiting.popleft()
        for folder in dict.fromkeys(path.parent for path, _ in items):
            path = folder
            sync_folder(folder)
    except _TempError as error:
        raise state_error(error.cause, items[error.place][0], "write") from error.cause
    except OSError as error:
        raise state_error(error, path, "write") from error
    finally:
        for temp, _ in waiting:
            _discard(temp)


class _TempError(Exception):
    """The temp file in that place could not be written."""

    def __init__(self, place: int, cause: OSError) -> None:
        super().__init__(place)
        self.place, self.cause = place, cause


def _temp(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{number}{TEMP_SUFFIX}")


def _write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write the temp files and have them on disk. Many go in parallel, so that the disk takes their fsyncs together.

    Raises:
        _TempError: one could not be written.
    """
    if len(files) <= MANY:
        for place in range(len(files)):
            _write_one(files, place)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            for one in [pool.submit(_write_one, files, place) for place in range(len(files))]:
                one.result()
            return
        except RuntimeError:  # the system gives no thread: one after another, then
            pass
        finally:
            pool.shutdown(cancel_futures=True)
    for place in range(len(files)):
        _write_one(files, place)


def _write_one(files: Sequence[tuple[Path, bytes]], place: int) -> None:
    try:
        _write_new(*files[place])
    except OSError as error:
        raise _TempError(place, error) from error


def _write_new(temp: Path, data: bytes) -> None:
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temp: Path) -> None:
    with contextlib.suppress(OSError):  # the error that brought us here is the one to tell; the next run cleans up
        temp.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes | None:
    """A state file's bytes, or None when there is no such file.

    Raises:
        StateError: unreadable, no regular file, or writable by everybody on this machine.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise state_error(error, path, "read") from error
    try:
        refuse_unsafe(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise state_error(error, path, "read") from error
    finally:
        os.close(descriptor)


def refuse_unsafe(path: Path, status: os.stat_result) -> None:
    """Refuse what is no regular file, or what anybody on this machine may write.

    Raises:
        StateError: naming the chmod that repairs it.
    """
    if not stat.S_ISREG(status.st_mode):
        raise StateError("is not a regular file", file=path, fix="move it away")
    if status.st_mode & stat.S_IWOTH:
        raise StateError(
            f"is writable by everybody (mode {stat.S_IMODE(status.st_mode):04o}), so nothing in it can be trusted",
            file=path,
            fix=f"look at it, then: chmod 600 {path}",
        )


def refuse_unsafe_folders(folders: Iterable[Path]) -> None:
    """Refuse folders that anybody may write: there a state file can be exchanged whatever its own mode is.

    Raises:
        StateError: naming the chmod that repairs it. Folders that do not exist are passed over.
    """
    for folder in folders:
        try:
            mode = folder.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise state_error(error, folder, "look at") from error
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StateError(
                f"is a folder writable by everybody (mode {stat.S_IMODE(mode):04o})",
                file=folder,
                fix=f"look at its files, then: chmod 700 {folder}",
            )


def clean_temps(folder: Path) -> int:
    """Remove temp files that a killed run left in a folder; returns how many. Call it under the lock.

    Raises:
        StateError: a leftover cannot be removed.
    """
    removed = 0
    try:
        leftovers = [path for path in folder.iterdir() if path.name.startswith(".") and path.name.endswith(TEMP_SUFFIX)]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise state_error(error, folder, "list") from error
    for leftover in leftovers:
        try:
            leftover.unlink()
        except OSError as error:
            raise state_error(error, leftover, "remove the stale temp file") from error
        removed += 1
    return removed


def remove(path: Path) -> None:
    """Delete a file, durably; one that is not there is fine.

    Raises:
        StateError: the system refused.
    """
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise state_error(error, path, "remove") from error
