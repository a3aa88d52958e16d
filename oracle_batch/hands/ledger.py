"""How the books change: by acks, by positions that ended without us, by positions found at the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as relabel

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, CloseIntent, CloseReason, Deal, Intent, OpenIntent, Position
from oracle_batch.hands.books import HeldPosition, ModelBooks, PendingClose, WaitCause, Waiting
from oracle_batch.hands.sync import is_sticky
from oracle_batch.hands.texts import read_comment
from oracle_batch.types import label_of, model_of

CAUSE_OF_END: dict[CloseReason, WaitCause] = {
    "stop_loss": "stopped",
    "take_profit": "stopped",
    "stop_out": "stopped",
    "manual": "manual",
    "order": "manual",
}
"""Why a model waits after its position ended without a closing leg of ours."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One of our positions that is no more: its closing deals summed, money in the account currency.

    ``time`` is that of the last deal (Unix seconds), None where the broker shows none; ``opening_commission`` is what
    its opening had cost.
    """

    position_id: int
    profit: float
    commission: float
    reason: CloseReason
    time: float | None = None
    swap: float = 0.0
    opening_commission: float = 0.0

    @property
    def net(self) -> float:
        """What the whole trade has made, from its opening on."""
        return self.profit + self.swap - self.commission - self.opening_commission


def ended(
    position_id: int, deals: Iterable[Deal], otherwise: CloseReason = "manual", opening_commission: float = 0.0
) -> Ended:
    """What a position came to, from its closing deals; ``otherwise`` is the reason when the broker shows none.

    ``opening_commission`` is what the books know of it; opening deals count where they tell more.
    """
    mine = [deal for deal in deals if deal.position_id == position_id]
    closing = [deal for deal in mine if deal.closing]
    return Ended(
        position_id,
        sum(deal.profit for deal in closing),
        sum(deal.commission for deal in closing),
        closing[-1].reason if closing else otherwise,
        closing[-1].time if closing else None,
        sum(deal.swap for deal in closing),
        max(opening_commission, sum(deal.commission for deal in mine if not deal.closing)),
    )


def ended_by(books: ModelBooks, leg: CloseIntent, ack: Ack) -> Ended:
    """What the position that a closing leg of ours has ended came to; ``books`` are those before the leg."""
    held = books.position
    known = held.commission if held is not None and held.position_id == leg.position_id else 0.0
    return ended(leg.position_id, ack.deals, "order", known)


def closes_in_parts(books: ModelBooks, leg: CloseIntent) -> bool:
    """Whether a closing leg ends a position of which others closed a part before; ``books`` are those before it."""
    held = books.position
    if held is None or held.position_id != leg.position_id:
        return False
    return held.in_parts or leg.volume_cents < held.volume_cents


def after_ack(books: ModelBooks, intent: Intent, ack: Ack) -> ModelBooks:
    """The books after one leg's outcome. An unknown outcome changes nothing: recovery will ask."""
    if ack.status == "UNKNOWN":
        return books
    if isinstance(intent, OpenIntent):
        return _after_open(books, intent, ack)
    return _after_close(books, intent, ack)


def _after_open(books: ModelBooks, intent: OpenIntent, ack: Ack) -> ModelBooks:
    if ack.status != "OK" or ack.position_id is None or ack.price is None:
        missed = Waiting("missed", intent.direction)
        return replace(books, waiting=books.waiting if is_sticky(books.waiting, intent.direction) else missed)
    held = HeldPosition(
        ack.position_id,
        intent.direction,
        intent.intensity,
        sum(deal.volume_cents for deal in ack.deals) or intent.volume_cents,
        ack.price,
        ack.deals[-1].time if ack.deals else intent.decided_at,
        commission=sum(deal.commission for deal in ack.deals),
    )
    return replace(books, position=held, watch=None, waiting=None)


def _after_close(books: ModelBooks, intent: CloseIntent, ack: Ack) -> ModelBooks:
    if ack.status != "OK":
        since = books.pending_close.since if books.pending_close else intent.decided_at
        return replace(books, pending_close=PendingClose(intent.position_id, since, intent.cause))
    waiting = books.waiting
    result = ended_by(books, intent, ack)
    direction = _closed_direction(books, intent, ack)
    if direction and result.reason != "order":
        waiting = Waiting(CAUSE_OF_END[result.reason], direction)
    elif direction and intent.cause != "signal":
        waiting = Waiting(intent.cause, direction)
    return replace(books, position=None, watch=None, pending_close=None, waiting=waiting)


def _closed_direction(books: ModelBooks, intent: CloseIntent, ack: Ack) -> int:
    """The direction of a position that is closed: the books', else against its closing deals; 0: not known."""
    if books.position is not None:
        return books.position.direction
    closing = [deal for deal in ack.deals if deal.position_id == intent.position_id and deal.closing]
    return -closing[-1].direction if closing else 0


def after_end(books: ModelBooks, result: Ended) -> ModelBooks:
    """The books after our position ended without a closing leg of ours (stop, target, stop-out, by hand)."""
    held = books.position
    waiting = Waiting(CAUSE_OF_END[result.reason], held.direction) if held else books.waiting
    return replace(books, position=None, watch=None, pending_close=None, waiting=waiting)


def real_intensity(position: Position, books: ModelBooks) -> int | None:
    """The intensity of an open position: relabelled books, else its comment, else the books. None: unknown."""
    held = books.position
    known = held is not None and held.position_id == position.position_id
    if known and held is not None and held.relabelled:
        return held.intensity
    comment = read_comment(position.comment)
    if comment is not None:
        return comment.intensity
    return held.intensity if known and held is not None else None


def adopted(books: ModelBooks, position: Position) -> ModelBooks:
    """The books with a position of ours that they did not know or knew differently; unknown intensity is left out."""
    held = books.position
    if held is not None and held.position_id == position.position_id:
        if held.volume_cents == position.volume_cents:
            return books
        return replace(books, position=replace(held, volume_cents=position.volume_cents, in_parts=True))
    intensity = real_intensity(position, books)
    if intensity is None:
        return books
    return replace(
        books,
        position=HeldPosition(
            position.position_id,
            position.direction,
            intensity,
            position.volume_cents,
            position.entry_price,
            position.opened_at,
            commission=position.commission,
        ),
    )


def claimed(positions: Iterable[Position], books: Mapping[str, ModelBooks]) -> list[Position]:
    """The positions, those that an operator has given to a model under that model's label (decision 0013).

    A broker's label cannot be changed, so the books alone say that such a position is the model's.
    """
    owners = {one.position.position_id: name for name, one in books.items() if one.position is not None}
    return [
        relabel(position, label=label_of(owners[position.position_id]))
        if position.position_id in owners and model_of(position.label) is None
        else position
        for position in positions
    ]


def given(books: ModelBooks, held: HeldPosition) -> ModelBooks:
    """The books of a model that an operator has given a position to."""
    return replace(books, position=held, watch=None, waiting=None, pending_close=None)
