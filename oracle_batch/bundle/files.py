"""Bundles as files: which there are, and their bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from oracle_batch.errors import BundleError

MAX_BUNDLE_BYTES: Final = 32 * 1024 * 1024


def bundle_paths(folder: Path) -> list[Path]:
    """The bundles in a folder, by name.

    Raises:
        BundleError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", file=folder, fix="give this user access") from None
    return [path for path in paths if path.suffix == ".zip" and not path.name.startswith(".")]


def read_file(path: Path) -> bytes:
    """A bundle's bytes, never more than a bundle may have.

    Raises:
        BundleError: missing, unreadable, no regular file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BundleError("is not a regular file", file=path, fix="give a bundle, SYMBOL_TF.zip")
            data = file.read(min(status.st_size, MAX_BUNDLE_BYTES) + 1)
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", file=path, fix="check path and permissions") from None
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"has more than {MAX_BUNDLE_BYTES} bytes", file=path, fix="no bundle is that large")
    return data
