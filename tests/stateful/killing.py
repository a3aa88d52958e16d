"""A process that dies at one of its system calls: it has not happened, or a part of it, and none after it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

CALLS = ("write", "replace", "unlink", "link", "ftruncate")
"""What changes a file that outlives the process."""


class DeadError(BaseException):
    """Stands for a process that is gone: nothing catches it, and nothing after it reaches the disk."""


class Guillotine:
    """Counts the calls that change files, and ends the run at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passed: list[str] = []
        self._at: int | None = None
        self._share = 0.0
        self._dead = ""
        for name in CALLS:
            patch.setattr(os, name, self._guarded(name, getattr(os, name)))

    def run(self, work: Callable[[], Any], at: int | None, share: float = 0.0) -> str | None:
        """Do the work, and die before call ``at``, or in it, so much written; gives it, None if it came through."""
        self.passed, self._at, self._share, self._dead = [], at, share, ""
        try:
            work()
        except DeadError:
            return self._dead
        finally:
            self._at, self._dead = None, ""
        return None

    def _guarded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._dead:
                raise DeadError(self._dead)
            self.passed.append(name)
            if self._at is None or len(self.passed) != self._at + 1:
                return real(*arguments, **options)
            torn = self._share > 0 and name == "write"
            self._dead = f"{'in' if torn else 'before'} {name} {self._at}"
            if torn:
                descriptor, data = arguments
                real(descriptor, bytes(data)[: int(len(data) * self._share)])
            raise DeadError(self._dead)

        return call
