"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Remember a press of Ctrl-C; yields a check that raises :class:`KeyboardInterrupt` after one.

    Python raises the exception wherever the main thread happens to be. In a finaliser, a weak reference's callback or
    a callback of C code it is dropped there, and a long loop would go on as if nobody had asked. A loop that calls the
    check once a round ends one round later at most. The end of the block checks, too.

    Outside the main thread, where no signal arrives, and where somebody else handles the signal (or ignores it, as a
    shell does for what it starts in the background), nothing is changed and the check never raises.
    """
    pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
