"""A torn tail loses nothing but itself, wherever it was torn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.clock import FrozenClock
from oracle_batch.store.journal import Journal, Mark
from oracle_batch.store.records import Event, Record

CLOCK = FrozenClock(1_770_000_000.0)
MONTH = "2026-02.jsonl"

events = st.lists(
    st.builds(
        Event,
        st.text(max_size=30),
        st.none() | st.text(max_size=10),
        st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torn") / "paper"


def fresh(folder: Path) -> Journal:
    shutil.rmtree(folder, ignore_errors=True)
    return Journal(folder, CLOCK)


def recovered(folder: Path, mark: Mark | None = None) -> list[Record]:
    return [record for record in Journal(folder, CLOCK).tail(mark).records if not is_torn(record)]


def is_torn(record: Record) -> bool:
    return isinstance(record, Event) and record.name == "journal_torn"


@given(records=events)
def test_whatever_is_appended_is_read_back(folder: Path, records: list[Event]) -> None:
    journal = fresh(folder)
    mark = journal.append(records[:1])
    journal.append(records[1:])
    assert recovered(folder) == records
    assert recovered(folder, mark) == records[1:]


def test_torn_at_every_byte_a_journal_keeps_every_whole_line_and_goes_on(folder: Path) -> None:
    journal = fresh(folder)
    records = [Event("e", "EURUSD_M15", {"n": number, "text": "ä|\n\r{}"}) for number in range(4)]
    ends = [0]
    for record in records:
        mark = journal.append([record])
        assert mark is not None
        ends.append(mark.offset)
    whole = (folder / MONTH).read_bytes()
    for length in range(len(whole) + 1):
        (folder / MONTH).write_bytes(whole[:length])
        kept = sum(end <= length for end in ends[1:])
        torn = length != ends[kept]

        looked = Journal(folder, CLOCK).tail(None, repair=False)
        assert list(looked.records) == records[:kept]
        assert (looked.torn is not None) == torn
        assert looked.end == Mark(MONTH, ends[kept])
        assert (folder / MONTH).read_bytes() == whole[:length], "looking changes nothing"

        tail = Journal(folder, CLOCK).tail(None)
        assert [record for record in tail.records if not is_torn(record)] == records[:kept]
        assert sum(map(is_torn, tail.records)) == torn
        if torn:
            assert tail.torn is not None
            assert tail.torn.detail["offset"] == ends[kept]
            assert tail.torn.detail["bytes"] == length - ends[kept]
        assert Journal(folder, CLOCK).tail(None) == Journal(folder, CLOCK).tail(None), "mended once and for all"
        assert Journal(folder, CLOCK).tail(None).torn is None

        Journal(folder, CLOCK).append([records[0]])
        assert recovered(folder) == [*records[:kept], records[0]]


@pytest.mark.parametrize("length", [1, 60, 200])
def test_an_append_without_a_tail_mends_first(folder: Path, length: int) -> None:
    journal = fresh(folder)
    journal.append([Event("a")])
    with (folder / MONTH).open("ab") as file:
        file.write(b'{"v":1,"t":' + b"x" * length)
    Journal(folder, CLOCK).append([Event("b")])
    names = [record.name for record in Journal(folder, CLOCK).tail(None).records if isinstance(record, Event)]
    assert names == ["a", "journal_torn", "b"]


@given(records=events, garbage=st.binary(min_size=1, max_size=100).filter(lambda data: b"\n" not in data))
def test_garbage_at_the_end_is_cut_off_with_or_without_a_newline(
    folder: Path, records: list[Event], garbage: bytes
) -> None:
    for ending in (b"", b"\n"):
        mark = fresh(folder).append(records)
        with (folder / MONTH).open("ab") as file:
            file.write(garbage + ending)
        assert recovered(folder) == records
        assert recovered(folder, mark) == []


@pytest.mark.parametrize("blank", [b"\n", b"\0" * 5000, b"\0" * 70000])
def test_blocks_that_never_reached_the_disk_are_cut_off(folder: Path, blank: bytes) -> None:
    fresh(folder).append([Event("a")])
    with (folder / MONTH).open("ab") as file:
        file.write(blank)
    tail = Journal(folder, CLOCK).tail(None)
    assert tail.torn is not None
    assert tail.torn.detail["bytes"] == len(blank)
    assert [record for record in tail.records if not is_torn(record)] == [Event("a")]


@given(data=st.data(), records=events)
def test_one_wrong_byte_is_never_read_as_another_record(
    folder: Path, data: st.DataObject, records: list[Event]
) -> None:
    from oracle_batch.errors import StateError

    fresh(folder).append(records)
    whole = bytearray((folder / MONTH).read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / MONTH).write_bytes(bytes(whole))
    try:
        found = recovered(folder)
    except StateError:
        return
    assert found == records[: len(found)]
    assert len(found) >= len(records) - 2, "only the last line was taken for torn, or two whose newline was hit"
