"""What an interrupted run has left, and what happened at the broker since."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from msgspec.structs import replace as with_

from oracle_batch.broker.base import CloseIntent, Intent, OpenIntent, Position
from oracle_batch.desk.answers import Answering
from oracle_batch.errors import StateError
from oracle_batch.hands import ledger
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.hands.proof import Evidence
from oracle_batch.journalling import ack_records, close_record
from oracle_batch.recover import doubtful, handed_on, not_yet_told, recover, unanswered, without_torn_answers
from oracle_batch.report import Outcome
from oracle_batch.store.journal import Tail
from oracle_batch.store.records import Close, Event, Record
from oracle_batch.types import LABEL_PREFIX

_log = logging.getLogger(__name__)

CLOCK_SLACK_S = 60.0
"""The broker's clock may be so far behind ours: what came of an order may have an earlier time than its decision."""


class Recovering(Answering):
    """The part that holds the books against the broker."""

    __slots__ = ()

    async def recover(self) -> None:
        """Settle what an interrupted run left, and what happened at the broker since."""
        tail = self.journal.tail(self.executor.journal, repair=not self.dry_run)
        if tail.torn is not None:
            _log.warning("journal: a torn last line was cut off: %s", tail.torn.detail)
        self.positions = await self.broker.positions()
        books = await self._fold(tail)
        await self._see(self.positions, books)
        self.executor = with_(self.executor, journal=tail.end)
        if self.opened:
            self.watch_opened(await self.broker.terms(sorted({entry.symbol for entry, _ in self.opened.values()})))

    async def look_again(self) -> None:
        """See what has become of the account and its positions since it was recovered."""
        self.account = await self.broker.account()
        shown = await self.broker.positions()
        if shown != self.shown:
            await self._see(shown, dict(self.executor.models))

    async def _see(self, shown: list[Position], books: dict[str, ModelBooks]) -> None:
        """Hold the broker's positions against the books, which follow."""
        self.shown = shown
        open_ids = frozenset(position.position_id for position in shown)
        self.positions = ledger.claimed(shown, books)
        await self._note_ends(books, open_ids)
        self._adopt(books, open_ids)
        self.executor = with_(self.executor, models=books)

    async def _fold(self, tail: Tail) -> dict[str, ModelBooks]:
        damaged, whole = self.executor.damaged, without_torn_answers(tail.records)
        records = [one for one in whole if getattr(one, "model", None) not in damaged]
        of_damaged = [one for one in whole if getattr(one, "model", None) in damaged]
        self.recovery = recover(self.executor.models, records, await self._evidence(records))
        self.recovery.unsettled += handed_on(of_damaged, unanswered(of_damaged))
        for leg in self.recovery.unsure:
            _log.warning("%s: the broker does not tell yet what became of it; %s waits", leg.intent_id, leg.model)
        known = self._journalled(records)
        for intent, ack in self.recovery.found:
            _log.warning("recovered %s: %s %s", intent.intent_id, ack.status, ack.reason)
            self._note_close(intent, ack)
            told = ack_records(intent, ack, self.models, self.specs, None, self.ends.get(intent.intent_id))
            self.before_send += self._untold(intent, not_yet_told(told, [*known, *self.before_send]))
        counted = _ended(known) - _ended(records)
        for name, symbol, result in self.recovery.ends.values():
            if result.position_id not in counted:
                counted.add(result.position_id)
                self.remember_end(name, symbol, result)
        for one in self.recovery.concluded:
            last = self.recovery.books[one.model].last or LastOutcome(one.bar_time)
            self.outcomes[one.model] = Outcome(one.bar_time, one.action, None, one.decision, last.ack, last.reason)
        self.opened = dict(self.recovery.opened)
        self._count(self.recovery.requests, self.recovery.entries)
        memory, pause = self.executor.risk, self.recovery.pause
        if pause is not None and memory.anchors is not None and memory.anchors.pause is None:
            self.remember(with_(memory, anchors=with_(memory.anchors, pause=pause)))
        self.ended_at.update(self.recovery.ended_at)
        return self.recovery.books

    def _journalled(self, records: Sequence[Record]) -> Sequence[Record]:
        """What is on record already: where a close was found, also before the mark.

        Two closes may have been sent for one position, the second on an operator's word, and the end is told once.
        """
        if any(isinstance(leg, CloseIntent) for leg, _ in self.recovery.found):
            with contextlib.suppress(StateError):  # damage before the mark is for `journal verify` to tell
                return self.journal.tail(None, repair=False).records
        return records

    async def _evidence(self, records: Sequence[Record]) -> Evidence:
        """What the broker shows of the legs without an answer, asked once more where that is no proof yet."""
        waiting = unanswered(records)
        if not waiting:
            return Evidence(self.positions)
        since = min(self._asked_since(leg, records) for leg in waiting)
        for last in (False, True):
            orders, deals = await self.broker.orders(since), await self.broker.deals(since)
            if last:  # after the deals, so that a fill that is listed has its position
                self.positions = await self.broker.positions()
            seen = Evidence(self.positions, orders, deals)
            if last or not self.broker.absence_grace_s or not doubtful(self.executor.models, records, seen):
                break
            import asyncio  # not before: a run between bars on paper needs no event loop

            await asyncio.sleep(self.broker.absence_grace_s)
        return seen

    def _asked_since(self, leg: Intent, records: Sequence[Record]) -> float:
        """From when on orders and deals tell all about a leg; of a position closed in parts, from its opening on.

        So, too, of one that the books do not know yet: others may have closed a part of it.
        """
        since = leg.decided_at - CLOCK_SLACK_S
        held = self.books(leg.model).position
        if isinstance(leg, CloseIntent) and held is not None and ledger.closes_in_parts(self.books(leg.model), leg):
            return min(since, held.opened_at)
        if isinstance(leg, CloseIntent) and (held is None or held.position_id != leg.position_id):
            opened = [one for one in records if isinstance(one, OpenIntent) and one.model == leg.model]
            return min([since, *(one.decided_at - CLOCK_SLACK_S for one in opened)])
        return since

    async def _note_ends(self, books: dict[str, ModelBooks], open_ids: frozenset[int]) -> None:
        """Positions that ended without us: by a stop, or by hand."""
        for name, one in list(books.items()):
            held = one.position
            if held is not None and held.position_id not in open_ids:
                deals = await self.broker.deals(held.opened_at)
                result = ledger.ended(held.position_id, deals, opening_commission=held.commission)
                books[name] = ledger.after_end(one, result)
                self.ended_at[name] = self.clock.now() if result.time is None else result.time
                self.remember_end(name, self._symbol(name), result)
                if held.position_id not in self.recovery.told:
                    self.before_send.append(close_record(name, result, self.models))

    def _adopt(self, books: dict[str, ModelBooks], open_ids: frozenset[int]) -> None:
        """Positions of ours that the books do not know, or know differently."""
        for position in self.positions:
            name = position.label.removeprefix(LABEL_PREFIX)
            if not position.label.startswith(LABEL_PREFIX) or name in self.executor.damaged:
                continue
            before = books.get(name, ModelBooks())
            held = before.position
            if held is not None and held.position_id != position.position_id and held.position_id in open_ids:
                continue  # one too many: planning refuses the model
            after = ledger.adopted(before, position)
            if after != before:
                books[name] = after
                detail = {"position_id": position.position_id, "volume_cents": position.volume_cents}
                self.before_send.append(Event("position_adopted", name, detail))


def _ended(records: Sequence[Record]) -> set[int]:
    """The positions whose end is told."""
    return {one.position_id for one in records if isinstance(one, Close)}
