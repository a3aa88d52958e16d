"""A run ends: by itself, at its deadline, or when it is told to; what it has begun to send it first puts on record.

The deadline is held twice. The event loop ends work that waits for too long; a watchdog outside of Python ends a
process that hangs in one call, with the place in its last words. Either way the system frees the lock, and the journal
tells the next run what to ask the broker for.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from oracle_batch.errors import DeadlineError, StoppedError

_log = logging.getLogger(__name__)
T = TypeVar("T")
_noted: Final[list[bool]] = []

_STDERR: Final = 2
WATCHDOG_S: Final = 15.0
"""How long after its deadline a process is ended that has not ended itself."""
FINISH_S: Final = 10.0
"""How long the sending and recording of orders may go on after the run was told to end."""


@contextlib.contextmanager
def watchdog(deadline_s: float) -> Iterator[None]:
    """End the process, exit code 1 and every thread's place on stderr, if the block is not left in time."""
    faulthandler.dump_traceback_later(deadline_s + WATCHDOG_S, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def run(work: Callable[[], Coroutine[Any, Any, T]], deadline_s: float) -> T:
    """The result of the work, which has so many seconds.

    Raises:
        DeadlineError: it took longer.
        StoppedError: SIGTERM came before anything was sent. Later it is only noted, and the work goes on to its end.
    """
    import asyncio

    async def within() -> T:
        task, told = asyncio.current_task(), list[bool]()
        assert task is not None

        def terminate() -> None:
            if not told:  # a second one must not cut short what the first one lets finish
                told.append(True)
                task.cancel()

        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: the one who started it ends it
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            async with asyncio.timeout(deadline_s):
                return await work()
        except TimeoutError as error:
            why = f"the run took longer than its {deadline_s:g} s and was ended"
            raise DeadlineError(why, fix="run it again: it asks the broker what became of its orders") from error
        except asyncio.CancelledError:
            if not told:
                raise
            raise StoppedError("told to stop before anything was sent", fix="run it again") from None

    with watchdog(deadline_s):
        return asyncio.run(within())


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that is finished even if the run is told to end meanwhile: orders are out and must be booked.

    What is not finished ``FINISH_S`` later is cut off; the journal has the intents then, and the next run asks. Work
    that needs no event loop is not interrupted by anything.
    """
    if not _has_loop():
        return await work
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _noted.append(True)
        if not task.done():
            _log.warning("told to end: first finishing the orders that are on their way")
        clock, until = asyncio.get_running_loop().time, asyncio.get_running_loop().time() + FINISH_S
        while not task.done() and (left := until - clock()) > 0:
            with contextlib.suppress(asyncio.CancelledError):  # the deadline has passed as well
                await asyncio.wait({task}, timeout=left)
        if not task.done():
            task.cancel()
        return await task


def told_to_end() -> bool:
    """Whether this process was told to end while orders were on their way, which was only noted then.

    Whoever does more than one run asks after each.
    """
    return bool(_noted)


def _has_loop() -> bool:
    """Whether work runs on an event loop; asked without loading asyncio, which a short run may do without."""
    loaded = sys.modules.get("asyncio")
    if loaded is None:
        return False
    try:
        loaded.get_running_loop()
    except RuntimeError:
        return False
    return True
