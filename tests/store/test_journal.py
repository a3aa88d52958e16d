"""What was journalled is read back, across months, or the damage is named."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oracle_batch.broker.base import Ack, AmendIntent, CloseIntent, Deal, OpenIntent
from oracle_batch.clock import FrozenClock
from oracle_batch.errors import StateError
from oracle_batch.store import lines
from oracle_batch.store.journal import Journal, Mark
from oracle_batch.store.records import AckRecord, Close, Event, Fill, Record, Signal

DEAL = Deal(9, 8, "ob-1", 12345, "oracle:EURUSD_M15", "EURUSD", 1, 300000, 1.08542, 1.77e9, False, "order", 0.0, -0.1)
ACK = Ack("ob-1", "OK", None, 12345, 1.08542, 0.00003, (DEAL,))
EVERY_KIND: list[Record] = [
    Signal("EURUSD_M15", 1770000300, 1, 3, -0.105, "SIGNAL|EURUSD|LONG_WEAK|3|-0.11"),
    OpenIntent("ob-1", "EURUSD_M15", "EURUSD", 1, 1, 300000, "oracle:EURUSD_M15", "O|2.0|3|1|1", 1.77e9, 1.77e9 + 60),
    OpenIntent("ob-2", "EURUSD_M15", "EURUSD", -1, 1, 300000, "oracle:EURUSD_M15", "O|2.0", 1.77e9, 1.77e9 + 60, 12345),
    CloseIntent("oc-1", "EURUSD_M15", "EURUSD", 12345, 300000, 1.77e9),
    AmendIntent("am-1", "EURUSD_M15", 12345, "EURUSD", 1.0831, None, 1.77e9, "opposite"),
    AckRecord.of(ACK, "EURUSD_M15", "ACK|EURUSD|LONG_WEAK|OK|T:12345|P:1.08542|SLIP:0.00003"),
    Fill("EURUSD_M15", DEAL),
    Close("EURUSD_M15", 12345, -9.87, -0.2, "stop_loss", "CLOSED|EURUSD|12345|-9.87|SL"),
    Event("bar_revised", "EURUSD_M15", {"field": "close", "old": 1.1, "new": [1.2, None]}),
]


def at(text: str) -> FrozenClock:
    return FrozenClock(datetime.fromisoformat(text).timestamp())


@pytest.fixture
def clock() -> FrozenClock:
    return at("2026-02-10T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "paper"


def event(number: int) -> Event:
    return Event("e", None, {"n": number})


def numbers(records: tuple[Record, ...]) -> list[int]:
    return [record.detail["n"] for record in records if isinstance(record, Event) and record.name == "e"]


def test_every_kind_of_record_is_read_back(folder: Path, clock: FrozenClock) -> None:
    end = Journal(folder, clock).append(EVERY_KIND)
    tail = Journal(folder, clock).tail(None)
    assert list(tail.records) == EVERY_KIND
    assert {entry.t for entry in tail.entries} == {clock.now()}
    assert tail.end == end
    assert tail.torn is None


def test_an_ack_is_rebuilt_with_its_deals() -> None:
    assert AckRecord.of(ACK, "EURUSD_M15", "wire").ack((DEAL,)) == ACK


def test_lines_are_the_documented_json(folder: Path, clock: FrozenClock) -> None:
    Journal(folder, clock).append(EVERY_KIND)
    written = (folder / "2026-02.jsonl").read_bytes().splitlines()
    parsed = [json.loads(line) for line in written]
    assert [line["kind"] for line in parsed] == [
        *("signal", "intent", "intent", "intent", "intent", "ack", "fill", "close", "event"),
    ]
    assert [line.get("leg") for line in parsed if line["kind"] == "intent"] == ["open", "open", "close", "amend"]
    assert parsed[1]["intent_id"] == "ob-1"
    for line, found in zip(written, parsed, strict=True):
        assert (found["v"], found["t"]) == (1, clock.now())
        body = line.replace(f',"crc":"{found["crc"]}"'.encode(), b"")
        assert f"{zlib.crc32(body):08x}" == found["crc"]
    assert (folder / "2026-02.jsonl").stat().st_mode & 0o777 == 0o600


def test_lines_from_before_protection_and_swap_are_still_read() -> None:
    opening = OpenIntent("ob-1", "m", "EURUSD", 1, 1, 300000, "oracle:m", "O|2.0", 1.77e9, 1.77e9 + 60)
    newer = {"stop_relative", "target_relative", "max_slippage_points", "stop_trigger", "swap"}
    for record in (opening, Fill("m", DEAL), Close("m", 12345, -9.87, -0.2, "stop_loss", "CLOSED")):
        line = json.loads(lines.encode(record, 1.77e9))
        del line["crc"]
        for part in (line, line.get("deal", {})):
            for key in newer & set(part):
                del part[key]
        body = json.dumps(line, separators=(",", ":")).encode()
        old = b'%b,"crc":"%08x"}' % (body[:-1], zlib.crc32(body))
        assert b"swap" not in old
        assert lines.decode(old).record == record


def test_a_batch_is_one_write_and_one_fsync(folder: Path, clock: FrozenClock, disk: Callable[..., Any]) -> None:
    journal = Journal(folder, clock)
    journal.append([event(0)])
    with disk() as log:
        journal.append(EVERY_KIND)
    assert log.log == [("open", "2026-02.jsonl"), ("write", "2026-02.jsonl"), ("fsync", "2026-02.jsonl")]


@pytest.mark.parametrize(
    "but", [lambda all_: all_, lambda all_: all_[1:], lambda all_: [event(1), *all_], lambda all_: all_[::-1]]
)
def test_records_that_were_vouched_for_are_appended_as_any_others(
    folder: Path, clock: FrozenClock, but: Callable[[list[Record]], list[Record]]
) -> None:
    journal = Journal(folder, clock)
    journal.append([event(0)])
    journal.vouch(EVERY_KIND)
    records = but(EVERY_KIND)
    clock.instant += 1.5
    journal.append(records)
    found = Journal(folder, clock).tail(None)
    assert list(found.records) == [event(0), *records]
    assert {entry.t for entry in found.entries[1:]} == {clock.instant}, "the instant of the appending"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_cannot_be_journalled_is_not_vouched_for(folder: Path, clock: FrozenClock, value: float) -> None:
    with pytest.raises(StateError, match="cannot be journalled"):
        Journal(folder, clock).vouch([event(1), Close("A_M15", 1, value, 0.0, "order", "")])
    assert not folder.exists()


def test_a_new_months_file_is_made_durable_in_its_folder(
    folder: Path, clock: FrozenClock, disk: Callable[..., Any]
) -> None:
    journal = Journal(folder, clock)
    with disk() as log:
        journal.append([event(0)])
    synced = [name for call, name in log.log if call == "fsync"]
    assert synced == ["journal", "2026-02.jsonl", "paper"]
    clock.instant = at("2026-03-01T00:00:00+00:00").instant
    with disk() as log:
        journal.append([event(1)])
    assert [name for call, name in log.log if call == "fsync"] == ["2026-03.jsonl", "paper"]


def test_nothing_is_created_before_the_first_append(folder: Path, clock: FrozenClock) -> None:
    journal = Journal(folder, clock)
    assert journal.tail(None).end is None
    assert journal.append([]) is None
    assert not folder.exists()


def test_a_tail_starts_after_the_mark_and_crosses_months(folder: Path) -> None:
    clock = at("2026-01-31T23:59:00+00:00")
    journal = Journal(folder, clock)
    marks = []
    for month in ("2026-01", "2026-02", "2026-04"):
        clock.instant = at(f"{month}-20T00:00:00+00:00").instant
        for _ in range(3):
            marks.append(journal.append([event(len(marks))]))
    assert marks[-1] is not None
    assert marks[-1].file == "2026-04.jsonl"
    for taken, mark in enumerate(marks):
        tail = Journal(folder, clock).tail(mark)
        assert numbers(tail.records) == list(range(taken + 1, 9))
        assert tail.end == marks[-1]
    assert journal.append([]) == marks[-1]
    assert numbers(Journal(folder, clock).tail(None).records) == [3, 4, 5, 6, 7, 8], "unmarked: the two newest months"


def test_what_somebody_else_has_written_meanwhile_stops_the_append(folder: Path, clock: FrozenClock) -> None:
    """Two machines, the first of which slept until its lease had lapsed: what the second did is not in its books."""
    Journal(folder, clock).append([event(1)])
    first, second = Journal(folder, clock), Journal(folder, clock)
    mark = first.tail(None).end
    second.append([event(2)])
    with pytest.raises(StateError, match="somebody else has written to it"):
        first.append([event(3)])
    assert numbers(Journal(folder, clock).tail(mark).records) == [2]


def test_a_month_that_somebody_else_has_begun_stops_the_append(folder: Path) -> None:
    first = Journal(folder, at("2026-11-30T23:59+00:00"))
    first.append([event(1)])
    Journal(folder, at("2026-12-01T00:00+00:00")).append([event(2)])
    first._clock = at("2026-12-01T00:01+00:00")
    with pytest.raises(StateError, match="somebody else has written to it"):
        first.append([event(3)])


def test_a_clock_that_goes_back_hides_no_record(folder: Path) -> None:
    clock = at("2026-03-01T00:00:00+00:00")
    journal = Journal(folder, clock)
    mark = journal.append([event(0)])
    clock.instant = at("2026-02-28T23:59:59+00:00").instant
    Journal(folder, clock).append([event(1)])
    assert numbers(Journal(folder, clock).tail(mark).records) == [1]


def test_only_the_tail_is_read(folder: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    from oracle_batch.store import lines

    journal = Journal(folder, clock)
    mark = journal.append([event(number) for number in range(500)])
    journal.append([event(500)])
    decoded: list[bytes] = []
    real = lines.decode
    monkeypatch.setattr(lines, "decode", lambda line: decoded.append(line) or real(line))
    assert numbers(Journal(folder, clock).tail(mark).records) == [500]
    assert len(decoded) == 2, "the last line for its checksum, and the one after the mark"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_never_written(folder: Path, clock: FrozenClock, value: float) -> None:
    journal = Journal(folder, clock)
    journal.append([event(0)])
    before = (folder / "2026-02.jsonl").read_bytes()
    with pytest.raises(StateError, match="cannot be journalled"):
        journal.append([event(1), Close("A_M15", 1, value, 0.0, "order", "")])
    with pytest.raises(StateError, match="cannot be journalled"):
        journal.append([Event("e", None, {"n": object()})])
    assert (folder / "2026-02.jsonl").read_bytes() == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_whatever_call_fails_the_batch_is_there_as_a_whole_or_not_at_all(
    folder: Path, clock: FrozenClock, disk: Callable[..., Any], code: int
) -> None:
    for attempt in range(1, 30):
        month = folder / "2026-02.jsonl"
        journal = Journal(folder, clock)
        mark = journal.append([event(0)])
        with disk(fail_at=attempt, code=code) as faulty, contextlib.suppress(StateError):
            journal.append([event(1), event(2)])
        found = numbers(Journal(folder, clock).tail(mark).records)
        if not faulty.failed:
            assert found == [1, 2]
            break
        assert found == []
        journal.append([event(3)])
        assert numbers(Journal(folder, clock).tail(mark).records) == [3], "and the journal can be used again"
        month.unlink()
    assert attempt == 4


def test_a_short_write_on_a_full_disk_is_taken_back(
    folder: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    journal = Journal(folder, clock)
    mark = journal.append([event(0)])
    real = os.write
    room = [10]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        room[0] -= 10
        return real(descriptor, bytes(data)[:10])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StateError, match="free some disk space"):
        journal.append([event(1)])
    monkeypatch.undo()
    assert mark is not None
    assert (folder / mark.file).stat().st_size == mark.offset


def test_where_even_taking_back_fails_the_next_run_cuts_the_torn_line_off(
    folder: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    journal = Journal(folder, clock)
    mark = journal.append([event(0)])
    real = os.write
    chunks = iter([10])

    def write(descriptor: int, data: bytes) -> int:
        return real(descriptor, bytes(data)[: next(chunks, None) or fail()])

    def fail() -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "ftruncate", lambda *_: fail())
        with pytest.raises(StateError, match="Input/output error"):
            journal.append([event(1)])
    journal.append([event(2)])
    records = Journal(folder, clock).tail(mark).records
    assert [record.name for record in records if isinstance(record, Event)] == ["journal_torn", "e"]
    assert numbers(records) == [2]


def test_a_world_writable_journal_is_refused_with_the_chmod(folder: Path, clock: FrozenClock) -> None:
    Journal(folder, clock).append([event(0)])
    month = folder / "2026-02.jsonl"
    month.chmod(0o666)
    with pytest.raises(StateError, match=f"chmod 600 {month}"):
        Journal(folder, clock).tail(None)
    with pytest.raises(StateError, match=f"chmod 600 {month}"):
        Journal(folder, clock).append([event(1)])
    month.chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(StateError, match=f"chmod 700 {folder}"):
        Journal(folder, clock).tail(None)


@pytest.mark.parametrize(
    ("mark", "why", "left"),
    [
        (Mark("2026-01.jsonl", 0), "is missing, though the books refer to it", [0]),
        (Mark("2026-03.jsonl", 70), "is missing, though the books refer to it", []),
        (Mark("2026-02.jsonl", 99999), "though the books have taken in 99999", []),
        (Mark("2026-02.jsonl", 5), "byte 5 is not the start of a line", [0]),
    ],
)
def test_a_mark_that_points_to_nothing_is_refused_with_one_that_takes_nothing_in_twice(
    folder: Path, clock: FrozenClock, mark: Mark, why: str, left: list[int]
) -> None:
    Journal(folder, clock).append([event(0)])
    with pytest.raises(StateError, match=why) as refusal:
        Journal(folder, clock).tail(mark)
    assert f"in state/executor/{folder.name}.json" in str(refusal.value)
    found = re.search(r'set "journal" to (.*) in', str(refusal.value))
    assert found is not None
    instead = msgspec.json.decode(found[1], type=Mark)
    assert numbers(Journal(folder, clock).tail(instead).records) == left


def test_without_any_journal_the_books_may_go_on_without_a_mark(folder: Path, clock: FrozenClock) -> None:
    with pytest.raises(StateError, match='set "journal" to null in'):
        Journal(folder, clock).tail(Mark("2026-01.jsonl", 70))


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))
    return path.read_bytes()


def test_damage_before_the_last_line_is_named_by_its_line_and_the_file_kept(folder: Path, clock: FrozenClock) -> None:
    journal = Journal(folder, clock)
    journal.append([event(0)])
    mark = journal.append([event(1)])
    journal.append([event(2), event(3)])
    month = folder / "2026-02.jsonl"
    damaged = rewrite(month, lambda found: [*found[:2], found[2].replace(b'"n":2', b'"n":7'), *found[3:]])
    for start in (None, mark):
        with pytest.raises(StateError, match="line 3: its checksum does not fit") as caught:
            Journal(folder, clock).tail(start)
        assert str(month) in str(caught.value)
    assert month.read_bytes() == damaged


def test_damage_before_the_mark_is_not_looked_at(folder: Path, clock: FrozenClock) -> None:
    journal = Journal(folder, clock)
    mark = journal.append([event(0)])
    journal.append([event(1)])
    rewrite(folder / "2026-02.jsonl", lambda found: [found[0].replace(b'"n":0', b'"n":7'), *found[1:]])
    assert numbers(Journal(folder, clock).tail(mark).records) == [1]


def test_a_damaged_line_that_the_books_have_taken_in_is_not_cut_off(folder: Path, clock: FrozenClock) -> None:
    mark = Journal(folder, clock).append([event(0), event(1)])
    month = folder / "2026-02.jsonl"
    damaged = rewrite(month, lambda found: [found[0], found[1].replace(b'"n":1', b'"n":7'), *found[2:]])
    with pytest.raises(StateError, match="line 2: its checksum does not fit"):
        Journal(folder, clock).tail(mark)
    assert month.read_bytes() == damaged


def test_a_torn_line_in_an_older_month_is_damage(folder: Path) -> None:
    clock = at("2026-01-20T00:00:00+00:00")
    journal = Journal(folder, clock)
    mark = journal.append([event(0)])
    clock.instant = at("2026-02-20T00:00:00+00:00").instant
    journal.append([event(1)])
    with (folder / "2026-01.jsonl").open("ab") as file:
        file.write(b'{"v":1')
    with pytest.raises(StateError, match="line 2: its checksum does not fit"):
        Journal(folder, clock).tail(mark)


def sealed(body: bytes) -> bytes:
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"v":2,"t":1.0,"kind":"event","name":"e","model":null,"detail":{}}', "newer version"),
        (b'{"v":1,"t":1.0,"kind":"dream","name":"e"}', "kind 'dream' is not known"),
        (b'{"v":1,"t":1.0,"kind":"event","name":7}', "Expected `str`, got `int`"),
    ],
)
def test_a_whole_line_of_another_version_is_refused_and_never_cut(
    folder: Path, clock: FrozenClock, body: bytes, why: str
) -> None:
    Journal(folder, clock).append([event(0)])
    month = folder / "2026-02.jsonl"
    with month.open("ab") as file:
        file.write(sealed(body))
    before = month.read_bytes()
    with pytest.raises(StateError, match=f"line 2: .*{why}"):
        Journal(folder, clock).tail(None)
    assert month.read_bytes() == before


def test_fields_of_a_later_release_are_passed_over(folder: Path, clock: FrozenClock) -> None:
    Journal(folder, clock).append([event(0)])
    with (folder / "2026-02.jsonl").open("ab") as file:
        file.write(sealed(b'{"v":1,"t":1.5,"kind":"event","name":"e","model":null,"detail":{"n":1},"mood":"calm"}'))
    assert numbers(Journal(folder, clock).tail(None).records) == [0, 1]
