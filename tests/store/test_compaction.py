"""Old months become Parquet without losing a byte, and whatever interrupts that loses nothing either."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest

from oracle_batch.clock import FrozenClock
from oracle_batch.errors import StateError
from oracle_batch.store import compaction
from oracle_batch.store.journal import Journal, Mark, month_names
from oracle_batch.store.lines import Entry
from oracle_batch.store.reading import read_journal, read_places
from oracle_batch.store.records import Event, Record, Signal
from tests.store.conftest import Disk

MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")
NEWEST = Mark("2026-04.jsonl", 0)


def records(month: str) -> list[Record]:
    return [Event(month, None, {"note": "é"}), Signal("EURUSD_M15", 1_700_000_000, 1, 3, -0.5, f"SIGNAL {month}")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two records in each of four months."""
    clock = FrozenClock(0.0)
    for month in MONTHS:
        clock.instant = datetime.fromisoformat(f"{month}-10").replace(tzinfo=UTC).timestamp()
        Journal(tmp_path, clock).append(records(month))
    return tmp_path


def content(folder: Path, since: float = 0.0) -> list[Entry]:
    found = list(read_journal(folder, since))
    assert all(isinstance(one, Entry) for one in found)
    return [one for one in found if isinstance(one, Entry)]


def test_the_newest_two_months_and_what_the_books_lack_stay(folder: Path) -> None:
    assert compaction.months_to_compact(folder, NEWEST) == ["2026-01.jsonl", "2026-02.jsonl"]
    assert compaction.months_to_compact(folder, Mark("2026-02.jsonl", 9)) == ["2026-01.jsonl"]
    assert compaction.months_to_compact(folder, None) == []


def test_a_compacted_month_reads_as_before(folder: Path) -> None:
    before, places = content(folder), [one.start for one in read_places(folder)]
    data = (folder / "2026-01.jsonl").read_bytes()
    done = list(compaction.compact(folder, ["2026-01.jsonl", "2026-02.jsonl"]))
    assert [(one.file, one.lines) for one in done] == [("2026-01.jsonl", 2), ("2026-02.jsonl", 2)]
    assert done[0].before == len(data)
    assert sorted(path.name for path in folder.iterdir()) == [
        "2026-01.parquet", "2026-02.parquet", "2026-03.jsonl", "2026-04.jsonl",
    ]  # fmt: skip
    assert content(folder) == before
    assert [one.start for one in read_places(folder)] == places
    assert b"".join(line + b"\n" for line in compaction.read_lines(folder / "2026-01.parquet")) == data


def test_columns_let_other_programs_read_it(folder: Path) -> None:
    list(compaction.compact(folder, ["2026-01.jsonl"]))
    rows = pyarrow.parquet.read_table(folder / "2026-01.parquet").to_pylist()
    assert [(row["kind"], row["model"], row["id"]) for row in rows] == [
        ("event", None, None),
        ("signal", "EURUSD_M15", None),
    ]


def test_the_journal_goes_on_beside_compacted_months(folder: Path) -> None:
    list(compaction.compact(folder, ["2026-01.jsonl", "2026-02.jsonl"]))
    clock = FrozenClock(datetime(2026, 4, 11, tzinfo=UTC).timestamp())
    journal = Journal(folder, clock)
    journal.append([Event("later")])
    assert month_names(folder) == ["2026-03.jsonl", "2026-04.jsonl"]
    assert content(folder)[-1].record == Event("later")


def test_a_month_with_both_files_is_read_once_and_finished_by_the_next_call(folder: Path) -> None:
    data = (folder / "2026-01.jsonl").read_bytes()
    before = content(folder)
    list(compaction.compact(folder, ["2026-01.jsonl"]))
    (folder / "2026-01.jsonl").write_bytes(data)
    assert content(folder) == before
    list(compaction.compact(folder, ["2026-01.jsonl"]))
    assert not (folder / "2026-01.jsonl").exists()
    assert content(folder) == before


@pytest.mark.parametrize("damage", [b'{"v":1}\n', b"\n", b"half a li"])
def test_a_damaged_month_stays_as_it_is(folder: Path, damage: bytes) -> None:
    path = folder / "2026-01.jsonl"
    path.write_bytes(path.read_bytes() + damage)
    kept = path.read_bytes()
    with pytest.raises(StateError, match=r"line 3: its checksum does not fit"):
        list(compaction.compact(folder, ["2026-01.jsonl"]))
    assert path.read_bytes() == kept
    assert not (folder / "2026-01.parquet").exists()


@pytest.mark.parametrize("fail_at", range(1, 30))
def test_a_system_that_refuses_any_call_loses_nothing(
    folder: Path, disk: Callable[..., contextlib.AbstractContextManager[Disk]], fail_at: int
) -> None:
    before = content(folder)
    with disk(fail_at=fail_at) as faulty, contextlib.suppress(StateError):
        list(compaction.compact(folder, ["2026-01.jsonl", "2026-02.jsonl"]))
    assert content(folder) == before
    if not faulty.failed:
        assert month_names(folder) == ["2026-03.jsonl", "2026-04.jsonl"]


def test_a_parquet_file_whose_lines_were_changed_is_refused(folder: Path) -> None:
    list(compaction.compact(folder, ["2026-01.jsonl"]))
    path = folder / "2026-01.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.slice(0, 1), path)
    with pytest.raises(StateError, match="its lines are not those that were written"):
        list(compaction.read_lines(path))
    path.write_bytes(b"no parquet")
    path.chmod(0o600)
    with pytest.raises(StateError, match="no readable Parquet file"):
        list(compaction.read_lines(path))
