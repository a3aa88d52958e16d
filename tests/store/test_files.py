"""A state file is old or new, never a mixture; a full disk changes nothing; nobody else writes our state."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.errors import StateError
from oracle_batch.store.files import clean_temps, read_bytes, refuse_unsafe_folders, replace_all, replace_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_with_mode_0600_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    replace_atomically(path, b"old")
    replace_atomically(path, b"new")
    assert read_bytes(path) == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["a.json"]


def test_data_is_on_disk_before_the_rename_and_the_rename_before_the_return(
    tmp_path: Path, disk: Callable[..., Any]
) -> None:
    with disk() as log:
        replace_atomically(tmp_path / "a.json", b"x")
    assert [call for call, _ in log.log] == ["open", "write", "fsync", "replace", "open", "fsync"]
    assert log.log[-1] == ("fsync", tmp_path.name)


def test_many_files_are_written_before_the_first_rename_and_each_folder_is_synced_once(
    tmp_path: Path, disk: Callable[..., Any]
) -> None:
    folders = [tmp_path / "bars", tmp_path / "twin"]
    for folder in folders:
        folder.mkdir()
    items = [(folder / f"{number}.json", b"x") for number in range(3) for folder in folders]
    with disk() as log:
        replace_all(items)
    calls = [call for call, _ in log.log]
    assert calls == ["open", "write", "fsync"] * 6 + ["replace"] * 6 + ["open", "fsync"] * 2
    assert [name for call, name in log.log if call == "fsync"][-2:] == ["bars", "twin"]


def test_renames_happen_in_the_order_given(tmp_path: Path, disk: Callable[..., Any]) -> None:
    items = [(tmp_path / name, b"x") for name in ("bars", "twin", "executor")]
    with disk() as log:
        replace_all(items)
    renamed = [name for call, name in log.log if call == "replace"]
    assert [name.split(".")[1] for name in renamed] == ["bars", "twin", "executor"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_whatever_call_fails_each_file_is_whole_and_no_temp_is_left(
    tmp_path: Path, disk: Callable[..., Any], code: int
) -> None:
    items = [(tmp_path / f"{number}.json", b"new" * 100) for number in range(3)]
    for attempt in range(1, 100):
        for path, _ in items:
            path.write_bytes(b"old")
            path.chmod(0o600)
        with disk(fail_at=attempt, code=code) as faulty:
            if not faulty_run(items, code):
                break
        contents = [path.read_bytes() for path, _ in items]
        assert set(contents) <= {b"old", b"new" * 100}
        assert sorted(contents, key=lambda data: data == b"old") == contents, "renamed in order"
        if "replace" not in [call for call, _ in faulty.log]:
            assert contents == [b"old"] * 3
        assert names(tmp_path) == ["0.json", "1.json", "2.json"]
    assert attempt == 3 * 3 + 3 + 2 + 1


def faulty_run(items: list[tuple[Path, bytes]], code: int) -> bool:
    try:
        replace_all(items)
    except StateError as error:
        return os.strerror(code) in str(error)
    return False


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EROFS, "read-write"),
        (errno.EACCES, "chown or chmod"),
        (errno.EISDIR, "a folder is where a file should be"),
    ],
)
def test_the_message_names_the_file_and_the_fix(tmp_path: Path, disk: Callable[..., Any], code: int, fix: str) -> None:
    path = tmp_path / "twin.json"
    with disk(fail_at=2, code=code), pytest.raises(StateError) as caught:
        replace_atomically(path, b"x")
    assert str(path) in str(caught.value)
    assert fix in str(caught.value)
    assert caught.value.exit_code == 65


def test_a_real_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    replace_atomically(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StateError, match="File too large"):
            replace_atomically(path, b"x" * 10000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


KILLED = """
import itertools, os, sys
from pathlib import Path
from oracle_batch.store.files import replace_all
at, folder = int(sys.argv[1]), Path(sys.argv[2])
calls = itertools.count(1)
def killed(real):
    def call(*args, **options):
        if next(calls) == at:
            os._exit(9)
        return real(*args, **options)
    return call
for name in ("open", "write", "fsync", "replace"):
    setattr(os, name, killed(getattr(os, name)))
replace_all([(path, b"new") for path in sorted(folder.iterdir())])
"""


def test_killed_at_any_call_a_run_leaves_whole_files_in_commit_order_and_the_next_run_cleans_up(
    tmp_path: Path,
) -> None:
    outcomes = set()
    for at in range(1, 20):
        for name in ("bars", "twin"):
            replace_atomically(tmp_path / name, b"old")
        ended = subprocess.run([sys.executable, "-c", KILLED, str(at), str(tmp_path)], check=False)
        outcome = (read_bytes(tmp_path / "bars"), read_bytes(tmp_path / "twin"))
        outcomes.add(outcome)
        leftovers = len(names(tmp_path)) - 2
        assert clean_temps(tmp_path) == leftovers
        assert names(tmp_path) == ["bars", "twin"]
        if ended.returncode == 0:
            break
        assert ended.returncode == 9
    assert ended.returncode == 0
    assert outcomes == {(b"old", b"old"), (b"new", b"old"), (b"new", b"new")}, "bars never behind the twin"


def test_cleaning_touches_nothing_but_temp_files(tmp_path: Path) -> None:
    for name in (".a.json.123-0.tmp", "a.json", ".hidden", "b.tmp"):
        (tmp_path / name).write_bytes(b"x")
    assert clean_temps(tmp_path) == 1
    assert names(tmp_path) == [".hidden", "a.json", "b.tmp"]
    assert clean_temps(tmp_path / "no such folder") == 0


def test_an_absent_file_is_none(tmp_path: Path) -> None:
    assert read_bytes(tmp_path / "absent") is None


def test_a_file_that_anybody_may_write_is_refused_with_the_chmod(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"x")
    path.chmod(0o666)
    with pytest.raises(StateError) as caught:
        read_bytes(path)
    assert f"chmod 600 {path}" in str(caught.value)
    assert "0666" in str(caught.value)
    path.chmod(0o660)
    assert read_bytes(path) == b"x"


def test_a_folder_that_anybody_may_write_is_refused_with_the_chmod(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match=f"chmod 700 {tmp_path}"):
        refuse_unsafe_folders([tmp_path])
    tmp_path.chmod(0o700)
    refuse_unsafe_folders([tmp_path, tmp_path / "absent"])


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"not a regular file|Is a directory"):
        read_bytes(tmp_path)


def test_a_symlink_planted_as_temp_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".a.json.{os.getpid()}-0.tmp").symlink_to(victim)
    with pytest.raises(StateError):
        replace_atomically(tmp_path / "a.json", b"x")
    assert victim.read_bytes() == b"precious"


# many at once


def many(folder: Path, count: int = 150) -> list[tuple[Path, bytes]]:
    return [(folder / f"{number:03}", b"new %d" % number) for number in range(count)]


def test_many_files_are_all_on_disk_before_the_first_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, at_first_rename = [], []
    fsync, rename = os.fsync, Path.replace

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        at_first_rename.append(len(synced))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    replace_all(many(tmp_path))
    assert at_first_rename[0] == 150
    assert [path.read_bytes() for path, _ in many(tmp_path)] == [data for _, data in many(tmp_path)]
    assert len(list(tmp_path.iterdir())) == 150


def test_one_of_many_that_cannot_be_written_is_named_and_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, _ in many(tmp_path):
        path.write_bytes(b"old")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if bytes(data) == b"new 77":
            raise OSError(errno.ENOSPC, "no space")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StateError, match="No space left") as refused:
        replace_all(many(tmp_path))
    assert refused.value.file == str(tmp_path / "077")
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}
    assert len(list(tmp_path.iterdir())) == 150


def test_many_files_are_written_without_threads_where_the_system_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    replace_all(many(tmp_path))
    assert [path.read_bytes() for path, _ in many(tmp_path)] == [data for _, data in many(tmp_path)]
    assert len(list(tmp_path.iterdir())) == 150


def test_the_folder_of_many_is_on_disk_after_the_last_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order, fsync, rename = list[str](), os.fsync, Path.replace

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def renamed(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    replace_all(many(tmp_path))
    assert order == ["file"] * 150 + ["rename"] * 150 + ["folder"]


@pytest.mark.parametrize(("at", "renamed"), [(1, 0), (100, 0), (450, 0), (451, 0), (452, 1), (600, 149), (601, 150)])
def test_killed_while_many_are_replaced_the_first_are_new_and_the_rest_old(
    at: int, renamed: int, tmp_path: Path
) -> None:
    """Of 150 files each is opened, written and fsync'd first, then each is renamed, then the folder is opened."""
    for path, _ in many(tmp_path):
        path.write_bytes(b"old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(at), str(tmp_path)], check=False)
    assert ended.returncode == 9
    clean_temps(tmp_path)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"new"] * renamed + [b"old"] * (150 - renamed)
