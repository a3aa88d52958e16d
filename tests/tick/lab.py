"""A workspace whose models say what a script tells them, bar by bar, and a paper account that can be looked into.

A scripted model reads its action from the place of the close within the bar's own range, so that a test writes the
signals down as words: ``lab.add("EURUSD", "M15", "W L1 L1 W")``.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow
import pyarrow.parquet
from msgspec.structs import replace

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.broker.base import AmendIntent, CloseIntent, OpenIntent
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.clock import FrozenClock
from oracle_batch.config import AccountSettings, Settings, TickSettings
from oracle_batch.report import Outcome, TickReport
from oracle_batch.store import executor as executor_file
from oracle_batch.store import twins, windows
from oracle_batch.store.executor import Executor
from oracle_batch.store.journal import Journal
from oracle_batch.store.twins import TwinFile
from oracle_batch.store.windows import Window
from oracle_batch.store.workspace import Workspace
from oracle_batch.tick import tick
from oracle_batch.types import TIMEFRAME_SECONDS, split_model_id
from oracle_batch.world import Job
from tests.bundle.build import Parts, parts

T = TypeVar("T")

T0 = 1_704_672_000
"""The open of scripted bar 0: Monday 2024-01-08 00:00 UTC."""
WARM = 400
"""Bars that say WAIT before the script begins."""
WORDS = {"W": 0, "L1": 1, "L2": 2, "L3": 3, "S1": 4, "S2": 5, "S3": 6}
STEP = 0.0001
PRICE = 1.1
QUIET = {"enabled": True, "sl_usd": 0, "max_spread_pips": 0}


def scripted(symbol: str, timeframe: str = "M15", **options: Any) -> Parts:
    """A model without hidden layers: action i where the close stands at i/6 of the bar's range."""
    one = parts(
        symbol=symbol,
        timeframe=timeframe,
        hidden=(),
        n_states=2,
        hmm_config={"range_period": 1},
        rl_config={"range_period": 1},
        **options,
    )
    centres = np.linspace(-1.0, 1.0, 7)
    weight = np.zeros((7, 6 + 2 + 3), np.float32)
    weight[:, 3] = 20 * centres
    one.policy["action_net.weight"] = weight
    one.policy["action_net.bias"] = (-10 * centres**2).astype(np.float32)
    return one


def shaped(
    actions: Sequence[int], start: int, seconds: int, bases: Sequence[float] | None = None, step: float = STEP
) -> Bars:
    """Bars in a row whose closes say the actions; ``bases`` are their lows, ``step`` a sixth of their range."""
    low = np.array([PRICE] * len(actions) if bases is None else bases, np.float64)
    close = low + step * np.array(actions, np.float64)
    times = start + seconds * np.arange(len(actions), dtype=np.int64)
    return Bars(times, low.copy(), low + 6 * step, low, close, np.full(len(actions), 100.0))


def write_bars(path: Path, bars: Bars) -> None:
    table = pyarrow.table({name: pyarrow.array(getattr(bars, name).tolist()) for name in FIELDS})
    pyarrow.parquet.write_table(table, path)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Lab:
    """One ``--home`` on a frozen clock. Every ``tick`` starts from the files alone, as a new process would."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.workspace = Workspace(folder)
        self.settings = Settings(tick=replace(TickSettings(), **rules))
        self.clock = FrozenClock(float(T0))
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.workspace.ensure()
        self.entries: dict[str, Any] = {}
        self.bars: dict[str, Bars] = {}

    def copy(self, folder: Path) -> Lab:
        """The same workspace in another folder, from here on on its own."""
        shutil.copytree(self.workspace.home, folder)
        twin = copy.copy(self)
        twin.workspace, twin.data, twin.clock = Workspace(folder), folder / "data", FrozenClock(self.clock.instant)
        twin.bars, twin.entries = dict(self.bars), dict(self.entries)
        return twin

    # what stands in the folders

    def add(
        self,
        symbol: str,
        timeframe: str,
        script: str,
        *,
        enabled: bool = True,
        after: int = 3,
        costs: dict[str, Any] | None = None,
        **entry: Any,
    ) -> str:
        """A scripted model, its bars, and its execution settings; ``after`` more bars of WAIT follow the script."""
        name = scripted(symbol, timeframe, costs=costs).write(self.workspace.models).stem
        self.script(name, script, after=after)
        self.trade(symbol, enabled=enabled, **entry)
        return name

    def script(self, name: str, script: str, *, after: int = 3, warm: int = WARM, base: float = PRICE) -> None:
        actions = [0] * warm + [WORDS[word] for word in script.split()] + [0] * after
        seconds = self.seconds(name)
        self.put(name, shaped(actions, T0 - warm * seconds, seconds, [base] * len(actions)))

    def put(self, name: str, bars: Bars) -> None:
        self.bars[name] = bars
        write_bars(self.data / f"{name}.parquet", bars)

    def change(self, name: str, bar: int, **values: float) -> None:
        """Give scripted bar ``bar`` of the feed other values, from now on."""
        bars = self.bars[name]
        row = int(np.searchsorted(bars.time, self.time(name, bar)))
        columns = {field: getattr(bars, field).copy() for field in FIELDS}
        for field, value in values.items():
            columns[field][row] = value
        self.put(name, Bars(**columns))

    def say(self, name: str, bar: int, word: str) -> None:
        """Revise scripted bar ``bar`` so that it says another word."""
        row = int(np.searchsorted(self.bars[name].time, self.time(name, bar)))
        self.change(name, bar, close=float(self.bars[name].low[row]) + STEP * WORDS[word])

    def drop(self, name: str, *missing: int) -> None:
        """Take scripted bars out of the feed."""
        bars = self.bars[name]
        self.put(name, bars[~np.isin(bars.time, [self.time(name, bar) for bar in missing])])

    def trade(self, key: str, **entry: Any) -> None:
        self.entries[key] = {**QUIET, **entry}
        self.workspace.executor_symbols.write_text(json.dumps(self.entries))

    def accounts(self, *names: str) -> None:
        self.settings = replace(self.settings, accounts=tuple(AccountSettings(account=name) for name in names))

    def rule(self, **rules: Any) -> None:
        self.settings = replace(self.settings, tick=replace(self.settings.tick, **rules))

    def limit(self, **risk: Any) -> None:
        """Give every account other limits."""
        accounts = tuple(replace(one, risk=replace(one.risk, **risk)) for one in self.settings.accounts)
        self.settings = replace(self.settings, accounts=accounts)

    # time

    @staticmethod
    def seconds(name: str) -> int:
        known = split_model_id(name)
        assert known is not None
        return TIMEFRAME_SECONDS[known[1]]

    def time(self, name: str, bar: int) -> int:
        """The open of a scripted bar."""
        return T0 + bar * self.seconds(name)

    def close_of(self, bar: int, timeframe: str = "M15") -> float:
        return float(T0 + (bar + 1) * TIMEFRAME_SECONDS[timeframe])

    # running

    def tick(self, bar: int, *, late: float = 1.0, timeframe: str = "M15", dry_run: bool = False) -> TickReport:
        """One tick ``late`` seconds after the close of a scripted bar."""
        return self.at(self.close_of(bar, timeframe) + late, dry_run=dry_run)

    def at(self, now: float, *, dry_run: bool = False) -> TickReport:
        self.clock.instant = now
        if not dry_run:
            self.workspace.clean()
        return run(tick(Job(self.workspace, self.settings, self.clock, dry_run)))

    def play(self, name: str, bars: int, first: int = 0) -> list[tuple[str | None, str | None, str | None]]:
        """Tick bars ``first`` to ``bars - 1`` and list what the model came to on each."""
        return [came_to(self.tick(bar), name) for bar in range(first, bars)]

    # looking

    def account(self, account: str = "paper") -> dict[str, Any]:
        """The paper account's file; an account that has never traded has none."""
        path = self.workspace.paper_path(account)
        document: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"positions": [], "deals": []}
        return document

    def positions(self, account: str = "paper") -> list[tuple[str, int, int]]:
        """Label, direction and volume of every open position."""
        found = self.account(account)["positions"]
        return [(one["label"], one["direction"], one["volume_cents"]) for one in found]

    def deals(self, account: str = "paper") -> list[tuple[str, bool]]:
        """Client order id and side (True closes) of every deal."""
        return [(one["client_order_id"], one["closing"]) for one in self.account(account)["deals"]]

    def books(self, account: str = "paper") -> Executor:
        found = executor_file.load(self.workspace.executor_path(account), account)
        assert found is not None
        return found

    def losses(self, name: str, account: str = "paper") -> int:
        """A model's losing trades in a row."""
        return self.books(account).risk.trades.streak(name).losses

    def twin(self, name: str) -> TwinFile:
        sha256 = hashlib.sha256(self.workspace.bundle_path(name).read_bytes()).hexdigest()
        found = twins.load(self.workspace.twin_path(name), name, sha256)
        assert found is not None
        return found

    def window(self, name: str) -> Window:
        known = split_model_id(name)
        assert known is not None
        found = windows.load(self.workspace.bars_path(name), *known)
        assert found is not None
        return found

    def journal(self, account: str = "paper") -> list[Any]:
        return list(Journal(self.workspace.journal_folder(account), self.clock).tail(None, repair=False).records)

    def events(self, name: str, account: str = "paper") -> list[Any]:
        return [one for one in self.journal(account) if getattr(one, "name", None) == name]

    # acting at the broker behind the hands' back

    def paper(self, account: str = "paper") -> Any:
        """The account's broker, connected now."""
        models, _ = load_models(self.workspace.models, self.workspace.compiled, write_cache=False)
        settings = next(one for one in self.settings.accounts if one.account == account)
        broker = make_broker(settings, self.workspace, models, self.clock, dry_run=False)
        run(broker.connect())
        return broker

    def close_by_hand(self, position_id: int, volume_cents: int | None = None) -> None:
        """Close a position, or so much of it."""
        broker = self.paper()
        held = next(one.volume_cents for one in run(broker.positions()) if one.position_id == position_id)
        volume = held if volume_cents is None else volume_cents
        leg = CloseIntent("by hand", "", "", position_id, volume, self.clock.now())
        assert [one.status for one in run(broker.execute([leg], lambda _: {}))] == ["OK"]

    def open_by_hand(self, symbol: str, direction: int = 1, label: str = "", comment: str = "") -> int:
        broker, now = self.paper(), self.clock.now()
        leg = OpenIntent("by hand", "", symbol, direction, 1, 100_000, label, comment, now, now + 60)
        (ack,) = run(broker.execute([leg], lambda _: {}))
        assert ack.status == "OK"
        return int(ack.position_id)

    def protect(self, position_id: int, stop_loss: float | None, take_profit: float | None = None) -> None:
        leg = AmendIntent("by hand", "", position_id, "", stop_loss, take_profit, self.clock.now())
        assert [one.status for one in run(self.paper().execute([leg], lambda _: {}))] == ["OK"]


def came_to(report: TickReport, name: str, account: str | None = None) -> tuple[str | None, str | None, str | None]:
    """Decision, ack and reason of one model."""
    one = outcome(report, name, account)
    return one.decision, one.ack, one.reason


def outcome(report: TickReport, name: str, account: str | None = None) -> Outcome:
    chosen = account or next(iter(report.accounts))
    return report.accounts[chosen].models.get(name, Outcome())


def tree(folder: Path) -> Mapping[str, tuple[str, int, int]]:
    """Every file and folder below: content hash, mode and modification time."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }
