"""A call can be met, refused, cut short, refused after it was made, and be the last that a process asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from tests.chaos.calls import Call
from tests.chaos.ptrace import Action, End, elsewhere, refused, traced

pytestmark = pytest.mark.skipif(elsewhere(), reason="system calls are stopped on Linux x86-64 only")


def written(path: Path) -> Callable[[], int]:
    """Writes eight bytes, and ten under another name; the exit code is what the first write, or an error, says."""

    def child() -> int:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
            amount = os.write(descriptor, b"12345678")
            path.rename(path.with_name("renamed"))
        except OSError as error:
            return error.errno or 1
        return amount

    return child


def at(name: str, action: Action) -> Callable[[Call], Action | None]:
    return lambda call: action if call.name == name else None


def test_nothing_refuses_to_stop_calls_here() -> None:
    assert refused() is None


def test_every_call_is_seen_with_what_it_is_about(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def note(call: Call) -> None:
        seen.append((call.name, call.text(1 if call.name == "openat" else 0) if call.name != "write" else call.file()))

    path = tmp_path / "file"
    assert traced(written(path), note, 10.0) == End(8)
    assert seen == [("openat", str(path)), ("write", str(path)), ("rename", str(path))]


@pytest.mark.parametrize(
    ("name", "left"), [("openat", []), ("write", [("file", b"")]), ("rename", [("file", b"12345678")])]
)
def test_a_process_is_killed_before_a_call_is_made(tmp_path: Path, name: str, left: list[tuple[str, bytes]]) -> None:
    assert traced(written(tmp_path / "file"), at(name, Action("kill")), 10.0) == End(-9)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == left


def test_a_call_is_refused_before_or_after_it_is_made(tmp_path: Path) -> None:
    assert traced(written(tmp_path / "file"), at("write", Action("fail", ENOSPC)), 10.0) == End(ENOSPC)
    assert (tmp_path / "file").read_bytes() == b""
    assert traced(written(tmp_path / "file"), at("rename", Action("fail after", EIO)), 10.0) == End(EIO)
    assert (tmp_path / "renamed").read_bytes() == b"12345678"


def test_a_write_is_cut_short(tmp_path: Path) -> None:
    assert traced(written(tmp_path / "file"), at("write", Action("short")), 10.0) == End(4)
    assert (tmp_path / "renamed").read_bytes() == b"1234"


def test_a_process_that_hangs_is_ended() -> None:
    assert traced(lambda: os.read(os.pipe()[0], 1) and 0, lambda _: None, 0.2) == End(-9, hung=True)
