"""What a disk may hold after the power is gone: everything that is legal, and nothing else."""

from __future__ import annotations

import random

from tests.chaos.power import EVERY, Disk, Tree, choices


def left(disk: Disk) -> list[Tree]:
    return list(disk.losses(random.Random(0), 8))


def contents(disk: Disk, path: str) -> set[bytes | None]:
    return {tree.get(path) for tree in left(disk)}


def test_what_was_written_since_the_last_fsync_is_there_whole_in_part_as_zeros_or_not_at_all() -> None:
    disk = Disk({"journal": b"old "})
    disk.write("journal", None, b"line")
    assert contents(disk, "journal") == {b"old ", b"old li", b"old \0\0\0\0", b"old line"}
    disk.sync("journal")
    assert contents(disk, "journal") == {b"old line"}


def test_a_new_file_may_have_no_name_until_its_folder_is_synced() -> None:
    disk = Disk({"state": None})
    disk.make("state/file")
    disk.write("state/file", 0, b"x")
    disk.sync("state/file")
    assert contents(disk, "state/file") == {None, b"x"}
    disk.sync("state")
    assert contents(disk, "state/file") == {b"x"}


def test_renames_may_come_in_any_order_until_their_folder_is_synced_but_none_is_half_done() -> None:
    disk = Disk({"a": b"old", "b": b"old", "c": b"old"})
    for name in "abc":
        disk.make(f".{name}.tmp")
        disk.write(f".{name}.tmp", 0, b"new")
        disk.sync(f".{name}.tmp")
    for name in "abc":
        disk.rename(f".{name}.tmp", name)
    found = {tuple(tree[name] for name in "abc") for tree in left(disk)}
    assert {("old" in repr(one), "new" in repr(one)) for one in found} == {(True, False), (True, True), (False, True)}
    assert (b"old", b"old", b"new") in found
    assert (b"new", b"new", b"old") in found
    disk.sync("")
    assert left(disk) == [{"a": b"new", "b": b"new", "c": b"new"}]


def test_a_renamed_file_that_was_not_synced_may_be_empty() -> None:
    disk = Disk({"books": b"old"})
    disk.make("temp")
    disk.write("temp", 0, b"new!")
    disk.rename("temp", "books")
    assert contents(disk, "books") == {b"old", b"", b"ne", b"\0\0\0\0", b"new!"}


def test_a_folder_that_is_lost_takes_its_files_with_it() -> None:
    disk = Disk({})
    disk.make("new", folder=True)
    disk.make("new/file")
    disk.sync("new")
    assert left(disk) == [{}, {"new": None, "new/file": b""}]


def test_few_choices_are_tried_one_and_all_and_of_many_the_extremes_and_each_deviation() -> None:
    chance = random.Random(0)
    assert len(list(choices([2] * 6, chance, 0))) == EVERY
    many = list(choices([2] * 10, chance, 0))
    assert len(set(many)) == len(many) == 2 + 2 * 10
    assert {sum(one) for one in many} == {0, 1, 9, 10}
