"""System calls on one append-only file: add durably or not at all, look at its end, cut it, read a part."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final, NoReturn

from oracle_batch import trace
from oracle_batch.errors import StateError
from oracle_batch.store.files import FILE_MODE, refuse_unsafe, state_error

_BLOCK: Final = 65536


def append(path: Path, batch: bytes, known_size: int | None = None) -> int:
    """Add bytes with one write and one fsync, creating the file if need be; returns the file's new size.

    Raises:
        StateError: the system refused, the file is not ours alone, or it has not the size that it is known to have.
            What was written has been taken back, or was reported as a torn line by ``last_line`` where even that was
            refused.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            status = os.fstat(descriptor)
            refuse_unsafe(path, status)
            if known_size is not None and status.st_size != known_size:
                _refuse_stranger(path, status.st_size, known_size)
            _write_all(descriptor, batch, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise state_error(error, path, "append") from error
    return status.st_size + len(batch)


def _refuse_stranger(path: Path, size: int, known_size: int) -> NoReturn:
    raise StateError(
        f"has {size} bytes and had {known_size}: somebody else has written to it since this run looked",
        file=path,
        fix="run one machine only on this folder; then run it again",
    )


def _write_all(descriptor: int, batch: bytes, size_before: int) -> None:
    try:
        view = memoryview(batch)
        while view:
            view = view[os.write(descriptor, view) :]
        began = time.monotonic()
        os.fsync(descriptor)
        trace.span("fsync", began, time.monotonic(), "disk")
    except OSError:
        with contextlib.suppress(OSError):  # the first error is the one to tell; the next run cuts a torn line off
            os.ftruncate(descriptor, size_before)
            os.fsync(descriptor)
        raise


def last_line(path: Path) -> tuple[int, bytes]:
    """Where a file's last line starts, and that line with its newline if it has one. Reads only the file's end.

    Raises:
        StateError: unreadable, or not ours alone.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            refuse_unsafe(path, status)
            start, end = status.st_size, b""
            while start > 0 and b"\n" not in end[:-1]:
                step = min(_BLOCK, start)
                start -= step
                file.seek(start)
                end = file.read(step) + end
    except OSError as error:
        raise state_error(error, path, "read") from error
    line = end[end[:-1].rfind(b"\n") + 1 :]
    return status.st_size - len(line), line


def truncate(path: Path, size: int) -> None:
    """Cut a file durably.

    Raises:
        StateError: the system refused.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise state_error(error, path, "cut off the torn last line") from error


def size_of(path: Path) -> int:
    """Bytes in a file.

    Raises:
        StateError: the system refused.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise state_error(error, path, "look at") from error


def read_between(path: Path, start: int, end: int) -> bytes:
    """The bytes from ``start`` up to ``end``.

    Raises:
        StateError: the system refused, or the file is not ours alone.
    """
    try:
        with path.open("rb") as file:
            refuse_unsafe(path, os.fstat(file.fileno()))
            file.seek(start)
            return file.read(end - start)
    except OSError as error:
        raise state_error(error, path, "read") from error
