"""One account's hands during a tick: its broker, its journal, its books, and the steps they go through."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace as with_

from oracle_batch.broker.base import (
    Account,
    Ack,
    Broker,
    CloseIntent,
    Intent,
    OpenIntent,
    Position,
    SymbolSpec,
)
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.errors import ConfigError, NeedsWarmup, OracleBatchError
from oracle_batch.hands import account_risk, ledger
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.hands.outcome import answer, answers_to, conclude, legs_of
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.prices import RELATIVE_SCALE
from oracle_batch.hands.proof import Evidence
from oracle_batch.hands.protection import Distances, Terms
from oracle_batch.hands.trade_log import counted
from oracle_batch.hands.watch import Upkeep, begin
from oracle_batch.journalling import ack_records, close_record
from oracle_batch.recover import (
    Recovery,
    doubtful,
    not_yet_told,
    plan_event,
    recover,
    unanswered,
    without_torn_answers,
)
from oracle_batch.report import AccountOutcome, Outcome
from oracle_batch.store import executor as executor_file
from oracle_batch.store.executor import Executor
from oracle_batch.store.files import replace_all
from oracle_batch.store.journal import Journal, Tail
from oracle_batch.store.records import Event, Record
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import LABEL_PREFIX, split_model_id

if TYPE_CHECKING:
    from oracle_batch.hands.account_risk import AccountRisk
    from oracle_batch.risk_desk import RiskView
    from oracle_batch.think import Thought

_log = logging.getLogger(__name__)

UNPROTECTED = "UNPROTECTED"
NOT_ACCOUNTED_FOR = "NOT_ACCOUNTED_FOR"
CLOCK_SLACK_S = 60.0
"""The broker's clock may be so far behind ours: what came of an order may have an earlier time than its decision."""


@dataclass(slots=True)
class Desk:
    """An account between the opening of its session and the commit of its books.

    ``feed`` says where the models' bars are from. ``waiting`` are legs that wait for the spread, ``crossing`` entries
    that wait for closes on other accounts; ``causes`` say of a position why an emergency close is its end; ``opened``
    are the entries that were filled, ``ends`` what the positions came to that closes of ours have ended, by the
    close's id. ``shown`` are the positions as the broker last told them; ``is_current`` says of an armed run whether
    that and the account still are as told.
    """

    settings: AccountSettings
    broker: Broker
    workspace: Workspace
    clock: Clock
    models: Mapping[str, Model]
    symbol_settings: Mapping[str, SymbolSettings | OracleBatchError]
    rules: TickSettings
    journal: Journal
    dry_run: bool
    feed: str = ""
    loaded: Executor | None = field(init=False)
    executor: Executor = field(init=False)
    account: Account = field(init=False)
    positions: list[Position] = field(init=False)
    shown: list[Position] = field(init=False)
    is_current: bool = True
    specs: dict[str, SymbolSpec] = field(init=False)
    plans: list[ModelPlan] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    acks: dict[str, Ack] = field(default_factory=dict)
    before_send: list[Record] = field(default_factory=list)
    after_send: list[Record] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    recovery: Recovery = field(init=False)
    ended_at: dict[str, float] = field(default_factory=dict)
    journalled: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    crossing: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    opened: dict[str, tuple[OpenIntent, Upkeep | None]] = field(default_factory=dict)
    view: RiskView | None = None
    causes: dict[int, str] = field(default_factory=dict)
    ends: dict[str, ledger.Ended] = field(default_factory=dict)
    _own: dict[str, ModelBooks] = field(default_factory=dict)
    unsaid: list[logging.LogRecord] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.settings.account

    # open and recover

    async def open(self) -> None:
        """Read the books, connect, and see what the broker holds.

        Raises:
            StateError, BrokerError, ConfigError: this account cannot trade now.
        """
        path = self.workspace.executor_path(self.name)
        self.loaded = executor_file.load(path, self.name)
        self.executor = self.loaded or Executor(account=self.name)
        await self.broker.connect()
        self.account = await self.broker.account()
        self._refuse_netted_pairs()
        self.specs = await self.broker.symbols(sorted({model.broker_symbol for model in self.models.values()}))

    def _refuse_netted_pairs(self) -> None:
        symbols = [model.broker_symbol for model in self.models.values()]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice and not self.account.hedged:
            raise ConfigError(
                f"account {self.name} is netted and takes one model a symbol, but several trade {', '.join(twice)}",
                file=self.workspace.models,
                fix="remove all but one of them, or use a hedged account",
            )

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
        damaged = self.executor.damaged
        records = [one for one in tail.records if getattr(one, "model", None) not in damaged]
        records = without_torn_answers(records)
        self.recovery = recover(self.executor.models, records, await self._evidence(records))
        for leg in self.recovery.unsure:
            _log.warning("%s: the broker does not tell yet what became of it; %s waits", leg.intent_id, leg.model)
        for intent, ack in self.recovery.found:
            _log.warning("recovered %s: %s %s", intent.intent_id, ack.status, ack.reason)
            self._note_close(intent, ack)
            told = ack_records(intent, ack, self.models, self.specs, None, self.ends.get(intent.intent_id))
            self.before_send += self._untold(intent, not_yet_told(told, records))
        for name, symbol, result in self.recovery.ends.values():
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

    async def _evidence(self, records: Sequence[Record]) -> Evidence:
        """What the broker shows of the legs without an answer, asked once more where that is no proof yet."""
        waiting = unanswered(records)
        if not waiting:
            return Evidence(self.positions)
        since = min(self._asked_since(leg) for leg in waiting)
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

    def _asked_since(self, leg: Intent) -> float:
        """From when on orders and deals tell all about a leg; of a position closed in parts, from its opening on."""
        since = leg.decided_at - CLOCK_SLACK_S
        held = self.books(leg.model).position
        if isinstance(leg, CloseIntent) and held is not None and ledger.closes_in_parts(self.books(leg.model), leg):
            return min(since, held.opened_at)
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

    # journal, send, journal

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

    def _gate(self, entry: OpenIntent) -> str | None:
        """Asked right before an entry leaves: the pause flag and the deadline have the last word."""
        if self.workspace.is_paused():
            return "PAUSED"
        return "LATE" if self.clock.now() > entry.deadline else None

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

    def commit(self) -> None:
        """Write the books, if anything in them changed."""
        if file := self.unwritten():
            replace_all([file])

    def unwritten(self) -> tuple[Path, bytes] | None:
        """The file of the books as they have to be written, None if nothing in them changed."""
        if self.dry_run or self.executor == self.loaded:
            return None
        return self.workspace.executor_path(self.name), executor_file.encode(self.executor)

    # small parts

    def fail(self, name: str, error: OracleBatchError, thought: Thought | None = None) -> None:
        """Note that a model has no decision."""
        bar_time = thought.bar_time if thought else None
        self.outcomes[name] = Outcome(bar_time=bar_time, reason=_code(error), error=str(error))
        last = LastOutcome(bar_time or 0, error=str(error), reason=_code(error))
        self.book(name, with_(self.books(name), last=last))
        self.after_send.append(Event("model_failed", name, {"error": str(error)}))

    def leave_unsure(self, name: str, thought: Thought) -> None:
        """Note that nothing is done for a model whose last order is not accounted for; the next run asks again."""
        self.outcomes[name] = Outcome(thought.bar_time, thought.action, None, None, "UNKNOWN", NOT_ACCOUNTED_FOR)

    def outcome(self) -> AccountOutcome:
        """The account's part of the report."""
        foreign = [one for one in self.positions if not one.label.startswith(LABEL_PREFIX)]
        if foreign:
            ids = ", ".join(str(one.position_id) for one in foreign)
            _log.warning("account %s: %d positions are not ours and stay untouched: %s", self.name, len(foreign), ids)
        failed = any(one.error or one.ack == "UNKNOWN" for one in self.outcomes.values())
        return AccountOutcome(dict(sorted(self.outcomes.items())), len(foreign), None, 1 if failed else 0)

    @property
    def failed(self) -> set[str]:
        """Models that have no decision because something is wrong."""
        return {name for name, one in self.outcomes.items() if one.error}

    def books(self, name: str) -> ModelBooks:
        """A model's books as they are now; empty ones if it has none."""
        return self.executor.models.get(name, ModelBooks())

    def book(self, name: str, books: ModelBooks) -> None:
        """Take a model's new books in; damaged ones stay as they are. What others hold of the books stays as it was."""
        if name in self.executor.damaged:
            return
        if self.executor.models is not self._own:
            self._own = dict(self.executor.models)
            self.executor = with_(self.executor, models=self._own)
        self._own[name] = books

    def remember_end(self, name: str, symbol: str, result: ledger.Ended) -> None:
        """Take the end of a model's position into the account's memory."""
        keep_s = self.settings.risk.history_s
        self.remember(account_risk.with_end(self.executor.risk, name, symbol, result, self.clock.now(), keep_s))

    def _count(self, requests: int, entries: int) -> None:
        """Count what has left and what was entered, in the reset day that the account is in."""
        if not requests:
            return
        memory = self.executor.risk
        day = max(memory.trades.day.day, self.clock.now())  # an account that was never looked at: the day it is in
        if memory.anchors is not None:
            day = memory.anchors.day_start
        self.remember(with_(memory, trades=counted(memory.trades, day, trades=entries, requests=requests)))

    def remember(self, risk: AccountRisk) -> None:
        """Take what the account as a whole has to remember."""
        self.executor = with_(self.executor, risk=risk)

    def _symbol(self, name: str) -> str:
        """The broker's symbol of a model, as far as anybody knows."""
        known = split_model_id(name)
        return self.models[name].broker_symbol if name in self.models else known[0] if known else name


def _code(error: OracleBatchError) -> str | None:
    """The stable reason code of an error that has one."""
    return "NEEDS_WARMUP" if isinstance(error, NeedsWarmup) else None
