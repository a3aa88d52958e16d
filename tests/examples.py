"""How many examples a property is tried on."""

from __future__ import annotations

import os
from typing import Final

LONG: Final = bool(os.environ.get("TESTS_LONG"))
"""``make test-long``: nobody waits for it."""


def examples(few: int, many: int) -> int:
    """``few`` where every change waits for the tests, ``many`` where nobody does."""
    return many if LONG else few
