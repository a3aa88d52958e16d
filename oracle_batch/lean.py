"""What keeps a short process small and short: settings that NumPy and Arrow read when imported, and a quick end."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

LEAN = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""One BLAS thread (the matrices are tiny) and the system's allocator for Arrow (20 MB less than its own)."""


def be_lean() -> None:
    """Apply what the operator has not set otherwise."""
    for name, value in LEAN.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def absent(module: str) -> Iterator[None]:
    """Imports within the block find no such module, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def leave(code: int) -> NoReturn:
    """End the process now. Taking the interpreter apart module by module would cost a tenth of a short run."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
