"""Power loss: what a disk may hold afterwards, from the calls that a run made. Pure, but for the recorder.

The law is POSIX's, not that of a file system: the content of a file is on disk up to its last fsync, and what was
written since may be there, in part, as zeros, or not at all; a name is on disk as of the last fsync of its folder, and
each later change of it may be there or not, in any order and whatever became of the others. No rename is half done.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from tests.chaos.calls import Call
from tests.chaos.kinds import creates, path_of

Tree = dict[str, bytes | None]
"""Content by relative path; None is a folder."""
EVERY: Final = 64
"""So many choices of one instant are tried one and all; of more, the extremes, each single deviation, and samples."""
TRUNCATES: Final = 0o1000
APPENDS: Final = 0o2000


@dataclass(eq=False)
class Node:
    """A file's content: ``versions[0]`` is on disk for certain, the last is what the run saw; or a folder."""

    versions: list[bytes] = field(default_factory=lambda: [b""])
    folder: bool = False

    @property
    def content(self) -> bytes:
        return self.versions[-1]

    def write(self, offset: int, data: bytes) -> None:
        """Besides the new content, half of it may have come, or its room without it."""
        old = self.content.ljust(offset, b"\0")
        for part in (data[: len(data) // 2], b"\0" * len(data), data):
            self.versions.append(old[:offset] + part + old[offset + len(part) :])

    def sync(self) -> None:
        self.versions = [self.content]


class Disk:
    """A folder's files between what is durable and what the run sees."""

    def __init__(self, tree: Mapping[str, bytes | None]) -> None:
        self.names: dict[str, list[Node | None]] = {
            path: [Node(folder=True) if data is None else Node([data])] for path, data in tree.items()
        }

    def node(self, path: str) -> Node:
        found = self.names[path][-1]
        assert found is not None, path
        return found

    def has(self, path: str) -> bool:
        return path in self.names and self.names[path][-1] is not None

    def _point(self, path: str, node: Node | None) -> None:
        self.names.setdefault(path, [None]).append(node)

    def make(self, path: str, *, folder: bool = False) -> None:
        if not self.has(path):
            self._point(path, Node(folder=folder))

    def truncate(self, path: str, size: int) -> None:
        self.node(path).versions.append(self.node(path).content[:size])

    def write(self, path: str, offset: int | None, data: bytes) -> None:
        """Without an offset, at the end."""
        node = self.node(path)
        node.write(len(node.content) if offset is None else offset, data)

    def link(self, old: str, new: str) -> None:
        if not self.has(new):
            self._point(new, self.node(old))

    def rename(self, old: str, new: str) -> None:
        self._point(new, self.node(old))
        self._point(old, None)

    def unlink(self, path: str) -> None:
        if self.has(path):
            self._point(path, None)

    def sync(self, path: str) -> None:
        """Of a file its content, of a folder the names in it."""
        if path and not self.node(path).folder:
            self.node(path).sync()
            return
        for name, history in self.names.items():
            if str(PurePosixPath(name).parent) == (path or "."):
                self.names[name] = [history[-1]]

    def tree(self) -> Tree:
        """What the run sees."""
        return self._chosen({}, {}, newest=True)

    def losses(self, chance: random.Random, samples: int) -> Iterator[Tree]:
        """What the disk may hold when the power is cut now: all of it, or a fair choice (see ``EVERY``)."""
        names = {path: len(history) for path, history in self.names.items() if len(set(map(id, history))) > 1}
        nodes = {id(one): one for history in self.names.values() for one in history if one is not None}
        contents = {key: len(one.versions) for key, one in nodes.items() if len(one.versions) > 1}
        sizes = [*names.values(), *contents.values()]
        for choice in choices(sizes, chance, samples):
            picked = iter(choice)
            named = dict(zip(names, picked, strict=False))
            yield self._chosen(named, dict(zip(contents, picked, strict=True)), newest=False)

    def _chosen(self, names: Mapping[str, int], contents: Mapping[int, int], *, newest: bool) -> Tree:
        found: Tree = {}
        for path in sorted(self.names):
            node = self.names[path][-1 if newest else names.get(path, 0)]
            parent = str(PurePosixPath(path).parent)
            if node is None or (parent != "." and parent not in found):
                continue
            found[path] = None if node.folder else node.versions[-1 if newest else contents.get(id(node), 0)]
        return found


def choices(sizes: Sequence[int], chance: random.Random, samples: int) -> Iterator[tuple[int, ...]]:
    """One option of each of several; the first of each is "lost", the last "kept"."""
    amount = 1
    for size in sizes:
        amount *= size
    if amount <= EVERY:
        yield from itertools.product(*map(range, sizes))
        return
    lost, kept = tuple(0 for _ in sizes), tuple(size - 1 for size in sizes)
    found = dict.fromkeys((lost, kept))
    for base in (lost, kept):
        for index, size in enumerate(sizes):
            found |= dict.fromkeys((*base[:index], option, *base[index + 1 :]) for option in range(size))
    for _ in range(samples):
        found[tuple(chance.randrange(size) for size in sizes)] = None
    yield from found


def read_tree(home: Path) -> Tree:
    """Every file and folder below a folder."""
    return {
        str(path.relative_to(home)): None if path.is_dir() else path.read_bytes() for path in sorted(home.rglob("*"))
    }


def write_tree(home: Path, tree: Tree) -> None:
    for path, data in tree.items():
        if data is None:
            (home / path).mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            (home / path).touch(0o600)
            (home / path).write_bytes(data)


class Recorder:
    """Follows a run's calls on a folder, as they are made."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.disk = Disk(read_tree(home))

    def note(self, call: Call) -> None:
        """Take a call that is about to be made."""
        path = self._inside(path_of(call))
        if path is None:
            return
        disk, name = self.disk, call.name
        if name == "openat":
            if creates(call):
                disk.make(path)
            if call.argument(2) & TRUNCATES and disk.node(path).content:
                disk.truncate(path, 0)
        elif name == "write":
            offset, flags = call.position()
            disk.write(path, None if flags & APPENDS else offset, call.memory(call.argument(1), call.argument(2)))
        elif name == "ftruncate":
            disk.truncate(path, call.argument(1))
        elif name in ("fsync", "fdatasync"):
            disk.sync(path)
        elif name in ("rename", "link"):
            other = self._inside(call.text(1))
            assert other is not None
            (disk.rename if name == "rename" else disk.link)(path, other)
        elif name == "unlink":
            disk.unlink(path)
        elif name == "mkdir":
            disk.make(path, folder=True)

    def _inside(self, path: str) -> str | None:
        """The path within the folder; the folder itself is empty."""
        if path == str(self._home):
            return ""
        return path.removeprefix(f"{self._home}/") if path.startswith(f"{self._home}/") else None
