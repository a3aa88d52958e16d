"""A long history through the real hands: ``python -m bench.year --models DIR --bars DIR``.

The brain decides the whole history at once (``replay``, which equals its single decisions to the last bit). Then every
bar close is a tick: recovery, assessment, planning, judging, journal, orders, protection and books are the tick's own
code on its own files; only gathering and deciding are looked up. From one close to the next nothing is carried in
memory but bundles and bars.

Afterwards ``bench.reconcile`` adds everything up in another way. Without options the shipped models and bars are used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow
import pyarrow.parquet
from msgspec.structs import replace

from bench import reconcile
from oracle_batch import opening
from oracle_batch import tick as tick_module
from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.decide import Replay, replay
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.clock import FrozenClock
from oracle_batch.config import AccountSettings, Settings, load_executor_symbols
from oracle_batch.config.risk import RiskSettings
from oracle_batch.config.settings import PaperSettings
from oracle_batch.gather import Stored
from oracle_batch.market.book import to_money
from oracle_batch.market.feed import Feed
from oracle_batch.market.spec_file import load_settings
from oracle_batch.market.specs import Contract, Contracts
from oracle_batch.operating.job import Job as Visit
from oracle_batch.operating.risk_resetting import reset_risk
from oracle_batch.replay import read_bars
from oracle_batch.report import problems
from oracle_batch.store.twins import TwinFile
from oracle_batch.store.windows import Window
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import Thought
from oracle_batch.tick import tick
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW
from oracle_batch.world import Job

ROOT = Path(__file__).resolve().parents[1]
WEEK = 7 * 86400
ACCOUNT = "paper"
EXECUTION: Mapping[str, Any] = {
    "enabled": True,
    "lot_weak": 0.05,
    "lot_moderate": 0.1,
    "lot_strong": 0.2,
    "sl_usd": 40.0,
    "max_spread_pips": 0,
}
BALANCE = 100_000.0
UNLIMITED = RiskSettings(
    max_daily_loss_pct=0.0, max_drawdown_pct=0.0, max_consecutive_losses=0, max_consecutive_losses_account=0
)
"""What ``--preset none`` stands for here: every signal that can be followed is."""
VARIETY: Sequence[Mapping[str, Any]] = (
    {},
    {"tp_usd": 60.0},
    {"sl_usd": 0, "sl_atr": 3.0, "tp_atr": 4.0},
    {"trailing_usd": 30.0, "trail_step_usd": 2.0},
    {"breakeven_usd": 15.0, "trail_step_usd": 1.0},
    {"risk_per_trade_pct": 0.3},
    {"stop_trigger_method": "opposite"},
)
"""What models differ in, in turn, so that one run sees every kind of protection."""
LOOK_EVERY = 25
"""Closes between two looks at the deals, of which the account's file keeps the newest 2,000."""
WARM = 4 * WINDOW
"""M15 bars before the first close: as many H1 bars as a model needs."""
WINDOWED = 20
"""Bars of a window that the hands look at: a few more than ``atr_period``."""


MONEY_KEYS = (
    "lot_weak",
    "lot_moderate",
    "lot_strong",
    "sl_usd",
    "tp_usd",
    "trailing_usd",
    "trail_step_usd",
    "breakeven_usd",
)


def execution(number: int, scale: float) -> dict[str, Any]:
    """The settings of a model; ``scale`` multiplies lots and money alike, so that distances stay."""
    entry = {**EXECUTION, **VARIETY[number % len(VARIETY)], "priority": number % 3}
    return {key: value * scale if key in MONEY_KEYS else value for key, value in entry.items()}


def swaps_of(symbol: str) -> dict[str, float]:
    """Nights that cost, of different sizes, and one direction in which they pay."""
    size = sum(symbol.encode()) % 7 + 1.5
    return {"swap_long_points": -size, "swap_short_points": size / 4}


@dataclass
class Course:
    """One model, its bars, and what it says on each bar from the 350th on."""

    model: Model
    bars: Bars = field(repr=False)
    said: Replay = field(repr=False)

    @classmethod
    def of(cls, model: Model, bars: Bars) -> Course:
        return cls(model, bars, replay(model, bars, FLAT, len(bars) - WINDOW + 1))

    def closes(self) -> list[float]:
        seconds = TIMEFRAME_SECONDS[self.model.timeframe]
        return [float(opened + seconds) for opened in self.said.time.tolist()]

    def thought(self, row: int) -> Thought:
        """What the brain leaves after the decision of a row, as a tick would find it."""
        before: tuple[TwinState, ...] = tuple(self.said.twins[max(0, row - 2) : row]) or (FLAT,)
        state = self.said.twins[row]
        twin = TwinFile(model=self.model.model_id, bundle_sha256=self.model.sha256, state=state, history=before)
        return Thought(self.model, twin, past=before)

    def window(self, row: int) -> Window:
        end = row + WINDOW
        return Window(self.bars[end - WINDOWED : end], "paper")


class Year:
    """A workspace whose models have decided already, and a clock that walks from close to close."""

    def __init__(self, home: Path, courses: Sequence[Course], data: Path, risk: RiskSettings, scale: float) -> None:
        self.workspace, self.courses, self.data = Workspace(home), courses, data
        paper = PaperSettings(data=str(data), balance=BALANCE)
        self.settings = Settings(accounts=(AccountSettings(account=ACCOUNT, paper=paper, risk=risk),))
        self.clock = FrozenClock(0.0)
        self.models = {one.model.model_id: one.model for one in courses}
        self.workspace.ensure()
        (home / "config").mkdir(exist_ok=True)
        symbols = {one.model.broker_symbol: swaps_of(one.model.broker_symbol) for one in courses}
        self.workspace.symbols.write_text(json.dumps(symbols))
        entries = {name: execution(number, scale) for number, name in enumerate(sorted(self.models))}
        self.workspace.executor_symbols.write_text(json.dumps(entries))
        self.feed, self.specs = Feed(data), load_settings(self.workspace.symbols)
        known = load_executor_symbols(self.workspace.executor_symbols)
        self.execution = {name: known.entries[name] for name in self.models}
        self.decisions: Counter[str] = Counter()
        self.phases = self.ticked = 0
        self._quiet = (0, 0.0)

    def closes(self, first: float, last: float) -> Iterator[tuple[float, list[tuple[Course, int]]]]:
        """Every instant at which a bar closes, with the models that have one."""
        due: dict[float, list[tuple[Course, int]]] = {}
        for course in self.courses:
            for row, close in enumerate(course.closes()):
                if first <= close < last:
                    due.setdefault(close, []).append((course, row))
        yield from sorted(due.items(), key=lambda one: one[0])

    def broker(self) -> PaperBroker:
        """A new session on the account's file; only the bars that were read are still in memory."""
        settings = self.settings.accounts[0]
        path = self.workspace.paper_path(ACCOUNT)
        return PaperBroker(ACCOUNT, settings.paper, self.feed, self.specs, path, self.clock, self.models)

    def run(self, first: float, last: float, *, phase_after_days: float = 0.0) -> reconcile.Deals:
        """Tick every close; gives all deals. ``phase_after_days``: see ``_new_phase``; 0: never."""
        deals = reconcile.Deals()
        for number, (close, due) in enumerate(self.closes(first, last)):
            self.clock.instant = close + 1
            asyncio.run(self._tick(Job(self.workspace, self.settings, self.clock), due))
            self.ticked += 1
            if number % LOOK_EVERY == 0:
                deals.take(self.book())
                self._new_phase(len(deals.found), phase_after_days)
        deals.take(self.book())
        return deals

    async def _tick(self, job: Job, due: Sequence[tuple[Course, int]]) -> None:
        async def gather(job: Job, world: Any, _: Any) -> None:
            world.models = self.models
            world.stored = {one.model.model_id: Stored(one.model, one.window(row), None) for one, row in due}
            desk = opening.desk_of(job, job.settings.accounts[0], world, self.execution)
            world.desks.append(await opening.opened(desk, world))

        def decide(job: Job, world: Any) -> dict[str, Thought]:
            return {one.model.model_id: one.thought(row) for one, row in due}

        def make_broker(*_: Any, **__: Any) -> PaperBroker:
            return self.broker()

        with (
            patch.multiple(tick_module, gather=gather, decide=decide),
            patch.multiple(opening, make_broker=make_broker),
        ):
            report = await tick(job)
        if report.exit_code:
            raise RuntimeError(f"{self.clock.instant:.0f}: {problems(report)}")
        for outcome in report.accounts[ACCOUNT].models.values():
            self.decisions[f"{outcome.decision} {outcome.ack} {outcome.reason}"] += 1

    def _new_phase(self, deals: int, after_days: float) -> None:
        """Let the operator go on with the balance that is left, where the limits have let nothing happen for days."""
        now = self.clock.instant
        if deals != self._quiet[0]:
            self._quiet = (deals, now)
        book = self.book()
        if book is None or not after_days or now - self._quiet[1] < 86400 * after_days:
            return
        reset_risk(Visit(self.workspace, self.settings, self.clock))
        account = self.settings.accounts[0]
        risk = replace(account.risk, initial_balance=to_money(book.balance, 2))
        self.settings = replace(self.settings, accounts=(replace(account, risk=risk),))
        self._quiet, self.phases = (deals, now), self.phases + 1

    def contract(self, symbol: str) -> Contract:
        """What trading a symbol costs."""
        found = Contracts(self.specs, self.models.values(), "USD", self.workspace.symbols).find(symbol)
        assert found is not None
        return found

    def book(self) -> Any:
        return reconcile.read_book(self.workspace.paper_path(ACCOUNT))

    def books(self) -> Any:
        return reconcile.read_books(self.workspace.executor_path(ACCOUNT), ACCOUNT)


# bars


def write_bars(path: Path, bars: Bars) -> None:
    table = pyarrow.table({name: pyarrow.array(getattr(bars, name).tolist()) for name in FIELDS})
    pyarrow.parquet.write_table(table, path)


def hourly(bars: Bars) -> Bars:
    """H1 bars of finer ones."""
    hours = bars.time // 3600 * 3600
    starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    ends = np.append(starts[1:], len(bars)) - 1
    return Bars(
        hours[starts],
        bars.open[starts],
        np.maximum.reduceat(bars.high, starts),
        np.minimum.reduceat(bars.low, starts),
        bars.close[ends],
        np.add.reduceat(bars.volume, starts),
    )


def moved(bars: Bars, first: float, last: float) -> Bars:
    """The bars; where they cover less than a third of the time, moved by whole weeks to be warm when it begins."""
    held = bars[(bars.time >= first) & (bars.time < last)]
    if len(held) and 3 * (int(held.time[-1]) - int(held.time[0])) >= last - first:
        return bars
    weeks = round((first - int(bars.time[WARM])) / WEEK)
    return Bars(bars.time + weeks * WEEK, *(getattr(bars, name) for name in FIELDS[1:]))


def around(bars: Bars, first: float, last: float) -> Bars:
    """The bars between two instants, with a warm-up before (of M15 ones made hourly, too) and the next opens after."""
    low, high = np.searchsorted(bars.time, (first, last))
    return bars[max(0, int(low) - WARM) : int(high) + 100]


def place(models: Path, bars: Path, data: Path, first: float, last: float) -> list[Course]:
    """Put every symbol's bars into one folder, and let each model decide all of its own.

    Where a symbol has M15 bars, H1 ones are made of them, so that all models of a symbol see one market. Bars of
    another time are moved there.
    """
    data.mkdir(parents=True, exist_ok=True)
    courses = []
    for bundle in sorted(models.glob("*.zip")):
        model = load_model(bundle, None)
        fine = bars / f"{model.symbol}_M15.parquet"
        timeframe = "M15" if fine.exists() else model.timeframe
        found = read_bars(fine if fine.exists() else bars / f"{bundle.stem}.parquet", model.symbol, timeframe)
        found = around(moved(found, first, last), first, last)
        write_bars(data / f"{model.symbol}_{timeframe}.parquet", found)
        own = hourly(found) if (timeframe, model.timeframe) == ("M15", "H1") else found
        if len(own) >= WINDOW:
            courses.append(Course.of(model, own))
    return courses


def prices_of(data: Path) -> reconcile.Prices:
    """Every bar of a folder with one file a symbol."""
    bars, seconds = {}, {}
    for path in data.glob("*.parquet"):
        symbol, timeframe = path.stem.rsplit("_", 1)
        bars[symbol], seconds[symbol] = read_bars(path, symbol, timeframe), TIMEFRAME_SECONDS[timeframe]
    return reconcile.Prices(bars, seconds)


@dataclass(frozen=True)
class Result:
    """One run: what it came to, how many closes were ticked, and how long that took."""

    sums: reconcile.Sums
    closes: int
    seconds: float
    decisions: Mapping[str, int]
    events: Mapping[str, int]
    phases: int


def lived(
    home: Path,
    courses: Sequence[Course],
    data: Path,
    risk: RiskSettings,
    first: float,
    last: float,
    *,
    scale: float = 1.0,
    phase_after_days: float = 0.0,
) -> Result:
    """One run over a stretch of time, reconciled.

    Raises:
        AssertionError: something does not add up.
    """
    year = Year(home, courses, data, risk, scale)
    began = time.perf_counter()
    deals = year.run(first, last, phase_after_days=phase_after_days)
    spent = time.perf_counter() - began
    book, books = year.book(), year.books()
    assert book is not None, "nothing was traded"
    contracts = {symbol: year.contract(symbol) for symbol in {one.symbol for one in deals.found.values()}}
    journal = year.workspace.journal_folder(ACCOUNT)
    sums = reconcile.reconcile(book, books, journal, deals, contracts, prices_of(data))
    events = reconcile.events(journal)
    return Result(sums, year.ticked, spent, dict(year.decisions.most_common()), events, year.phases)


def main() -> None:
    """Run with and without a preset, and print one JSON object for each."""
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="python -m bench.year", description=__doc__)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--bars", type=Path, default=ROOT / "data")
    parser.add_argument("--from", dest="first", type=_instant, default=_instant("2026-06-01"))
    parser.add_argument("--to", dest="last", type=_instant, default=_instant("2026-07-01"))
    parser.add_argument("--preset", action="append", help="none, ftmo_2step, …; may be given more than once")
    parser.add_argument("--phase-after-days", type=float, default=10.0, help="a new phase after so long without a deal")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies lots, and money in the settings")
    parser.add_argument("--scratch", type=Path, default=None, help="where the state is written, best in memory")
    options = parser.parse_args()
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - durability is not what is measured here
    with tempfile.TemporaryDirectory(prefix="oracle-batch-year-", dir=options.scratch) as folder:
        data = Path(folder) / "data"
        courses = place(options.models, options.bars, data, options.first, options.last)
        for preset in options.preset or ["none", "ftmo_2step"]:
            home = Path(folder) / preset
            shutil.copytree(options.models, home / "models")
            risk = UNLIMITED if preset == "none" else RiskSettings(preset=preset, initial_balance=BALANCE)
            result = lived(
                home,
                courses,
                data,
                risk,
                options.first,
                options.last,
                scale=options.scale,
                phase_after_days=options.phase_after_days,
            )
            print(json.dumps(told(result, preset=preset, models=len(courses)), indent=2), flush=True)


def told(result: Result, **more: Any) -> dict[str, Any]:
    """A result for people."""
    return reconcile.summary(
        result.sums,
        **more,
        closes=result.closes,
        seconds=round(result.seconds, 1),
        ms_per_close=round(1e3 * result.seconds / result.closes, 2),
        phases=result.phases,
        events=result.events,
        decisions=result.decisions,
    )


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


if __name__ == "__main__":
    main()
