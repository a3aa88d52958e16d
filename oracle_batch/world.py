"""What one run is asked to do, and what it has read of the world (DESIGN §2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from oracle_batch import gather as gathering
from oracle_batch import own_accounts
from oracle_batch.bars import FIELDS, Bars
from oracle_batch.broker.base import Bar, Broker
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import Settings
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.report import AccountOutcome
from oracle_batch.store.records import Event
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import Foresight, Fresh
from oracle_batch.types import STORED_BARS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What one tick is asked to do. ``bar_poll_s``: how long to ask again for a bar that has just closed; ``arm_s``:
    how far the next close may lie ahead for the tick to wait for it, prepared (None: it acts at once)."""

    workspace: Workspace
    settings: Settings
    clock: Clock
    dry_run: bool = False
    bar_poll_s: float = 0.0
    arm_s: float | None = None


@dataclass(slots=True)
class World:
    """Everything read: desks in session, models by id with what is new, and the models that cannot go on.

    ``sessions`` are the brokers by account, as long as the run lasts; ``notes`` is what the run has to tell the journal
    about itself. ``newest`` are bars that came by themselves, for ``foresight`` to decide on; windows get them later.
    """

    now: float
    sessions: dict[str, Broker] = field(default_factory=dict)
    notes: list[Event] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    desks: list[Desk] = field(default_factory=list)
    lost: dict[str, AccountOutcome] = field(default_factory=dict)
    newest: dict[str, Bar] = field(default_factory=dict)
    foresight: Foresight | None = None
    held_by_lost: list[own_accounts.Holdings] = field(default_factory=list)
    stored: dict[str, gathering.Stored] = field(default_factory=dict)
    fresh: dict[str, Fresh] = field(default_factory=dict)
    failed: dict[str, OracleBatchError] = field(default_factory=dict)
    warming: set[str] = field(default_factory=set)

    @property
    def is_paused(self) -> bool:
        """Whether the operator's flag is up, now."""
        return bool(self.desks) and self.desks[0].workspace.is_paused()

    def give_up(self, desk: Desk, error: OracleBatchError) -> None:
        """Go on without an account whose files are refused; its next run asks what became of what it has sent.

        Raises:
            OracleBatchError: that error, if no account is left.
        """
        self.desks = [one for one in self.desks if one is not desk]
        if not self.desks:
            raise error
        _log.error("account %s: %s", desk.name, error)
        self.lost[desk.name] = AccountOutcome({}, 0, str(error), error.exit_code)

    def windows(self) -> Mapping[str, Bars]:
        """Each model's bars as far as this run knows them."""
        return _Windows(self)

    def take_in_newest(self) -> None:
        """Put bars that were decided on by themselves behind their windows."""
        for name, bar in self.newest.items():
            stored = self.stored[name]
            assert stored.window is not None
            self.fresh[name] = Fresh(stored.model, appended(stored.window.bars, bar), stored.twin)
        self.newest = {}


class _Windows(Mapping[str, Bars]):
    """Windows by model, made when they are asked for."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getitem__(self, name: str) -> Bars:
        if name in self._world.fresh:
            return self._world.fresh[name].bars
        window = self._world.stored[name].window
        if window is None:
            raise KeyError(name)
        newest = self._world.newest.get(name)
        return window.bars if newest is None else appended(window.bars, newest)

    def __iter__(self) -> Iterator[str]:
        stored = {name for name, one in self._world.stored.items() if one.window is not None}
        return iter(stored | self._world.fresh.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def appended(bars: Bars, bar: Bar) -> Bars:
    """A window with one more bar, and no longer than windows are."""
    columns = (np.append(getattr(bars, name), getattr(bar, name))[-STORED_BARS:] for name in FIELDS)
    return Bars(*columns)


class Isolated:
    """The one place where a model's failure is kept from the others: it is noted, with its traceback if unforeseen."""

    def __init__(self, name: str, world: World) -> None:
        self._name, self._world = name, world

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        if not isinstance(error, OracleBatchError):
            _log.error("%s failed unexpectedly", self._name, exc_info=error)
            error = OracleBatchError(f"unexpected {type(error).__name__}: {error}", fix="see the log; report this")
        self._world.failed[self._name] = error
        return True
