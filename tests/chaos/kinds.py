"""What a call is about, whether it leaves something behind, and the ways in which it can fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from errno import EACCES, ECONNRESET, EIO, ENOSPC
from typing import Final

from tests.chaos.calls import Call
from tests.chaos.ptrace import Action

_AT: Final = frozenset({"openat", "newfstatat", "unlinkat", "mkdirat", "renameat", "linkat", "utimensat", "statx"})
"""Calls whose first argument is a folder, the second a path in it."""
_BY_NAME: Final = _AT | {
    *("open", "stat", "lstat", "access", "getcwd", "chdir", "rename", "mkdir", "rmdir", "creat", "link", "unlink"),
    *("symlink", "readlink", "chmod", "truncate", "statfs"),
}
_ROOM: Final = frozenset({"write", "writev", "pwrite64", "fsync", "rename", "renameat", "mkdir", "link", "creat"})
_CHANGING: Final = _ROOM | {
    *(
        "sendto",
        "sendmsg",
        "connect",
        "shutdown",
        "fdatasync",
        "truncate",
        "ftruncate",
        "renameat2",
        "mkdirat",
        "linkat",
    ),
    *("unlink", "unlinkat", "rmdir", "flock", "utimensat"),
}
_NET: Final = frozenset({"socket", "connect", "sendto", "recvfrom", "sendmsg", "recvmsg", "shutdown"}) | {
    *("getsockopt", "setsockopt", "getsockname", "getpeername"),
}
_CREATES: Final = 0o100
_PLACES: Final = (
    (re.compile(r"^.*/(?=(config|models|state)(/|$))"), ""),
    (re.compile(r"[A-Z]{6}(?=_M15)|\d+(?=\.tmp)|\d{4,}|[0-9a-f]{16,}"), "*"),
    (re.compile(r"^(socket|pipe|anon_inode):.*"), r"\1"),
    (re.compile(r"^/.*/(?=[^/]*\.(log|pem)$)"), ""),
)


def path_of(call: Call) -> str:
    """The file that a call is about; the first of two."""
    if call.name in _BY_NAME:
        named = call.text(1 if call.name in _AT else 0)
        return named or call.file()
    return call.file()


def changes(call: Call) -> bool:
    """Whether a call leaves something behind, on disk or on the network."""
    return call.name in _CHANGING or creates(call)


def kind_of(call: Call) -> str:
    """Calls of one kind do the same to files of the same sort: ``fsync state/twin/*_M15.json``."""
    place = path_of(call)
    for pattern, instead in _PLACES:
        place = pattern.sub(instead, place)
    return f"{call.name} {place}"


def failures(call: Call) -> Iterator[Action]:
    """Every way in which a call can fail that belongs to it."""
    if call.name in _NET:
        yield Action("fail", ECONNRESET)
        if call.name in ("sendto", "sendmsg", "connect"):
            yield Action("fail after", ECONNRESET)
        return
    yield Action("fail after" if call.name == "close" else "fail", EIO)
    if call.name in _BY_NAME:
        yield Action("fail", EACCES)
    if needs_room(call):
        yield Action("fail", ENOSPC)
    if call.name in ("write", "read", "pread64") and call.argument(2) > 1:
        yield Action("short")
    if call.name in ("fsync", "rename", "link", "unlink", "mkdir"):
        yield Action("fail after", EIO)


def needs_room(call: Call) -> bool:
    """Whether a full disk refuses it."""
    return call.name in _ROOM or creates(call)


def creates(call: Call) -> bool:
    """Whether it opens a file that it may have to make."""
    return call.name == "openat" and bool(call.argument(2) & _CREATES)
