"""A disk that fails on demand: system calls are counted, recorded, and one of them refused."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "write", "fsync", "replace", "ftruncate")


@dataclass
class Disk:
    """Records the calls under ``folder`` as ``(call, file name)``; call number ``fail_at`` raises ``code``."""

    folder: Path
    fail_at: int | None = None
    code: int = errno.ENOSPC
    only: str | None = None
    log: list[tuple[str, str]] = field(default_factory=list)
    failed: bool = False
    seen: int = 0
    _names: dict[int, str] = field(default_factory=dict)

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any, **options: Any) -> Any:
            path = self._names.get(target) if isinstance(target, int) else os.fspath(target)
            if path is None or not str(path).startswith(str(self.folder)):
                return real(target, *rest, **options)
            self.log.append((name, Path(path).name))
            if self.only in (None, name):
                self.seen += 1
                if self.fail_at is not None and self.seen == self.fail_at:
                    self.failed = True
                    raise OSError(self.code, os.strerror(self.code), str(path))
            result = real(target, *rest, **options)
            if name == "open":
                self._names[result] = str(path)
            return result

        return call


@pytest.fixture
def disk(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Disk]]:
    """``with disk(fail_at=2, code=errno.EIO) as d:`` patches the calls for that block."""

    @contextlib.contextmanager
    def patched(**options: Any) -> Iterator[Disk]:
        faulty = Disk(tmp_path, **options)
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, faulty.wrap(name, getattr(os, name)))
            yield faulty

    return patched
