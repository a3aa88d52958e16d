"""The runs that the resident starts, each in a process of its own: whatever it does to it ends with it."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from oracle_batch.errors import LockHeld

_log = logging.getLogger(__name__)

END_S: Final = 20.0
"""How long a child that is told to end may take: longer than it puts orders that are out on record."""


def command(home: Path, options: Sequence[str], what: str, *arguments: str) -> list[str]:
    """The command line of a child: this program, for the same workspace and with the same global options."""
    return [sys.executable, "-m", "oracle_batch", "--home", str(home), *options, what, *arguments]


def run(line: Sequence[str], timeout_s: float, what: str) -> int:
    """Run a child to its end, bounded in time; returns its exit code, negative where a signal ended it.

    The child has a session of its own: Ctrl-C stops the resident, not a tick between sending and recording. One that
    takes too long is told to end, which it does once its orders are on record, and is killed if it does not.
    """
    child = subprocess.Popen(line, start_new_session=True)  # noqa: S603
    try:
        code = child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _log.error("the %s was told to end after %.0f s", what, timeout_s)
        child.terminate()
        try:
            code = child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
    _tell(code, what)
    return code


def _tell(code: int, what: str) -> None:
    if code == LockHeld.exit_code:
        if what == "tick":
            _log.warning("another run held the lock; this bar close was left to it")
    elif code < 0:
        _log.error("the %s was ended by %s", what, signal.Signals(-code).name)
    elif code:
        _log.error("the %s ended with exit code %d", what, code)
