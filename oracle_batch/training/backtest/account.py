"""One account in memory: the tick's own desk, with its files kept as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle_batch.broker.paper import PaperBroker
from oracle_batch.bundle.model import Model
from oracle_batch.clock import FrozenClock
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.market import spec_file
from oracle_batch.market.book import Book, new_book
from oracle_batch.market.engine import Engine
from oracle_batch.market.specs import Contracts
from oracle_batch.store.executor import Executor
from oracle_batch.store.journal import Journal, Mark, Tail
from oracle_batch.store.lines import Entry
from oracle_batch.store.records import Record
from oracle_batch.store.workspace import Workspace
from oracle_batch.training.backtest.history import History, HistoryTape

FILE = "memory"


@dataclass(frozen=True, slots=True)
class Setup:
    """How an account trades: its settings and rules, execution settings by model id, contracts by symbol.

    ``home`` is where the files lie that ``[risk]`` names.
    """

    account: AccountSettings
    rules: TickSettings
    symbols: Mapping[str, SymbolSettings]
    specs: Mapping[str, spec_file.SymbolSettings]
    home: Path


class MemoryJournal(Journal):
    """A journal of one run: it forgets what the books have taken in, after ``listen`` has heard it."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__(Path(FILE), clock)
        self._now = clock
        self._kept: list[Record] = []
        self._first = 0
        self.heard: list[Record] = []

    def append(self, records: Sequence[Record]) -> Mark:
        self._kept += records
        self.heard += records
        return Mark(FILE, self._first + len(self._kept))

    def tail(self, mark: Mark | None, *, repair: bool = True) -> Tail:
        if mark is not None and mark.offset > self._first:
            self._kept = self._kept[mark.offset - self._first :]
            self._first = mark.offset
        now = self._now.now()
        return Tail(tuple(Entry(now, one) for one in self._kept), Mark(FILE, self._first + len(self._kept)))


class MemoryBroker(PaperBroker):
    """The paper broker with its account kept from run to run, and never written."""

    def __init__(
        self,
        account: AccountSettings,
        history: History,
        tape: HistoryTape,
        contracts: Contracts,
        clock: FrozenClock,
        models: Mapping[str, Model],
    ) -> None:
        super().__init__(account.account, account.paper, history, {}, Path(FILE), clock, models, dry_run=True)  # type: ignore[arg-type]
        self._contracts = contracts
        paper = account.paper
        book = new_book(account.account, paper.currency, paper.balance, paper.leverage, clock=clock.now())
        self._engine: Engine = Engine(book, tape, contracts)

    async def connect(self) -> None:
        self._now()

    async def close(self) -> None:
        """The account stays."""

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def book(self) -> Book:
        return self._engine.book


class MemoryWorkspace(Workspace):
    """A folder that is never touched; the operator has not paused."""

    def is_paused(self) -> bool:
        return False


class MemoryDesk(Desk):
    """A desk whose books are kept by whoever runs it; ``memory`` are those of the last run."""

    memory: Executor | None
    kept: Executor

    async def open(self) -> None:
        self.loaded = self.memory
        self.executor = self.kept = self.memory or Executor(account=self.name)
        await self.broker.connect()
        self.account = await self.broker.account()
        self._refuse_netted_pairs()
        self.specs = await self.broker.symbols(sorted({model.broker_symbol for model in self.models.values()}))

    def commit(self) -> None:
        self.kept = self.executor


def new_desk(
    account: AccountSettings,
    broker: MemoryBroker,
    home: Path,
    clock: FrozenClock,
    models: Mapping[str, Model],
    symbols: Mapping[str, SymbolSettings | OracleBatchError],
    rules: TickSettings,
    journal: MemoryJournal,
    memory: Executor | None,
) -> MemoryDesk:
    """A desk for one run on the account."""
    desk = MemoryDesk(account, broker, MemoryWorkspace(home), clock, models, symbols, rules, journal, dry_run=False)
    desk.memory = memory
    return desk
