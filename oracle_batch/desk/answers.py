"""What came of the orders: into the books, the journal and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec.structs import replace as with_

from oracle_batch.broker.base import Ack, CloseIntent, Intent, OpenIntent
from oracle_batch.desk.books import Keeping
from oracle_batch.hands import ledger
from oracle_batch.hands.outcome import answer, answers_to, conclude, legs_of
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.prices import RELATIVE_SCALE
from oracle_batch.hands.protection import Distances, Terms
from oracle_batch.hands.watch import Upkeep, begin
from oracle_batch.journalling import ack_records
from oracle_batch.recover import not_yet_told, plan_event
from oracle_batch.report import Outcome
from oracle_batch.store.records import Event, Record

if TYPE_CHECKING:
    from oracle_batch.think import Thought

UNPROTECTED = "UNPROTECTED"


class Answering(Keeping):
    """The part that takes answers in."""

    __slots__ = ()

    def settle(self) -> None:
        """Take the acks into the books that are not in them yet."""
        for leg in self.intents:
            ack = self.acks.get(leg.intent_id)
            if ack is None or leg.intent_id in self.settled:
                continue
            self.settled.add(leg.intent_id)
            quote = self.view.market.quotes.get(leg.symbol) if self.view is not None else None
            self._note_close(leg, ack)
            end = self.ends.get(leg.intent_id)
            self.after_send += self._untold(leg, ack_records(leg, ack, self.models, self.specs, quote, end))
            if end is not None and leg.model:
                self.remember_end(leg.model, leg.symbol, end)
            if leg.model:
                self.book(leg.model, ledger.after_ack(self.books(leg.model), leg, ack))
            if isinstance(leg, OpenIntent) and ack.status == "OK":
                self.opened[leg.model] = (leg, next((one.upkeep for one in self.plans if one.entry is leg), None))
                self.watch_opened(self.view.market.terms if self.view is not None else {})
            self._count(ack.status != "SKIP", isinstance(leg, OpenIntent) and ack.status == "OK")

    def _untold(self, leg: Intent, records: Sequence[Record]) -> list[Record]:
        """Records of an answer, without fills of parts that are in the journal since they were closed."""
        if isinstance(leg, CloseIntent) and ledger.closes_in_parts(self.books(leg.model), leg):
            return not_yet_told(records, self.journal.tail(None, repair=False).records)
        return list(records)

    def _note_close(self, leg: Intent, ack: Ack) -> None:
        """What the position came to that a leg has closed; for one that is no model's the broker tells what it cost."""
        if not isinstance(leg, CloseIntent) or ack.status != "OK":
            return
        recovered = self.recovery.ends.get(leg.intent_id)
        if recovered is not None:
            self.ends[leg.intent_id] = recovered[2]
        elif leg.model:
            self.ends[leg.intent_id] = ledger.ended_by(self.books(leg.model), leg, ack)
        else:
            cost = next((one.commission for one in self.positions if one.position_id == leg.position_id), 0.0)
            self.ends[leg.intent_id] = ledger.ended(leg.position_id, ack.deals, "order", cost)

    def watch_opened(self, terms: Mapping[str, Terms]) -> None:
        """Watch over positions that were opened: the protection that their orders carried, and their upkeep."""
        for name, (entry, keep) in self.opened.items():
            books = self.books(name)
            held, spec = books.position, self.specs.get(entry.symbol)
            if held is None or spec is None or (books.watch and books.watch.position_id == held.position_id):
                continue
            now = terms.get(entry.symbol) or Terms(spec, float("nan"), 0.0, 0.0, 0.0)
            carried = Distances(
                entry.stop_relative / RELATIVE_SCALE or None, entry.target_relative / RELATIVE_SCALE or None
            )
            keep = keep or Upkeep(stop_trigger_method=entry.stop_trigger)
            watch = begin(held.position_id, held.direction, held.entry_price, carried, now, keep)
            self.book(name, with_(books, watch=watch))

    def conclude(self, thoughts: Mapping[str, Thought]) -> None:
        """Take the acks into the books and say what became of each model."""
        self.settle()
        for one in self.plans:
            self._conclude_plan(one, thoughts[one.model])
        planned = {one.model for one in self.plans}
        for leg in self.intents:
            if isinstance(leg, CloseIntent) and self.causes.get(leg.position_id) == UNPROTECTED:
                self._give_up(leg)
            elif isinstance(leg, CloseIntent) and leg.model not in planned:
                ack = self.acks.get(leg.intent_id)
                before = self.outcomes.get(leg.model, Outcome())
                word = None if ack is None else ack.status
                cause = self.causes.get(leg.position_id, leg.cause.upper())
                reason = cause if ack is None or ack.status == "OK" else ack.reason
                self.outcomes[leg.model] = replace(before, decision="CLOSE", ack=word, reason=reason)

    def _give_up(self, leg: CloseIntent) -> None:
        """An entry whose stop could not be set came to nothing."""
        before, books = self.outcomes.get(leg.model, Outcome()), self.books(leg.model)
        self.outcomes[leg.model] = replace(before, decision=before.decision or "CLOSE", ack="FAIL", reason=UNPROTECTED)
        if books.last is not None:
            self.book(leg.model, with_(books, last=with_(books.last, ack="FAIL", reason=UNPROTECTED)))

    def _conclude_plan(self, one: ModelPlan, thought: Thought) -> None:
        if self.dry_run and (legs_of(one) or one.relabel is not None):
            word, reason = None, one.refusal
        else:
            acks = answers_to(one, self.acks)
            word, reason = answer(one, acks)
            if word == "OK" and reason is None and one.close is not None and one.close.cause != "signal":
                reason = self.causes.get(one.close.position_id)
            self.book(one.model, conclude(self.books(one.model), one, acks))
        self.outcomes[one.model] = Outcome(one.bar_time, one.action, thought.hmm_state, one.decision, word, reason)
        if one.decision != "NOOP" and not (legs_of(one) and word == "OK"):
            detail = {"bar_time": one.bar_time, "decision": one.decision, "ack": word, "reason": reason}
            self.after_send.append(Event("decision", one.model, detail))

    def journal_acks(self) -> None:
        """Make the answers durable; legs whose outcome is unknown stay in the part that the next run folds."""
        if self.dry_run:
            return
        unsettled = self.recovery.unsettled
        if not (self.before_send or self.after_send or self.intents or unsettled):
            return
        mark = self.journal.append([*self.before_send, *self.after_send])
        unknown = {leg.intent_id: leg for leg in self.intents if self.acks[leg.intent_id].status == "UNKNOWN"}
        plans = [one for one in self.plans if any(leg.intent_id in unknown for leg in legs_of(one))]
        if unknown or unsettled:
            self.journal.append([*unsettled, *(plan_event(one, unknown) for one in plans), *unknown.values()])
        self.executor = with_(self.executor, journal=mark)
