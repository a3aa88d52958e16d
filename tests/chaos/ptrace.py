"""Run a function in a child process and stop at each of its file-system and network system calls (Linux, x86-64).

The child filters itself by seccomp, so that only those calls stop it; nothing is installed and nothing is preloaded.
At a stop the child can be killed, the call can be refused, cut short, or refused after it was carried out.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn

from tests.chaos.calls import Call, Registers, libc, stop_at_calls

_TRACEME, _CONT, _GETREGS, _SETREGS, _SYSCALL, _SETOPTIONS = 0, 7, 12, 13, 24, 0x4200
_SYSGOOD, _FORK, _VFORK, _CLONE, _SECCOMP, _EXITKILL = 1, 2, 4, 8, 0x80, 0x100000
_EVENT_SECCOMP: Final = 7
_WALL: Final = 0x40000000
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long

How = Literal["kill", "fail", "fail after", "short"]


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a call; ``errno`` is what it reports where it fails."""

    how: How
    errno: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended: its exit code, or the negative number of the signal; ``hung`` is one that had to be ended."""

    code: int
    hung: bool = False


def elsewhere() -> bool:
    """Whether this is no machine on which calls can be stopped at all."""
    return sys.platform != "linux" or platform.machine() != "x86_64"


def refused() -> str | None:
    """Why calls cannot be stopped here; None where they can."""
    if elsewhere():
        return "this is not Linux on x86-64"
    stops: list[str] = []
    try:
        end = traced(lambda: int(not Path("/").is_dir()), lambda call: stops.append(call.name), 10.0)
    except OSError as error:
        return f"ptrace is refused: {error}"
    return None if end.code == 0 and stops else "seccomp filters are refused"


def fork() -> int:
    """A child process, also of one that has threads: none of them matters to the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def plain(child: Callable[[], int], limit_s: float) -> End:
    """Run a function in a child process, undisturbed."""
    process = fork()
    if not process:
        _body(child)
    return _limited(process, limit_s, lambda: _exit_code(os.waitpid(process, 0)[1]))


def traced(child: Callable[[], int], at_call: Callable[[Call], Action | None], limit_s: float) -> End:
    """Run a function in a child process; ``at_call`` says of each call what becomes of it (None: it is made)."""
    process = fork()
    if not process:
        if libc.ptrace(_TRACEME, 0, None, None) != 0:
            os._exit(121)
        os.kill(os.getpid(), signal.SIGSTOP)
        stop_at_calls()
        _body(child)
    _, status = os.waitpid(process, 0)
    if not os.WIFSTOPPED(status):
        raise OSError(f"the child is not traced: {status}")
    options = _SYSGOOD | _FORK | _VFORK | _CLONE | _SECCOMP | _EXITKILL
    _ptrace(_SETOPTIONS, process, options)
    return _limited(process, limit_s, lambda: _follow(process, at_call))


def _body(child: Callable[[], int]) -> NoReturn:
    code = 120
    try:
        code = child()
    except BaseException:  # noqa: BLE001 - a child never returns into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        libc._exit(code)  # by itself: what measures coverage would have work to do in os._exit
    raise AssertionError


def _limited(process: int, limit_s: float, wait: Callable[[], int]) -> End:
    hung = []

    def end(*_: object) -> None:
        hung.append(True)
        os.kill(process, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return End(wait(), bool(hung))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _follow(process: int, at_call: Callable[[Call], Action | None]) -> int:
    known, failing = {process}, dict[int, int]()
    _ptrace(_CONT, process)
    while True:
        try:
            thread, status = os.waitpid(-1, _WALL)
        except InterruptedError:
            continue
        if thread == process and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            return _exit_code(status)
        if not os.WIFSTOPPED(status):
            continue
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_SECCOMP:
            _stopped(process, thread, at_call, failing)
        elif number == signal.SIGTRAP | 0x80 and thread in failing:
            registers = _registers(thread)
            registers.rax = 2**64 - failing.pop(thread)
            _set(thread, registers)
            _ptrace(_CONT, thread)
        elif event or number == signal.SIGTRAP | 0x80 or (number == signal.SIGSTOP and thread not in known):
            known.add(thread)
            _ptrace(_CONT, thread)
        else:
            _ptrace(_CONT, thread, number)


def _stopped(process: int, thread: int, at_call: Callable[[Call], Action | None], failing: dict[int, int]) -> None:
    registers = _registers(thread)
    action = at_call(Call(thread, registers))
    match action:
        case None:
            _ptrace(_CONT, thread)
        case Action("kill"):
            os.kill(process, signal.SIGKILL)  # a call that a fatal signal meets here is not made
        case Action("fail"):
            registers.orig_rax, registers.rax = 2**64 - 1, 2**64 - action.errno
            _set(thread, registers)
            _ptrace(_CONT, thread)
        case Action("short"):
            registers.rdx = max(1, registers.rdx // 2)
            _set(thread, registers)
            _ptrace(_CONT, thread)
        case Action("fail after"):
            failing[thread] = action.errno
            _ptrace(_SYSCALL, thread)


def _registers(thread: int) -> Registers:
    found = Registers()
    _ptrace(_GETREGS, thread, data=ctypes.addressof(found))
    return found


def _set(thread: int, registers: Registers) -> None:
    _ptrace(_SETREGS, thread, data=ctypes.addressof(registers))


def _ptrace(request: int, process: int, data: int = 0) -> None:
    if libc.ptrace(request, process, None, data) != 0:
        number = ctypes.get_errno()
        if number != 3:  # the process is gone, and its end will be told
            raise OSError(number, os.strerror(number), f"ptrace {request}")


def _exit_code(status: int) -> int:
    return os.waitstatus_to_exitcode(status)
