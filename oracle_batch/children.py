"""The runs that the resident starts, each in a process of its own: whatever it does to it ends with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from oracle_batch.errors import LockHeld, StoppedError

_log = logging.getLogger(__name__)

END_S: Final = 20.0
"""How long a child that is told to end may take: longer than it puts orders that are out on record."""
NOT_STARTED: Final = os.EX_OSERR
"""What stands for the exit code of a child that the system did not start."""


def command(home: Path, options: Sequence[str], what: str, *arguments: str) -> list[str]:
    """The command line of a child: this program, for the same workspace and with the same global options."""
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), *options, what, *arguments]


class Children:
    """One child at a time. ``run`` is one thread's, ``end`` another's."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self, line: Sequence[str], timeout_s: float, what: str) -> int:
        """Run a child to its end, bounded in time; returns its exit code, negative where a signal ended it.

        The child has a session of its own: Ctrl-C reaches the resident alone. One that takes too long is told to end,
        which it does once its orders are on record, and is killed if it does not. After ``end`` none is started.
        """
        with self._starting:
            if self._ending:
                return StoppedError.exit_code
            try:
                child = subprocess.Popen(line, start_new_session=True)  # noqa: S603
            except OSError as error:
                _log.error("the %s could not be started: %s", what, error)
                return NOT_STARTED
            self._running = child
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.error("the %s was told to end after %.0f s", what, timeout_s)
            code = _end(child)
        self._running = None
        self._tell(code, what)
        return code

    def end(self) -> None:
        """Tell the running child to end, and see that it does; start none any more."""
        with self._starting:
            self._ending = True
            child = self._running
        if child is not None:
            _end(child)

    def _tell(self, code: int, what: str) -> None:
        if self._ending and code in (StoppedError.exit_code, -signal.SIGTERM):
            _log.info("the %s ended as it was told to", what)
        elif code == LockHeld.exit_code:
            if what == "tick":
                _log.warning("another run held the lock; this bar close was left to it")
        elif code < 0:
            _log.error("the %s was ended by %s", what, _name(-code))
        elif code:
            _log.error("the %s ended with exit code %d", what, code)


def _end(child: subprocess.Popen[bytes]) -> int:
    """Tell a child to end and kill it if it does not; its exit code."""
    child.terminate()
    try:
        return child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
