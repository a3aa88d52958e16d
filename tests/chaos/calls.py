"""The system calls on files and the network, what one of them says, and a filter that stops at each."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

CALLS: Final[dict[int, str]] = {
    0: "read",
    1: "write",
    2: "open",
    3: "close",
    4: "stat",
    5: "fstat",
    6: "lstat",
    8: "lseek",
    16: "ioctl",
    17: "pread64",
    18: "pwrite64",
    19: "readv",
    20: "writev",
    21: "access",
    40: "sendfile",
    41: "socket",
    42: "connect",
    43: "accept",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    47: "recvmsg",
    48: "shutdown",
    49: "bind",
    50: "listen",
    51: "getsockname",
    52: "getpeername",
    53: "socketpair",
    54: "setsockopt",
    55: "getsockopt",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    78: "getdents",
    79: "getcwd",
    80: "chdir",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    85: "creat",
    86: "link",
    87: "unlink",
    88: "symlink",
    89: "readlink",
    90: "chmod",
    91: "fchmod",
    92: "chown",
    93: "fchown",
    132: "utime",
    133: "mknod",
    137: "statfs",
    138: "fstatfs",
    162: "sync",
    217: "getdents64",
    235: "utimes",
    257: "openat",
    258: "mkdirat",
    262: "newfstatat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    266: "symlinkat",
    267: "readlinkat",
    268: "fchmodat",
    269: "faccessat",
    277: "sync_file_range",
    280: "utimensat",
    285: "fallocate",
    288: "accept4",
    295: "preadv",
    296: "pwritev",
    299: "recvmmsg",
    306: "syncfs",
    307: "sendmmsg",
    316: "renameat2",
    326: "copy_file_range",
    327: "preadv2",
    328: "pwritev2",
    332: "statx",
    437: "openat2",
    439: "faccessat2",
}
"""Every call that names a file, moves data through a descriptor, or speaks to the network."""

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
libc: Final = ctypes.CDLL(None, use_errno=True)


class Registers(ctypes.Structure):
    """``struct user_regs_struct``."""

    _fields_ = tuple(
        (name, ctypes.c_ulonglong)
        for name in [
            "r15",
            "r14",
            "r13",
            "r12",
            "rbp",
            "rbx",
            "r11",
            "r10",
            "r9",
            "r8",
            "rax",
            "rcx",
            "rdx",
            "rsi",
            "rdi",
            "orig_rax",
            "rip",
            "cs",
            "eflags",
            "rsp",
            "ss",
            "fs_base",
            "gs_base",
            "ds",
            "es",
            "fs",
            "gs",
        ]
    )


class Call:
    """A call that a process is about to make. It can be looked into while the process stands."""

    def __init__(self, process: int, registers: Registers) -> None:
        self.process = process
        self.registers = registers
        self.name = CALLS[registers.orig_rax]

    def argument(self, number: int) -> int:
        return int(getattr(self.registers, ("rdi", "rsi", "rdx", "r10", "r8", "r9")[number]))

    def text(self, number: int) -> str:
        """A string that an argument points to; empty where it points nowhere."""
        found, address = b"", self.argument(number)
        while address and b"\0" not in found and len(found) < 4096:
            found += self.memory(address + len(found), 256 - (address + len(found)) % 256)
        return os.fsdecode(found.partition(b"\0")[0])

    def memory(self, address: int, size: int) -> bytes:
        with Path(f"/proc/{self.process}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def file(self, number: int = 0) -> str:
        """What the descriptor in an argument is: a path, ``socket:[…]``, ``pipe:[…]``; empty where it is none."""
        try:
            return str(Path(f"/proc/{self.process}/fd/{self.argument(number)}").readlink())
        except OSError:
            return ""

    def position(self) -> tuple[int, int]:
        """Offset and flags of the descriptor that is the first argument."""
        with Path(f"/proc/{self.process}/fdinfo/{self.argument(0)}").open() as told:
            found = dict(line.split(":", 1) for line in told if ":" in line)
        return int(found["pos"]), int(found["flags"], 8)


def stop_at_calls() -> None:
    """Let the calls stop this process for its tracer, from here on (in BPF: load the number, compare, return)."""
    numbers = sorted(CALLS)
    rows = [(_LOAD, 0, 0, 0)]
    rows += [(_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    rows += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE)]
    code = b"".join(struct.pack("HBBI", *row) for row in rows)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rows), ctypes.addressof(buffer)))
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER_MODE, program, 0, 0):
        os._exit(122)
