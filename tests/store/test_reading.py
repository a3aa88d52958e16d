"""Journals are read back as they are: month by month, with their damage named, and nothing touched."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from oracle_batch.clock import FrozenClock
from oracle_batch.errors import StateError
from oracle_batch.store import reading
from oracle_batch.store.journal import Journal
from oracle_batch.store.lines import Entry
from oracle_batch.store.reading import read_journal
from oracle_batch.store.records import Event


def when(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


MOMENTS = ("2026-01-31T23:59:59", "2026-02-01", "2026-02-14", "2026-04-01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four entries in three months."""
    clock = FrozenClock(0.0)
    for moment in MOMENTS:
        clock.instant = when(moment)
        Journal(tmp_path, clock).append([Event(moment)])
    return tmp_path


def names(folder: Path, since: float = 0.0) -> list[str]:
    found = []
    for one in read_journal(folder, since):
        assert isinstance(one, Entry)
        assert isinstance(one.record, Event)
        found.append(one.record.name)
    return found


def test_everything_is_read_in_writing_order(folder: Path) -> None:
    assert names(folder) == list(MOMENTS)


@pytest.mark.parametrize("first", range(4))
def test_since_includes_its_own_instant(folder: Path, first: int) -> None:
    assert names(folder, when(MOMENTS[first])) == list(MOMENTS[first:])
    assert names(folder, when(MOMENTS[first]) + 0.5) == list(MOMENTS[first + 1 :])


def test_months_are_opened_as_they_are_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = reading._read

    def noting(path: Path, since: float) -> object:
        opened.append(path.name)
        return real(path, since)

    monkeypatch.setattr(reading, "_read", noting)
    entries = read_journal(folder, when("2026-02-10"))
    assert opened == []
    next(entries)
    assert opened == ["2026-02.jsonl"]
    assert len(list(entries)) == 1
    assert opened == ["2026-02.jsonl", "2026-04.jsonl"]


def test_a_clock_that_was_set_back_hides_nothing(folder: Path) -> None:
    """Lines never go to an older month than the newest file's."""
    Journal(folder, FrozenClock(when("2026-02-20"))).append([Event("late")])
    assert names(folder, when("2026-02-15")) == ["2026-04-01", "late"]


def test_no_journal_is_empty(tmp_path: Path) -> None:
    assert names(tmp_path / "absent") == []


def test_damage_is_named_by_its_line_and_the_rest_is_read(folder: Path) -> None:
    path = folder / "2026-02.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first.replace(b"2026", b"2062") + b"\n" + second + second[:20])
    path.chmod(0o600)
    before = path.read_bytes()
    found = list(read_journal(folder))
    texts = [one.message if isinstance(one, StateError) else one.record.name for one in found]  # type: ignore[union-attr]
    assert texts == [
        MOMENTS[0],
        "line 1: its checksum does not fit",
        "line 2: its checksum does not fit",
        MOMENTS[2],
        "line 4: its checksum does not fit: torn, or being written",
        MOMENTS[3],
    ]
    assert all(one.file == str(path) for one in found if isinstance(one, StateError))
    assert path.read_bytes() == before


def test_a_journal_that_anybody_may_write_is_refused(folder: Path) -> None:
    (folder / "2026-02.jsonl").chmod(0o666)
    with pytest.raises(StateError, match="writable by everybody"):
        list(read_journal(folder))
    (folder / "2026-02.jsonl").chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(StateError, match="writable by everybody"):
        list(read_journal(folder))
    folder.chmod(0o700)
