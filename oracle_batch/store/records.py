"""What the journal records. Orders and deals are recorded as the very values that crossed the broker's border."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from oracle_batch.broker.base import Ack, AckStatus, AmendIntent, CloseCause, CloseIntent, CloseReason, Deal, OpenIntent


class _Record(msgspec.Struct, frozen=True):
    """A frozen record. Readers skip fields they do not know."""


class Signal(_Record, frozen=True):
    """What the brain wants on one bar. ``action`` indexes ``types.ACTIONS``; ``wire`` is its text form."""

    model: str
    bar_time: int
    action: int
    hmm_state: int
    virtual_pnl: float
    wire: str


class AckRecord(_Record, frozen=True):
    """What became of one intent; its deals follow as Fill records."""

    intent_id: str
    model: str
    status: AckStatus
    reason: str | None
    position_id: int | None
    price: float | None
    slippage: float | None
    wire: str

    @classmethod
    def of(cls, ack: Ack, model: str, wire: str) -> AckRecord:
        """The record of a broker's ack."""
        return cls(ack.intent_id, model, ack.status, ack.reason, ack.position_id, ack.price, ack.slippage, wire)

    def ack(self, deals: tuple[Deal, ...] = ()) -> Ack:
        """The broker's ack, with the deals of the Fill records that belong to it."""
        return Ack(self.intent_id, self.status, self.reason, self.position_id, self.price, self.slippage, deals)


class Fill(_Record, frozen=True):
    """One deal of a model. ``slippage`` and ``spread`` are price distances: what was paid beyond the quote that it was
    decided on, and how wide that was; None where not known.
    """

    model: str
    deal: Deal
    slippage: float | None = None
    spread: float | None = None


class Close(_Record, frozen=True):
    """The end of one of our positions, whoever ended it. Money in the account currency.

    ``profit``, ``commission`` and ``swap`` are those of the closing deals; the net result in ``wire`` is less
    ``opening_commission``, too, which the opening's Fill records hold. ``cause`` is that of a close of ours.
    """

    model: str
    position_id: int
    profit: float
    commission: float
    reason: CloseReason
    wire: str
    swap: float = 0.0
    opening_commission: float = 0.0
    cause: CloseCause | None = None


class Event(_Record, frozen=True):
    """Anything else worth keeping, e.g. ``bar_revised``. ``detail`` holds JSON values."""

    name: str
    model: str | None = None
    detail: dict[str, Any] = {}


Record = Signal | OpenIntent | CloseIntent | AmendIntent | AckRecord | Fill | Close | Event

KINDS: Final[dict[tuple[str, str | None], type[Record]]] = {
    ("signal", None): Signal,
    ("intent", "open"): OpenIntent,
    ("intent", "close"): CloseIntent,
    ("intent", "amend"): AmendIntent,
    ("ack", None): AckRecord,
    ("fill", None): Fill,
    ("close", None): Close,
    ("event", None): Event,
}
"""The type of a line by its ``kind`` and, for an intent, its ``leg``."""
