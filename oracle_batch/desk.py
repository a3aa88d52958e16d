"""One account's hands during a tick: its broker, its journal, its books, and the steps they go through."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as with_

from oracle_batch.broker.base import (
    Account,
    Ack,
    Broker,
    CloseCause,
    CloseIntent,
    Intent,
    OpenIntent,
    Position,
    SymbolSpec,
)
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.errors import BrokerError, ConfigError, OracleBatchError, StateError
from oracle_batch.hands import ledger, sync, texts
from oracle_batch.hands.books import AckWord, LastOutcome, ModelBooks
from oracle_batch.hands.plan import Candidate, ModelPlan, intent_id, plan
from oracle_batch.history import newest_closed
from oracle_batch.recover import recover, unanswered
from oracle_batch.report import AccountOutcome, Outcome
from oracle_batch.store import executor as executor_file
from oracle_batch.store.executor import Executor
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.journal import Journal, Tail
from oracle_batch.store.records import AckRecord, Close, Event, Fill, Record, Signal
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import Thought
from oracle_batch.types import ACTIONS, LABEL_PREFIX, TIMEFRAME_SECONDS, label_of, split_model_id

_log = logging.getLogger(__name__)

WORST_FIRST: tuple[AckWord, ...] = ("UNKNOWN", "FAIL", "SKIP", "WAIT_SYNC", "OK")
"""A reversal reports its worse leg."""


@dataclass(slots=True)
class Desk:
    """An account between the opening of its session and the commit of its books."""

    settings: AccountSettings
    broker: Broker
    workspace: Workspace
    clock: Clock
    models: Mapping[str, Model]
    symbol_settings: Mapping[str, SymbolSettings | OracleBatchError]
    rules: TickSettings
    journal: Journal
    dry_run: bool
    loaded: Executor | None = field(init=False)
    executor: Executor = field(init=False)
    account: Account = field(init=False)
    positions: list[Position] = field(init=False)
    specs: dict[str, SymbolSpec] = field(init=False)
    plans: list[ModelPlan] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    acks: dict[str, Ack] = field(default_factory=dict)
    before_send: list[Record] = field(default_factory=list)
    after_send: list[Record] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

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
        open_ids = frozenset(position.position_id for position in self.positions)
        books = await self._fold(tail, open_ids)
        books = await self._settle(books, open_ids)
        self.executor = with_(self.executor, models=books)

    async def _fold(self, tail: Tail, open_ids: frozenset[int]) -> dict[str, ModelBooks]:
        waiting = unanswered(tail.records)
        deals = await self.broker.deals(min(intent.decided_at for intent in waiting)) if waiting else []
        recovery = recover(self.executor.models, tail.records, open_ids, deals)
        for intent, ack in recovery.found:
            _log.warning("recovered %s: %s %s", intent.intent_id, ack.status, ack.reason)
            self.before_send += self._ack_records(intent, ack)
        return recovery.books

    async def _settle(self, books: dict[str, ModelBooks], open_ids: frozenset[int]) -> dict[str, ModelBooks]:
        """Positions that ended without us; positions of ours that the books do not know."""
        for name, one in list(books.items()):
            held = one.position
            if held is None or held.position_id in open_ids:
                continue
            result = ledger.ended(held.position_id, await self.broker.deals(held.opened_at))
            books[name] = ledger.after_end(one, result)
            self.before_send.append(self._close_record(name, result))
        for position in self.positions:
            name = position.label.removeprefix(LABEL_PREFIX)
            if position.label.startswith(LABEL_PREFIX) and name not in self.executor.damaged:
                before = books.get(name, ModelBooks())
                books[name] = ledger.adopted(before, position)
                if books[name] != before:
                    detail = {"position_id": position.position_id, "volume_cents": position.volume_cents}
                    self.before_send.append(Event("position_adopted", name, detail))
        return books

    # plan

    def plan(self, thoughts: Mapping[str, Thought], now: float) -> None:
        """Decide what each model does on its newest bar."""
        candidates = []
        for name, thought in thoughts.items():
            self._count_revision(name, thought)
            if self._acted(name, thought):
                continue
            try:
                candidates.append(self._candidate(thought))
            except OracleBatchError as error:
                self.fail(name, error, thought)
        ours = [position for position in self.positions if position.label.startswith(LABEL_PREFIX)]
        paused = self.workspace.is_paused()
        self.plans = plan(candidates, ours, self.account, self.rules, now=now, paused=paused)
        for one in self.plans:
            thought = thoughts[one.model]
            symbol = thought.model.symbol
            wire = texts.signal_text(symbol, thought.action, thought.hmm_state, thought.virtual_pnl)
            _log.info("%s", wire)
            self.before_send.append(
                Signal(one.model, one.bar_time, one.action, thought.hmm_state, thought.virtual_pnl, wire)
            )
            self.intents += [leg for leg in (one.close, one.entry) if leg is not None]

    def _acted(self, name: str, thought: Thought) -> bool:
        books = self.executor.models.get(name, ModelBooks())
        return thought.bar_time <= max(books.last_bar, thought.twin.warmed_to)

    def _candidate(self, thought: Thought) -> Candidate:
        model, name = thought.model, thought.model.model_id
        if name in self.executor.damaged:
            raise self.executor.damaged[name].error
        settings = self.symbol_settings[name]
        if isinstance(settings, OracleBatchError):
            raise settings
        books = self.executor.models.get(name, ModelBooks())
        position, intensity = self._real(name, books)
        return Candidate(
            name,
            model.broker_symbol,
            thought.bar_time,
            thought.bar_time + TIMEFRAME_SECONDS[model.timeframe],
            self.rules.entry_deadline(model.timeframe),
            thought.action,
            thought.before.last_action,
            thought.hmm_state,
            thought.virtual_pnl,
            settings,
            self.specs.get(model.broker_symbol),
            books,
            position,
            intensity,
        )

    def _real(self, name: str, books: ModelBooks) -> tuple[Position | None, int]:
        mine = [position for position in self.positions if position.label == label_of(name)]
        if not mine:
            return None, 0
        if len(mine) > 1:
            ids = ", ".join(str(position.position_id) for position in mine)
            raise StateError(f"{name} holds several positions ({ids})", fix="close all but one by hand")
        intensity = ledger.real_intensity(mine[0], books)
        if intensity is None:
            raise StateError(
                f"the intensity of position {mine[0].position_id} of {name} is unknown: "
                f"its comment {mine[0].comment!r} does not say, nor do the books",
                fix="close the position by hand; the model waits for its next signal",
            )
        return mine[0], intensity

    def _count_revision(self, name: str, thought: Thought) -> None:
        books = self.executor.models.get(name)
        if books is not None and thought.replaced_bar and books.last_bar >= thought.replaced_bar:
            self._book(name, with_(books, decisions_revised=books.decisions_revised + 1))
            self.before_send.append(Event("decision_revised", name, {"bar_time": thought.replaced_bar}))

    # rules without a signal

    async def close_blind(self, failed: Collection[str], now: float) -> None:
        """Close positions of models that have had no decision for ``max_blind_bars`` bars."""
        planned = {one.model for one in self.plans}
        for position in self.positions:
            name = position.label.removeprefix(LABEL_PREFIX)
            if not position.label.startswith(LABEL_PREFIX) or name in planned:
                continue
            if name in self.models and name not in failed:
                continue
            bars = await self._bars_missed(name, position, now)
            if bars >= self.rules.max_blind_bars:
                self._close_now(name, position, now, "emergency")
                self.before_send.append(
                    Event("closed_blind", name, {"position_id": position.position_id, "bars": bars})
                )
                _log.warning("%s has had no decision for %d bars: closing its position", name, bars)

    async def _bars_missed(self, name: str, position: Position, now: float) -> int:
        """Closed bars since the model's last decision: the feed's count, else the clock's."""
        known = split_model_id(name)
        if known is None:
            return self.rules.max_blind_bars
        timeframe = known[1]
        since = self.executor.models.get(name, ModelBooks()).last_bar or int(position.opened_at)
        try:
            return len(await self.broker.bars(position.symbol, timeframe, since + 1, int(now)))
        except OracleBatchError:
            return max(0, (newest_closed(timeframe, now) - since) // TIMEFRAME_SECONDS[timeframe])

    def retry_pending(self, now: float) -> None:
        """Closes that the market would not take before, for models that have no plan of their own now."""
        busy = {leg.position_id for leg in self.intents if isinstance(leg, CloseIntent)}
        planned = {one.model for one in self.plans}
        by_id = {position.position_id: position for position in self.positions}
        for name, books in self.executor.models.items():
            pending = books.pending_close
            if pending is None or name in planned or pending.position_id in busy:
                continue
            if pending.position_id in by_id:
                self._close_now(name, by_id[pending.position_id], now, pending.cause)

    def _close_now(self, name: str, position: Position, now: float, cause: CloseCause) -> None:
        leg = intent_id(name, int(now), 0)
        self.intents.append(
            CloseIntent(leg, name, position.symbol, position.position_id, position.volume_cents, now, cause)
        )

    # journal, send, journal

    def journal_intents(self) -> None:
        """Make the intents durable. Without any, the records wait for the second append."""
        if self.intents and not self.dry_run:
            self.journal.append([*self.before_send, *self.intents])
            self.before_send = []

    async def send(self) -> None:
        """Send the burst. Whatever goes wrong on the way leaves the outcome unknown, for the next run to ask."""
        if not self.intents or self.dry_run:
            return
        try:
            acks = await self.broker.execute(self.intents, self._gate)
        except (BrokerError, StateError) as error:
            _log.error("the outcome of %d legs is unknown: %s", len(self.intents), error)
            acks = [Ack(leg.intent_id, "UNKNOWN", "NO_ANSWER") for leg in self.intents]
        self.acks = {ack.intent_id: ack for ack in acks}

    def _gate(self, entry: OpenIntent) -> str | None:
        """Asked right before an entry leaves: the pause flag and the deadline have the last word."""
        if self.workspace.is_paused():
            return "PAUSED"
        return "LATE" if self.clock.now() > entry.deadline else None

    def conclude(self, thoughts: Mapping[str, Thought]) -> None:
        """Take the acks into the books and say what became of each model."""
        for leg in self.intents:
            ack = self.acks.get(leg.intent_id)
            if ack is not None:
                self._book(leg.model, ledger.after_ack(self._books(leg.model), leg, ack))
                self.after_send += self._ack_records(leg, ack)
        for one in self.plans:
            self._conclude_plan(one, thoughts[one.model])
        for leg in self.intents:
            if leg.model not in {one.model for one in self.plans} and isinstance(leg, CloseIntent):
                ack = self.acks.get(leg.intent_id)
                before = self.outcomes.get(leg.model, Outcome())
                word = None if ack is None else ack.status
                reason = leg.cause.upper() if ack is None or ack.status == "OK" else ack.reason
                self.outcomes[leg.model] = replace(before, decision="CLOSE", ack=word, reason=reason)

    def _conclude_plan(self, one: ModelPlan, thought: Thought) -> None:
        legs = [leg for leg in (one.close, one.entry) if leg is not None]
        acks = [self.acks[leg.intent_id] for leg in legs if leg.intent_id in self.acks]
        word, reason = self._answer(one, acks)
        books = self._books(one.model)
        if not self.dry_run and all(ack.status != "UNKNOWN" for ack in acks):
            closed = one.close is None or all(ack.status == "OK" for ack in acks[:1])
            if one.entry is None and closed:
                books = with_(books, waiting=one.waiting)
            if one.relabel is not None and books.position is not None:
                held = with_(books.position, intensity=one.relabel, relabelled=True)
                books = with_(books, position=held, waiting=None)
            books = with_(books, last_bar=one.bar_time)
        last = LastOutcome(one.bar_time, ACTIONS[one.action].name, one.decision, word, reason)
        self._book(one.model, with_(books, last=last))
        self.outcomes[one.model] = Outcome(one.bar_time, one.action, thought.hmm_state, one.decision, word, reason)
        if one.decision != "NOOP" and not (legs and word == "OK"):
            detail = {"bar_time": one.bar_time, "decision": one.decision, "ack": word, "reason": reason}
            self.after_send.append(Event("decision", one.model, detail))

    def _answer(self, one: ModelPlan, acks: Sequence[Ack]) -> tuple[AckWord | None, str | None]:
        """The ack word and reason code of a whole plan: the worse of its legs."""
        if self.dry_run and (one.close is not None or one.entry is not None or one.relabel is not None):
            return None, one.refusal
        answers: list[tuple[AckWord, str | None]] = [(ack.status, ack.reason) for ack in acks]
        if one.refusal is not None:
            answers.append(("SKIP", one.refusal))
        if one.decision == "WAIT_SYNC" and one.waiting is not None:
            answers.append(("WAIT_SYNC", sync.REASON[one.waiting.cause]))
        if one.relabel is not None:
            answers.append(("OK", "SAME_VOLUME"))
        return min(answers, key=lambda answer: WORST_FIRST.index(answer[0]), default=(None, None))

    def journal_acks(self) -> None:
        """Make the answers durable; legs whose outcome is unknown stay in the part that the next run folds."""
        if self.dry_run:
            return
        if not (self.before_send or self.after_send or self.intents):
            return
        mark = self.journal.append([*self.before_send, *self.after_send])
        unknown = [leg for leg in self.intents if self.acks[leg.intent_id].status == "UNKNOWN"]
        if unknown:
            self.journal.append(unknown)
        self.executor = with_(self.executor, journal=mark)

    def commit(self) -> None:
        """Write the books, if anything in them changed."""
        if not self.dry_run and self.executor != self.loaded:
            path = self.workspace.executor_path(self.name)
            replace_atomically(path, executor_file.encode(self.executor))

    # small parts

    def fail(self, name: str, error: OracleBatchError, thought: Thought | None = None) -> None:
        """Note that a model has no decision."""
        bar_time = thought.bar_time if thought else None
        self.outcomes[name] = Outcome(bar_time=bar_time, reason=_code(error), error=str(error))
        if name not in self.executor.damaged and name in self.executor.models:
            last = LastOutcome(bar_time or 0, error=str(error), reason=_code(error))
            self._book(name, with_(self.executor.models[name], last=last))
        self.after_send.append(Event("model_failed", name, {"error": str(error)}))

    def outcome(self) -> AccountOutcome:
        """The account's part of the report."""
        foreign = [one for one in self.positions if not one.label.startswith(LABEL_PREFIX)]
        if foreign:
            ids = ", ".join(str(one.position_id) for one in foreign)
            _log.warning("account %s: %d positions are not ours and stay untouched: %s", self.name, len(foreign), ids)
        failed = any(one.error or one.ack == "UNKNOWN" for one in self.outcomes.values())
        return AccountOutcome(dict(sorted(self.outcomes.items())), len(foreign), None, 1 if failed else 0)

    def _books(self, name: str) -> ModelBooks:
        return self.executor.models.get(name, ModelBooks())

    def _book(self, name: str, books: ModelBooks) -> None:
        self.executor = with_(self.executor, models={**self.executor.models, name: books})

    def _symbol(self, leg: Intent) -> str:
        model = self.models.get(leg.model)
        return model.symbol if model is not None else leg.symbol

    def _ack_records(self, leg: Intent, ack: Ack) -> list[Record]:
        spec = self.specs.get(leg.symbol)
        action = 0
        if isinstance(leg, OpenIntent):
            action = next(
                one.index for one in ACTIONS if (one.direction, one.intensity) == (leg.direction, leg.intensity)
            )
        wire = texts.ack_text(self._symbol(leg), action, ack, spec.digits if spec else 5)
        _log.info("%s", wire)
        records: list[Record] = [AckRecord.of(ack, leg.model, wire)]
        records += [Fill(leg.model, deal) for deal in ack.deals]
        if isinstance(leg, CloseIntent) and ack.status == "OK":
            result = ledger.ended(leg.position_id, ack.deals, otherwise="order")
            records.append(self._close_record(leg.model, result))
        return records

    def _close_record(self, name: str, result: ledger.Ended) -> Close:
        model = self.models.get(name)
        symbol = model.symbol if model is not None else name
        wire = texts.closed_text(symbol, result.position_id, result.net, result.reason)
        _log.info("%s", wire)
        return Close(name, result.position_id, result.profit, result.commission, result.reason, wire)


def _code(error: OracleBatchError) -> str | None:
    """The stable reason code at the head of a message such as ``NEEDS_WARMUP: …``."""
    head = error.message.partition(":")[0]
    return head if head.isupper() else None
