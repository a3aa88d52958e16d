"""Whether a journal is whole, and whether it keeps the promise: every leg answered, none filled twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from oracle_batch.broker.base import CloseIntent, OpenIntent
from oracle_batch.errors import OracleBatchError, StateError
from oracle_batch.store import executor as executor_file
from oracle_batch.store.journal import Mark
from oracle_batch.store.lines import Entry
from oracle_batch.store.reading import Line, read_places
from oracle_batch.store.records import AckRecord, Fill
from oracle_batch.store.workspace import Workspace

_LOST: Final = "before the books' mark, and nobody will ask for it again"


class Verified(msgspec.Struct):
    """An account's journal: how much it holds, what is wrong with it, and the legs that the next run has to ask for."""

    account: str
    months: list[str] = []
    lines: int = 0
    intents: int = 0
    answered: int = 0
    open: list[str] = []
    problems: list[str] = []

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return msgspec.structs.asdict(self)


class _Leg(msgspec.Struct):
    """A leg as far as the journal tells: asked for at ``place``, its volume, its fills, whether it has its answer."""

    place: str
    month: str
    start: int
    volume_cents: int
    opens: bool
    answered: bool = False
    filled_cents: int = 0


def verify(workspace: Workspace, account: str) -> Verified:
    """Read an account's whole journal, compacted months included. Looks only.

    Raises:
        StateError: the folder or a file of it cannot be read at all.
    """
    result = Verified(account)
    mark, complaint = _mark_of(workspace, account)
    if complaint is not None:
        result.problems.append(complaint)
    legs: dict[str, _Leg] = {}
    deals: dict[int, str] = {}
    starts: set[tuple[str, int]] = set()
    for line in _noted(read_places(workspace.journal_folder(account)), result, starts):
        assert isinstance(line.content, Entry)
        _take(line, line.content, legs, deals, result)
    _judge(legs, mark, result)
    if mark is not None and (mark.file, mark.offset) not in starts:
        result.problems.append(f"the books refer to byte {mark.offset} of {mark.file}, where no line starts or ends")
    return result


def _mark_of(workspace: Workspace, account: str) -> tuple[Mark | None, str | None]:
    try:
        books = executor_file.load(workspace.executor_path(account), account)
    except OracleBatchError as error:
        return None, str(error)
    return (None if books is None else books.journal), None


def _noted(lines: Iterable[Line], result: Verified, starts: set[tuple[str, int]]) -> Iterable[Line]:
    """The lines that can be read; those that cannot are problems. Notes months, and where lines start or end."""
    previous: Line | None = None
    for line in lines:
        if previous is None or previous.file != line.file:
            result.months.append(line.file.name)
        month = f"{line.file.stem}.jsonl"
        starts |= {(month, line.start), (month, line.end)}
        result.lines += 1
        previous = line
        if isinstance(line.content, StateError):
            result.problems.append(str(line.content))
        else:
            yield line


def _take(line: Line, entry: Entry, legs: dict[str, _Leg], deals: dict[int, str], result: Verified) -> None:
    record, place = entry.record, f"{line.file.name} line {line.number}"
    if isinstance(record, OpenIntent | CloseIntent):
        before = legs.get(record.intent_id)
        leg = _Leg(place, f"{line.file.stem}.jsonl", line.start, record.volume_cents, isinstance(record, OpenIntent))
        leg.filled_cents = before.filled_cents if before is not None else 0
        result.intents += before is None
        legs[record.intent_id] = leg
    elif isinstance(record, AckRecord) and record.intent_id in legs:
        legs[record.intent_id].answered = record.status != "UNKNOWN"
    elif isinstance(record, Fill):
        if record.deal.deal_id in deals:
            result.problems.append(f"{place}: deal {record.deal.deal_id} is also in {deals[record.deal.deal_id]}")
        deals[record.deal.deal_id] = place
        leg_of = legs.get(record.deal.client_order_id)
        if leg_of is not None and leg_of.opens and not record.deal.closing:
            leg_of.filled_cents += record.deal.volume_cents


def _judge(legs: dict[str, _Leg], mark: Mark | None, result: Verified) -> None:
    for name, leg in legs.items():
        result.answered += leg.answered
        if leg.opens and leg.filled_cents > leg.volume_cents:
            what = f"{leg.filled_cents} of {leg.volume_cents} hundredths of a unit were filled"
            result.problems.append(f"{leg.place}: {name}: {what}")
        if leg.answered:
            continue
        if mark is not None and (leg.month, leg.start) < (mark.file, mark.offset):
            result.problems.append(f"{leg.place}: {name} has no answer; it stands {_LOST}")
        else:
            result.open.append(name)
