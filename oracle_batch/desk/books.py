"""An account's desk: what it knows and holds in a run, and the books that it keeps."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace as with_

from oracle_batch.broker.base import Account, Ack, Broker, Intent, OpenIntent, Position, SymbolSpec
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.errors import ConfigError, NeedsWarmup, OracleBatchError
from oracle_batch.hands import account_risk, ledger
from oracle_batch.hands.books import LastOutcome, ModelBooks
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.trade_log import counted
from oracle_batch.hands.watch import Upkeep
from oracle_batch.recover import Recovery, decided
from oracle_batch.report import AccountOutcome, Outcome
from oracle_batch.store import executor as executor_file
from oracle_batch.store.executor import Executor
from oracle_batch.store.files import replace_all
from oracle_batch.store.journal import Journal
from oracle_batch.store.records import Event, Record
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import LABEL_PREFIX, split_model_id

if TYPE_CHECKING:
    from oracle_batch.hands.account_risk import AccountRisk
    from oracle_batch.risk_desk import RiskView
    from oracle_batch.think import Thought

_log = logging.getLogger(__name__)

NOT_ACCOUNTED_FOR = "NOT_ACCOUNTED_FOR"


@dataclass(slots=True)
class Keeping:
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
        if self.account.hedged:
            return
        counts = Counter(model.broker_symbol for model in self.models.values())
        twice = sorted(symbol for symbol, count in counts.items() if count > 1)
        if twice:
            raise ConfigError(
                f"account {self.name} is netted and takes one model a symbol, but several trade {', '.join(twice)}",
                file=self.workspace.models,
                fix="remove all but one of them, or use a hedged account",
            )

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

    def remember(self, risk: AccountRisk) -> None:
        """Take what the account as a whole has to remember."""
        self.executor = with_(self.executor, risk=risk)

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

    def _symbol(self, name: str) -> str:
        """The broker's symbol of a model, as far as anybody knows."""
        known = split_model_id(name)
        return self.models[name].broker_symbol if name in self.models else known[0] if known else name

    def commit(self) -> None:
        """Write the books, if anything in them changed."""
        if file := self.unwritten():
            replace_all([file])

    def unwritten(self) -> tuple[Path, bytes] | None:
        """The file of the books as they have to be written, None if nothing in them changed."""
        if self.dry_run or self.executor == self.loaded:
            return None
        return self.workspace.executor_path(self.name), executor_file.encode(self.executor)

    def fail(self, name: str, error: OracleBatchError, thought: Thought | None = None) -> None:
        """Note what is wrong with a model; what has come of its orders in this run stands beside it."""
        bar_time = thought.bar_time if thought else None
        code, fresh = _code(error), LastOutcome(bar_time or 0)
        done = self.outcomes.get(name, Outcome(bar_time))
        last = self.books(name).last or fresh if done.decision else fresh
        self.outcomes[name] = replace(done, reason=code or done.reason, error=str(error))
        self.book(name, with_(self.books(name), last=with_(last, reason=code or last.reason, error=str(error))))
        self.after_send.append(Event("model_failed", name, {"error": str(error)}))
        standing = self.recovery.standing.get(name)
        if standing is not None and all(leg.model != name for leg in self.recovery.unsure):
            self.recovery.unsettled.append(decided(name, standing))

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


def _code(error: OracleBatchError) -> str | None:
    """The stable reason code of an error that has one."""
    return "NEEDS_WARMUP" if isinstance(error, NeedsWarmup) else None
