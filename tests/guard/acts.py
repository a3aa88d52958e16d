"""Guards on a lab, and a market that moves by the minute between its bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from oracle_batch import guarding
from oracle_batch.bars import Bars
from oracle_batch.brokers import make_broker
from oracle_batch.guard_report import GuardedAccount, GuardReport
from oracle_batch.guarding import Job
from oracle_batch.hands.watch import Upkeep, Watch
from oracle_batch.store import executor as executor_file
from tests.tick.lab import T0, Lab, write_bars
from tests.tick.test_sync_scenarios import EURUSD, held

START = T0 + 1800
"""When the position of ``opened`` is opened: the close of bar 1."""
ENTRY = 1.10009
"""At what: 1.1, seven points of spread, two of slippage."""
STOP = 1.09809
"""2 USD below it, for a hundredth of a lot."""


def guarded(lab: Lab, now: float, *, dry_run: bool = False) -> GuardedAccount:
    """One guard; gives what it came to on the account ``paper``."""
    return report(lab, now, dry_run=dry_run).accounts["paper"]


def report(lab: Lab, now: float, *, dry_run: bool = False) -> GuardReport:
    lab.clock.instant = now
    if not dry_run:
        lab.workspace.clean()
    return guarding.run(Job(lab.workspace, lab.settings, lab.clock, dry_run))


def minute(number: int) -> float:
    """Half past a minute after ``START``."""
    return START + 60.0 * number + 30


def prices(lab: Lab, *bids: float, symbol: str = "EURUSD", start: int = START) -> None:
    """The bid of each minute from ``start`` on."""
    price = np.array(bids)
    times = start + 60 * np.arange(len(price), dtype=np.int64)
    bars = Bars(times, price.copy(), price.copy(), price.copy(), price.copy(), np.full(len(price), 9.0))
    write_bars(lab.data / f"{symbol}_M1.parquet", bars)


def watched(lab: Lab, stop: float | None = STOP, target: float | None = None, **keep: float) -> None:
    """Let the position be protected as if its order had carried these prices, and be looked after like this."""
    books = lab.books()
    watch = Watch(held(lab), stop, target, ENTRY - 0.00007, breakeven_done=False, upkeep=Upkeep(**keep))
    models = {**books.models, EURUSD: replace(books.models[EURUSD], watch=watch)}
    path = lab.workspace.executor_path("paper")
    path.write_bytes(executor_file.encode(replace(books, models=models)))
    lab.protect(held(lab), stop, target)


def stops(lab: Lab) -> list[float | None]:
    """The stops at the broker."""
    return [one["stop_loss"] for one in lab.account()["positions"]]


def scheduled(lab: Lab, zone: str, sessions: Sequence[str], symbol: str = "EURUSD") -> None:
    """Give a symbol market hours."""
    entry = {symbol: {"schedule": {"zone": zone, "sessions": list(sessions)}}}
    lab.workspace.symbols.write_text(json.dumps(entry))


def risk(lab: Lab, **rules: Any) -> None:
    """Set keys of ``[risk]``, for every account."""
    accounts = tuple(replace(one, risk=replace(one.risk, **rules)) for one in lab.settings.accounts)
    lab.settings = replace(lab.settings, accounts=accounts)


def spoil(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Any], Any], account: str | None = None) -> list[Any]:
    """Let guards use ``wrapper(broker)`` from now on; gives those made."""
    made: list[Any] = []

    def make(settings: Any, *rest: Any, **options: Any) -> Any:
        broker: Any = make_broker(settings, *rest, **options)
        made.append(wrapper(broker) if account in (None, settings.account) else broker)
        return made[-1]

    monkeypatch.setattr(guarding, "make_broker", make)
    return made
