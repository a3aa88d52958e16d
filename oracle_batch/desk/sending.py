"""Orders on their way: durable first, then sent in one burst."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from oracle_batch.broker.base import Ack, CloseIntent, Intent, OpenIntent
from oracle_batch.desk.books import Keeping
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import ledger

_log = logging.getLogger(__name__)


class Sending(Keeping):
    """The part that lets orders out."""

    __slots__ = ()

    def say(self, text: str) -> None:
        """Have something ready for the log, which waits until the orders are out."""
        self.unsaid.append(_log.makeRecord(_log.name, logging.INFO, __file__, 0, "%s", (text,), None))

    def speak(self) -> None:
        """Tell the log what was kept for it."""
        for record in self.unsaid:
            if logging.getLogger(record.name).isEnabledFor(record.levelno):
                logging.getLogger(record.name).handle(record)
        self.unsaid.clear()

    def journal_intents(self) -> None:
        """Make the intents durable that are not yet. Without any, the records wait for the second append."""
        fresh = [leg for leg in self.intents if leg.intent_id not in self.journalled]
        if fresh and not self.dry_run:
            self.journal.append([*self.before_send, *fresh])
            self.before_send = []
            self.journalled |= {leg.intent_id for leg in fresh}

    async def send(self) -> None:
        """Send in one burst what is not sent yet and has not to wait.

        Whatever goes wrong on the way leaves the outcome unknown, for the next run to ask.
        """
        held = self.acks.keys() | self.waiting | self.crossing
        legs = [leg for leg in self.intents if leg.intent_id not in held]
        if not legs or self.dry_run:
            return
        answers: dict[str, Ack] = {}
        try:
            answers = {ack.intent_id: ack for ack in await self.broker.execute(legs, self._gate)}
        except OracleBatchError as error:
            _log.error("account %s: the outcome of %d legs is unknown: %s", self.name, len(legs), error)
        except Exception:  # noqa: BLE001 - orders may be out: the acks of the other accounts must still be booked
            _log.exception("account %s: the outcome of %d legs is unknown", self.name, len(legs))
        for leg in legs:
            ack = answers.get(leg.intent_id) or Ack(leg.intent_id, "UNKNOWN", "NO_ANSWER")
            self.acks[leg.intent_id] = await self._explained(leg, ack)

    async def _explained(self, leg: Intent, ack: Ack) -> Ack:
        """An ack, with all closing deals where others had closed the position, or a part of it, before our close came.

        What a part has made would be lost for good; so a close whose deals cannot be had is left to the next run.
        """
        if not isinstance(leg, CloseIntent) or ack.status != "OK":
            return ack
        books = self.books(leg.model)
        in_parts = ledger.closes_in_parts(books, leg)
        if ack.deals and not in_parts:
            return ack
        try:
            deals = await self.broker.deals(books.position.opened_at if books.position else leg.decided_at)
        except OracleBatchError:
            return Ack(leg.intent_id, "UNKNOWN", "NO_ANSWER") if in_parts else ack
        return replace(ack, deals=tuple(deal for deal in deals if deal.position_id == leg.position_id and deal.closing))

    def _gate(self, entries: Sequence[OpenIntent]) -> Mapping[str, str]:
        """Asked right before entries leave: the pause flag and the deadline have the last word."""
        if self.workspace.is_paused():
            return {entry.intent_id: "PAUSED" for entry in entries}
        now = self.clock.now()
        return {entry.intent_id: "LATE" for entry in entries if now > entry.deadline}
