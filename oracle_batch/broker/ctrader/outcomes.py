"""What becomes of one leg, from whatever the broker says about it, in any order and any number of times. Pure.

ACCEPTED is no success, silence no failure. Deals are counted by their ids. A leg is over when its order has ended and
every deal that the order speaks of has been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from oracle_batch.broker.base import Ack, AmendIntent, CloseIntent, Deal, OpenIntent, Quote, Request
from oracle_batch.broker.ctrader.refusals import meaning_of
from oracle_batch.broker.ctrader.reports import OrderView, Report

NO_ANSWER: Final = "NO_ANSWER"
PARTIAL: Final = "PARTIALLY_CLOSED"
_ENDS: Final = frozenset({"filled", "rejected", "cancelled", "expired", "refused"})
_CODES: Final = {"rejected": "ORDER_REJECTED", "cancelled": "ORDER_CANCELLED", "expired": "ORDER_EXPIRED"}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the broker shows when it is asked: ids of open positions, and orders and deals since the burst began."""

    open_ids: frozenset[int]
    orders: Sequence[OrderView]
    deals: Sequence[Deal]
    protection: dict[int, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(slots=True)
class Leg:
    """One intent on its way. ``ids`` are the messages that carried it; ``ack`` is None until it is over.

    ``confirmed`` means of a close that the whole position is gone, deals all seen or not. ``again`` is the code of a
    refusal after which the same may be sent once more.
    """

    intent: Request
    ids: set[str] = field(default_factory=set)
    order_ids: set[int] = field(default_factory=set)
    deals: dict[int, Deal] = field(default_factory=dict)
    quote: Quote | None = None
    ack: Ack | None = None
    again: str | None = None
    confirmed: bool = False
    stop_loss: float | None = None
    take_profit: float | None = None
    _ended: str | None = None
    _code: str = ""
    _executed: int = 0
    _position_id: int | None = None

    @property
    def filled_cents(self) -> int:
        return sum(deal.volume_cents for deal in self.deals.values())

    def concerns(self, report: Report, client_msg_id: str) -> bool:
        """Whether a report is about this leg."""
        order, intent = report.order, self.intent
        if client_msg_id in self.ids:
            return True
        if isinstance(intent, OpenIntent):
            mine = order is not None and order.client_order_id == intent.intent_id
            return mine or (report.order_id in self.order_ids and report.order_id != 0)
        if report.position_id != intent.position_id or (order is None and report.deal is None):
            return False
        if isinstance(intent, CloseIntent):
            ours = order is not None and order.closing and not order.protection
            return ours or (report.deal is not None and report.deal.closing) or report.position_open is False
        return order is not None and order.protection and report.kind in ("accepted", "replaced")

    def hear(self, report: Report) -> None:
        """Take a report that concerns this leg."""
        if self.ack is not None:
            return
        if isinstance(self.intent, AmendIntent):
            self._hear_amended(report)
        elif report.order is not None and report.order.protection and report.deal is None:
            if isinstance(self.intent, CloseIntent) and report.position_open is False:
                self.confirmed = True  # its protection went with it
        else:
            self._hear_order(report)
        self._judge()

    def found(self, order: OrderView | None, deals: Iterable[Deal], *, position_open: bool | None) -> None:
        """Take what the broker answers when it is asked: the order, all deals of it, and whether the position is there.

        An order that is still worked on, or unknown, settles nothing.
        """
        if self.ack is not None or isinstance(self.intent, AmendIntent):
            return
        if isinstance(self.intent, CloseIntent) and position_open is not False:
            return  # deals of earlier partial closes say nothing about this one
        for deal in deals:
            self._count(deal)
        if isinstance(self.intent, CloseIntent):
            self.confirmed = True
            self.conclude()
            return
        if order is not None:
            self.order_ids.add(order.order_id)
            if order.state != "working":
                self._ended, self._executed = order.state, order.executed_cents
        self._judge()

    def take(self, answers: Answers) -> None:
        """Take what the broker shows when it is asked."""
        intent = self.intent
        if isinstance(intent, AmendIntent):
            if intent.position_id not in answers.open_ids:
                self.ack = Ack(intent.intent_id, "OK", "ALREADY_CLOSED", intent.position_id)
            elif answers.protection.get(intent.position_id) == (intent.stop_loss, intent.take_profit):
                self.ack = Ack(intent.intent_id, "OK", None, intent.position_id)
            return
        if isinstance(intent, CloseIntent):
            mine = [deal for deal in answers.deals if deal.position_id == intent.position_id and deal.closing]
            self.found(None, mine, position_open=intent.position_id in answers.open_ids)
            return
        order = next((one for one in answers.orders if one.client_order_id == intent.intent_id), None)
        ids = self.order_ids | ({order.order_id} if order else set())
        mine = [deal for deal in answers.deals if deal.order_id in ids and not deal.closing]
        self.found(order, mine, position_open=None)

    def conclude(self) -> None:
        """Be content with the deals seen so far, where only deals are missing."""
        if self.ack is None and isinstance(self.intent, CloseIntent) and self.confirmed:
            self._closed()

    def unknown(self) -> None:
        """Nobody can say what became of it."""
        if self.ack is None:
            self.ack = Ack(self.intent.intent_id, "UNKNOWN", NO_ANSWER, self._of_position())

    def skip(self, reason: str) -> None:
        """It does not leave."""
        self.ack = Ack(self.intent.intent_id, "SKIP", reason)

    @property
    def closed_by_us(self) -> bool:
        """Whether a close has ended its whole position itself; what a stop or a hand has ended, it has not."""
        ack = self.ack
        if not self.confirmed or ack is None or ack.status != "OK" or ack.reason is not None:
            return False
        return bool(ack.deals) and all(deal.reason == "order" for deal in ack.deals)

    def fail(self, code: str) -> None:
        """It has definitely not been carried out."""
        self.ack = Ack(self.intent.intent_id, "FAIL", code, self._of_position(), deals=self._deals())

    # inside

    def _hear_amended(self, report: Report) -> None:
        if report.kind in ("refused", "rejected"):
            self._refused(report.code or "AMEND_REJECTED")
        else:
            self.ack = Ack(self.intent.intent_id, "OK", None, self._of_position())

    def _hear_order(self, report: Report) -> None:
        if report.order_id:
            self.order_ids.add(report.order_id)
        if report.deal is not None:
            self._count(report.deal)
        if report.position_id:
            self._position_id = report.position_id
            self.stop_loss, self.take_profit = report.stop_loss, report.take_profit
        if isinstance(self.intent, CloseIntent) and report.position_open is False:
            self.confirmed = True
        if report.kind in _ENDS:
            self._ended = report.kind
            self._code = report.code or self._code
            told = report.order.executed_cents if report.order is not None else 0
            self._executed = max(self._executed, told)

    def _count(self, deal: Deal) -> None:
        intent = self.intent
        if isinstance(intent, OpenIntent):
            if not deal.closing:
                self.deals[deal.deal_id] = replace(
                    deal, client_order_id=intent.intent_id, label=intent.label, symbol=intent.symbol
                )
                self._position_id = deal.position_id
        elif deal.closing and deal.position_id == intent.position_id:
            self.deals[deal.deal_id] = replace(deal, symbol=intent.symbol)

    def _judge(self) -> None:
        """Whether it is over."""
        intent = self.intent
        if self.ack is not None or isinstance(intent, AmendIntent):
            return
        filled = self.filled_cents
        if isinstance(intent, CloseIntent) and filled >= intent.volume_cents:
            self.confirmed = True
            self._closed()
        elif self._ended == "filled" and isinstance(intent, OpenIntent):
            if filled >= (self._executed or intent.volume_cents):
                self._opened()
        elif self._ended is not None and self._ended != "filled" and filled >= self._executed:
            if not filled:
                self._refused(self._code or _CODES.get(self._ended, "REFUSED"))
            elif isinstance(intent, OpenIntent):
                self._opened()
            elif not self.confirmed:
                self.fail(PARTIAL)

    def _refused(self, code: str) -> None:
        meaning = meaning_of(code)
        if meaning == "already done" and not isinstance(self.intent, OpenIntent):
            self.confirmed = True
            self.ack = Ack(self.intent.intent_id, "OK", "ALREADY_CLOSED", self._of_position(), deals=self._deals())
            return
        self.fail(code)
        self.again = code

    def _opened(self) -> None:
        intent, deals = self.intent, self._deals()
        volume = self.filled_cents
        price = sum(deal.price * deal.volume_cents for deal in deals) / volume
        self.ack = Ack(
            intent.intent_id, "OK", None, deals[0].position_id, price, self._slippage(price, deals[0].direction), deals
        )

    def _closed(self) -> None:
        deals, volume = self._deals(), self.filled_cents
        price = sum(deal.price * deal.volume_cents for deal in deals) / volume if volume else None
        slippage = None if price is None else self._slippage(price, deals[0].direction)
        self.ack = Ack(self.intent.intent_id, "OK", None, self._of_position(), price, slippage, deals)

    def _slippage(self, price: float, direction: int) -> float | None:
        """What was paid beyond the quote at the sending; positive is worse."""
        if self.quote is None:
            return None
        return round(direction * (price - (self.quote.ask if direction > 0 else self.quote.bid)), 10) + 0.0

    def _deals(self) -> tuple[Deal, ...]:
        return tuple(self.deals[key] for key in sorted(self.deals))

    def _of_position(self) -> int | None:
        return self._position_id if isinstance(self.intent, OpenIntent) else self.intent.position_id
