"""Settings that keep a short process small; they must be in place before NumPy and Arrow are imported."""

from __future__ import annotations

import os

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
