"""One long life of a workspace: bars, faults, deaths, operators and markets in any order, with the truth beside it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import currently_in_test_context, event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from oracle_batch import guarding, opening
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.errors import OracleBatchError
from oracle_batch.operating import visits
from oracle_batch.operating.closing import close
from oracle_batch.operating.resuming import resume
from oracle_batch.operating.switching import switch
from oracle_batch.store import compaction
from oracle_batch.store import executor as executor_file
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.journal import Mark
from oracle_batch.types import model_of
from tests.guard.acts import report as guard_report
from tests.operating.acts import job
from tests.stateful import truth
from tests.stateful.killing import Guillotine
from tests.stateful.weather import FAULTS, LAGS, Weather
from tests.tick.lab import T0, WORDS, Lab, scripted
from tests.tick.test_tick_safety import LOTS, MODELS, SYMBOLS, World

BARS = 110
"""Of a life; what follows says WAIT."""
ENTRY_S = 60.0
"""How long after its bar's close an entry may be sent."""
WIDE: dict[str, Any] = {
    "max_daily_loss_pct": 0.0,
    "max_drawdown_pct": 0.0,
    "max_consecutive_losses": 0,
    "max_consecutive_losses_account": 0,
}
"""Limits have their own tests; here they would only end the life early."""


@dataclass
class Counts:
    """What a storm has tried, and what broke."""

    points: int = 0
    kills: int = 0
    recoveries: int = 0
    duplicates: int = 0
    lost: int = 0
    violations: int = 0


COUNTS = Counts()

shares = st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
kills = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 16), shares),
    st.tuples(st.integers(0, 45), shares),
)
"""No death, or before which call that changes a file, and how much of that one is done."""
faults = st.sampled_from([None, None, None, None, *FAULTS])
lags = st.sampled_from([None, None, *LAGS])
several = st.lists(kills, min_size=1, max_size=3)
"""Runs of the same thing one after another, each of which may die: deaths in recovery, and in the recovery of that."""


def tell(what: str) -> None:
    """For the statistics and the story of a life, where hypothesis writes one."""
    if currently_in_test_context():
        note(what)
        event(what.rsplit(" ", 1)[0])


@cache
def scene() -> Lab:
    """Four models, two of them on one symbol, compiled."""
    lab = Lab(Path(tempfile.mkdtemp(prefix="stateful-")) / "home")
    for name in MODELS:
        scripted(*name.split("_")).write(lab.workspace.models)
    load_models(lab.workspace.models, lab.workspace.compiled)
    for number, symbol in enumerate(SYMBOLS):
        lab.trade(symbol, **LOTS, priority=number % 2)
    return lab


def tape(seed: int) -> list[tuple[tuple[str, ...], str, str]]:
    """What every model says on every quarter of an hour, and how the market moves."""
    chance = random.Random(seed)
    words, moves = ["W", "L1", "L1", "L2", "L3", "S1", "S2", "S3"], ["quiet"] * 5 + ["wild", "down", "up"]
    return [(tuple(chance.choice(words) for _ in MODELS), chance.choice(moves), "") for _ in range(BARS)]


class Life(RuleBasedStateMachine):
    """Rules are what may happen; after each of them what must always hold is checked, after clean runs the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="life-")
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("os.fsync", lambda descriptor: None)
        self.killer = Guillotine(self.patch)
        self.weather = Weather()
        self.bar, self.now = -1, float(T0)
        self.died = False
        for owner, waits in ((opening, True), (visits, True), (guarding, False)):
            self.patch.setattr(owner, "make_broker", self._maker(waits=waits))

    def _maker(self, *, waits: bool) -> Callable[..., Any]:
        def make(settings: Any, *rest: Any, **options: Any) -> Any:
            broker = make_broker(settings, *rest, **options)
            return self.weather.spoil(broker, settings.account, self.lab.clock, waits=waits)

        return make

    @initialize(seed=st.integers(0, 2**32), accounts=st.sampled_from([1, 1, 2]), cold=st.booleans())
    def begin(self, seed: int, accounts: int, cold: bool) -> None:
        self.lab = scene().copy(Path(self.folder) / "home")
        self.names = ["paper", "second"][:accounts]
        self.lab.accounts(*self.names)
        self.lab.limit(**WIDE)
        self.world = World(self.lab, tape(seed))
        self.edges: dict[tuple[str, int], bool] = {}
        self.unread: set[str] = set()
        self.enabled = dict.fromkeys(SYMBOLS, True)
        if not cold:
            self._next_bar()
            self._tick(1.0, [None], None)

    # time

    def _next_bar(self) -> None:
        self.bar += 1
        self.now = self.lab.close_of(self.bar)
        self.world.hear(self.bar)
        self.unread = {name for name in self.unread if (self.bar + 1) % World.every(name)}
        for key, edge in self.world.edges.items():
            self.edges[key] = self.edges.get(key, False) or edge

    def _later(self, seconds: float) -> float:
        """Some time later, but before the next bar closes."""
        self.now = min(self.now + seconds, self.lab.close_of(self.bar) + 899)
        return self.now

    # runs

    def _run(self, work: Callable[[float], Any], pause_s: float, deaths: list[Any], fault: str | None) -> bool:
        """Runs one after another, some of which die; whether the last one came through in fair weather."""
        clean = False
        for death in deaths:
            now = self._later(pause_s)
            pause_s = 1.0
            at, share = death or (None, 0.0)
            self.weather.fault = fault
            held_back = bool(self.weather.behind)
            failed: list[OracleBatchError] = []
            killed = self.killer.run(partial(self._tried, work, now, failed), at, share)
            COUNTS.points += len(self.killer.passed)
            if killed is not None:
                COUNTS.kills += 1
                tell(f"killed {killed}")
            clean = killed is None and fault is None and not held_back and not failed
            if failed and fault is None and not held_back:
                raise failed[0]
            COUNTS.recoveries += clean and self.died
            self.died = killed is not None or (self.died and not clean)
            self.weather.fault = None
            self.always()
        return clean

    @staticmethod
    def _tried(work: Callable[[float], Any], now: float, failed: list[OracleBatchError]) -> None:
        try:
            work(now)
        except OracleBatchError as error:
            failed.append(error)

    def _tick(self, late: float, deaths: list[Any], fault: str | None) -> None:
        reports: list[Any] = []
        clean = self._run(lambda now: reports.append(self.lab.at(now)), late, deaths, fault)
        if clean:
            assert reports[-1].exit_code == 0, reports[-1]
            self._check(ticked=True)

    def _check(self, *, ticked: bool) -> None:
        for account in self.names:
            truth.books_agree(self.lab, account)
            if ticked:
                self._check_wishes(account)
        if ticked:
            for name in set(MODELS) - self.unread:
                row = self._row(name)
                official = truth.spoken(name, self.world.scripts[name], row)
                if row >= 0 and self.lab.twin(name).state.last_action != official:
                    raise truth.BrokenError(f"the twin of {name} says {self.lab.twin(name).state}, the bar {official}")

    def _check_wishes(self, account: str) -> None:
        for name in MODELS:
            row = self._row(name)
            bar_time = T0 + row * Lab.seconds(name)
            in_time = self.now <= bar_time + Lab.seconds(name) + ENTRY_S
            said = self.world.said[name].get(bar_time)
            if said:
                edge = all(self._edge_versions(name, row))
                truth.wish_is_met(self.lab, account, name, bar_time, said, edge=edge, in_time=in_time)

    def _edge_versions(self, name: str, row: int) -> list[bool]:
        """Whether the bar was an edge, in each version that was ever said of it and of the one before."""
        said = self.world.said[name]
        before = said.get(T0 + (row - 1) * Lab.seconds(name), [0])
        return [one != other for one in said[T0 + row * Lab.seconds(name)] for other in before]

    def _row(self, name: str) -> int:
        """The newest bar of a model that has closed."""
        return (self.bar + 1) // World.every(name) - 1

    # what may happen

    @precondition(lambda self: self.bar < BARS - 2)
    @rule(late=st.sampled_from([1.0, 1.0, 2.0, 30.0, 61.0, 400.0]), deaths=several, fault=faults, lag=lags)
    def bar_closes(self, late: float, deaths: list[Any], fault: str | None, lag: str | None) -> None:
        self._next_bar()
        self.weather.lag = lag
        self._tick(late, deaths, fault)

    @precondition(lambda self: self.bar >= 0)
    @rule(deaths=several, fault=faults)
    def same_bar_again(self, deaths: list[Any], fault: str | None) -> None:
        self._tick(3.0, deaths, fault)

    @precondition(lambda self: self.bar < BARS - 6)
    @rule(bars=st.integers(1, 4))
    def machine_sleeps(self, bars: int) -> None:
        for _ in range(bars):
            self._next_bar()

    @precondition(lambda self: self.bar >= 0)
    @rule(deaths=several, fault=faults, wait=st.sampled_from([2.0, 70.0, 300.0]))
    def guard(self, deaths: list[Any], fault: str | None, wait: float) -> None:
        before = len(self.lab.deals())
        if self._run(lambda now: guard_report(self.lab, now), wait, deaths, fault):
            self._check(ticked=False)
        assert not [one for one in self.lab.deals()[before:] if not one[1]], "a guard has entered"

    @precondition(lambda self: self.bar >= 0)
    @rule(which=st.sampled_from([None, "EURUSD", *MODELS]), deaths=several, fault=faults)
    def operator_closes(self, which: str | None, deaths: list[Any], fault: str | None) -> None:
        def work(now: float) -> None:
            found = close(job(self.lab, now), which)
            for error in found.errors.values():
                raise error

        if self._run(work, 20.0, deaths, fault):
            self._check(ticked=False)
            names = [name for name in MODELS if which in (None, name, name.split("_")[0])]
            for account in self.names:
                assert not [one for one in names if truth.held(self.lab, account, one)], "not closed"

    @precondition(lambda self: self.bar >= 0)
    @rule(number=st.integers(0, 9), part=st.booleans())
    def somebody_closes_by_hand(self, number: int, part: bool) -> None:
        self.lab.clock.instant = self._later(5.0)
        found = truth.ours(self.lab, "paper")
        if found:
            one = found[number % len(found)]
            volume = one["volume_cents"] // 2 // 100_000 * 100_000 if part else one["volume_cents"]
            broker = self.lab.paper()
            engine = broker._engine
            before = engine.book
            if volume and engine.book.position(one["position_id"]) is not None:
                engine.close(one["position_id"], volume, decided_at=self.now, reason="manual")
                broker._save(engine, before)

    @precondition(lambda self: self.bar >= 1)
    @rule(name=st.sampled_from(MODELS), back=st.integers(0, 4), word=st.sampled_from(list(WORDS)))
    def bar_is_revised(self, name: str, back: int, word: str) -> None:
        row = self._row(name) - back
        if row >= 0:
            self.world.scripts[name][row] = word
            self.world.write(name)
            self.unread.add(name)  # a model looks at its bars when one has closed
            self.world.said[name].setdefault(T0 + row * Lab.seconds(name), []).append(WORDS[word])

    @rule(on=st.booleans(), deaths=several)
    def operator_pauses(self, on: bool, deaths: list[Any]) -> None:
        def work(now: float) -> None:
            self.lab.clock.instant = now
            if on:
                replace_atomically(self.lab.workspace.paused, f"{int(now)}\n".encode())
            else:
                resume(job(self.lab, now))

        if self._run(work, 1.0, deaths, None):
            assert self.lab.workspace.is_paused() == on

    @precondition(lambda self: self.bar >= 0)
    @rule(symbol=st.sampled_from(SYMBOLS), enabled=st.booleans(), deaths=several)
    def operator_switches(self, symbol: str, enabled: bool, deaths: list[Any]) -> None:
        if self._run(lambda now: switch(job(self.lab, now), symbol, enabled=enabled), 1.0, deaths, None):
            self.enabled[symbol] = enabled

    @precondition(lambda self: self.bar >= 0)
    @rule(deaths=several)
    def journal_is_compacted(self, deaths: list[Any]) -> None:
        """What the books have taken in becomes an old month, as if time had passed; then it is packed."""
        for account in self.names:
            self._age(account)
        if self._run(lambda _: self._compact(), 1.0, deaths, None):
            for account in self.names:
                assert not [
                    one for one in self.lab.workspace.journal_folder(account).glob("*.jsonl") if "2021" in one.name
                ]

    def _age(self, account: str) -> None:
        folder, path = self.lab.workspace.journal_folder(account), self.lab.workspace.executor_path(account)
        if not path.exists() or list(folder.glob("2021-*.parquet")) or list(folder.glob("2021-*.jsonl")):
            return
        books = self.lab.books(account)
        if books.journal is None:
            return
        newest = folder / books.journal.file
        whole = newest.read_bytes()
        if newest.name != max(one.name for one in folder.glob("*.jsonl")):
            return
        taken, rest = whole[: books.journal.offset].splitlines(keepends=True), whole[books.journal.offset :]
        if len(taken) < 3:
            return
        months = {"2021-01.jsonl": b"".join(taken[:-2]), "2023-12.jsonl": taken[-2], newest.name: taken[-1] + rest}
        for name, lines in months.items():
            (folder / name).write_bytes(lines)
            (folder / name).chmod(0o600)
        path.write_bytes(executor_file.encode(replace(books, journal=Mark(newest.name, len(taken[-1])))))

    def _compact(self) -> None:
        for account in self.names:
            folder = self.lab.workspace.journal_folder(account)
            books = executor_file.load(self.lab.workspace.executor_path(account), account)
            self.lab.workspace.clean()
            list(compaction.compact(folder, compaction.months_to_compact(folder, books.journal if books else None)))

    # what must hold

    @invariant()
    def always(self) -> None:
        if not hasattr(self, "names"):
            return
        for account in self.names:
            truth.nothing_twice(self.lab, account)
        if self.weather.late:
            raise truth.BrokenError(f"sent after their deadline: {self.weather.late}")

    def teardown(self) -> None:
        try:
            if hasattr(self, "names"):
                self._come_to_rest()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _come_to_rest(self) -> None:
        """Two clean ticks: every leg has its outcome. Then all models say WAIT: everything is closed."""
        self.weather.calm()
        self.lab.workspace.paused.unlink(missing_ok=True)
        self._tick(1.0, [None], None) if self.bar >= 0 else None
        self._next_bar()
        self._tick(1.0, [None], None)
        for account in self.names:
            truth.legs_are_accounted_for(self.lab, account)
        self.bar, self.unread = BARS + 1, set()
        self.now = self.lab.close_of(self.bar)
        self._tick(1.0, [None], None)
        truth.twins_are_replays(self.lab, MODELS, self.now)
        for account in self.names:
            truth.legs_are_accounted_for(self.lab, account)
            left = [model_of(one["label"]) for one in truth.ours(self.lab, account)]
            if left:
                raise truth.LostError(f"{account}: never closed: {left}")
