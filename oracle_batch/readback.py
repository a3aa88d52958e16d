"""The journal as rows of one shape, for tables and for other programs."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from oracle_batch.broker.base import CloseIntent, Deal, OpenIntent
from oracle_batch.errors import StateError
from oracle_batch.store.lines import Entry
from oracle_batch.store.reading import read_journal
from oracle_batch.store.records import KINDS, Event, Fill, Record
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import action_of, split_model_id

Kind = Literal["signal", "intent", "ack", "fill", "close", "event"]

_KIND_OF: Final = {kind: name for (name, _), kind in KINDS.items()}
_LEG_OF: Final = {kind: leg for (_, leg), kind in KINDS.items() if leg is not None}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a journal. What a kind does not have is None; the fields are the columns, in this order.

    ``time`` is ISO 8601 and ``t`` the same in Unix seconds; ``id`` is the order leg's; ``side`` is that of the order
    or deal; money is in the account currency. ``text`` is the wire form where there is one.
    """

    time: str
    t: float
    account: str
    kind: str
    model: str | None
    symbol: str | None = None
    bar_time: int | None = None
    id: str | None = None
    position_id: int | None = None
    side: Literal["buy", "sell"] | None = None
    volume_cents: int | None = None
    price: float | None = None
    slippage: float | None = None
    profit: float | None = None
    swap: float | None = None
    commission: float | None = None
    status: str | None = None
    reason: str | None = None
    text: str = ""

    def values(self) -> dict[str, Any]:
        """The fields by column."""
        return asdict(self)


COLUMNS: Final = tuple(Row.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Found:
    """A row and the record that it is made from."""

    row: Row
    record: Record

    def to_json(self) -> dict[str, Any]:
        """The columns, and the whole record."""
        return {**self.row.values(), "record": msgspec.to_builtins(self.record)}


def read_back(
    workspace: Workspace,
    accounts: Sequence[str],
    *,
    since: float = 0.0,
    model: str | None = None,
    kind: Kind | None = None,
) -> Iterator[Found | StateError]:
    """The journals of some accounts, merged by time; for a line that cannot be read, why.

    ``model`` is a model id or a symbol. Months are read as they are needed.

    Raises:
        StateError: a journal cannot be read at all.
    """
    for _, account, entry in heapq.merge(*(_timed(workspace, one, since) for one in accounts), key=lambda one: one[0]):
        if isinstance(entry, StateError):
            yield entry
            continue
        found = Found(row_of(entry, account), entry.record)
        if kind in (None, found.row.kind) and (model is None or model in _words(found.row)):
            yield found


def _timed(workspace: Workspace, account: str, since: float) -> Iterator[tuple[float, str, Entry | StateError]]:
    last = since
    for entry in read_journal(workspace.journal_folder(account), since):
        last = entry.t if isinstance(entry, Entry) else last
        yield last, account, entry


def _words(row: Row) -> set[str | None]:
    known = split_model_id(row.model or "")
    return {row.model, row.symbol, known[0] if known else None}


def row_of(entry: Entry, account: str) -> Row:
    """The row of a journal's entry."""
    record = entry.record
    fields = _fields(record)
    name = fields.pop("model", None) or None
    return Row(_iso(entry.t), entry.t, account, _KIND_OF[type(record)], name, **fields)


def _fields(record: Record) -> dict[str, Any]:
    """A record's columns: those of its fields that are one, and what has another name there."""
    if isinstance(record, Fill):
        return {"model": record.model, **_of_deal(record.deal)}
    if isinstance(record, Event):
        detail = f" {json.dumps(record.detail)}" if record.detail else ""
        return {"model": record.model, "text": record.name + detail}
    fields = _columns_of(record)
    fields["id"] = getattr(record, "intent_id", None)
    fields["text"] = getattr(record, "wire", _LEG_OF.get(type(record), "").upper())
    if isinstance(record, OpenIntent):
        fields["side"] = _side(record.direction)
        fields["text"] += f" {action_of(record.direction, record.intensity).name}"
    if isinstance(record, CloseIntent):
        fields["reason"] = record.cause
    return fields


def _of_deal(deal: Deal) -> dict[str, Any]:
    return _columns_of(deal) | {
        "id": deal.client_order_id or None,
        "side": _side(deal.direction),
        "reason": deal.reason if deal.closing else None,
        "text": "CLOSED" if deal.closing else "OPENED",
    }


def _columns_of(value: object) -> dict[str, Any]:
    return {name: getattr(value, name) for name in COLUMNS if hasattr(value, name) and name not in ("time", "kind")}


def _iso(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _side(direction: int) -> Literal["buy", "sell"]:
    return "buy" if direction > 0 else "sell"
