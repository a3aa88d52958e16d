"""A workspace with real bars and models, and some hundred bar closes through the real tick (``oracle-batch demo``)."""

from __future__ import annotations

import asyncio
import json
import shutil
import site
import sysconfig
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oracle_batch.bounded import told_to_end
from oracle_batch.broker.paper_account import load_book
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.clock import FrozenClock
from oracle_batch.config import Settings, load_settings
from oracle_batch.errors import ConfigError, UsageError
from oracle_batch.market.book import to_money
from oracle_batch.market.feed import Feed
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.lock import hold
from oracle_batch.store.workspace import Workspace
from oracle_batch.surveying import read_status
from oracle_batch.tick import tick
from oracle_batch.types import TIMEFRAME_SECONDS
from oracle_batch.warmup import ShowProgress, warm_up
from oracle_batch.world import Job

SYMBOLS: Final = ("EURUSD_M15", "GBPUSD_H1", "USDJPY_H1")
PACE: Final = ("EURUSD", "M15")
"""The series whose closes the demo walks through; the others close on some of them."""
SETTINGS: Final = {
    "enabled": True,
    "lot_weak": 0.01,
    "lot_moderate": 0.03,
    "lot_strong": 0.05,
    "sl_usd": 0,
    "max_spread_pips": 0,
}
"""The lots that the sample models were trained with; no limits, so that paper and twins can be compared."""
STREAKS: Final = {"max_consecutive_losses": 5, "max_consecutive_losses_account": 10}
"""What would rest a losing model for a day, with the shipped values: off here, for the same reason."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo came to. Money in the account currency; ``seconds`` of wall time for the ticks alone."""

    closes: int
    seconds: float
    decisions: dict[str, int]
    deals: int
    currency: str
    start_balance: float
    balance: float
    equity: float
    commission: float
    virtual: float
    unfinished: int


def samples() -> Path:
    """The folder with the sample ``models/``, ``data/`` and ``config/``: the clone, or what an install put beside it.

    Raises:
        ConfigError: neither is there.
    """
    shares = [Path(base) / "share" / "oracle-batch" for base in (sysconfig.get_path("data"), site.getuserbase())]
    for root in (Path(__file__).parent.parent, *shares):
        if all((root / place / name).is_file() for place, name in _files()):
            return root
    raise ConfigError("the sample models are not installed", file=shares[0], fix="run the demo from a clone")


def _files() -> list[tuple[str, str]]:
    """Folder and name of each sample."""
    samples = [("models", f"{name}.zip") for name in SYMBOLS] + [("data", f"{name}.parquet") for name in SYMBOLS]
    return [*samples, ("config", "oracle.toml")]


def prepare(folder: Path) -> Workspace:
    """A fresh workspace with the sample bundles and bars.

    Raises:
        UsageError: the folder already holds something, or is none.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is not an empty folder", file=folder, fix="name a new one")
    workspace = Workspace(folder)
    workspace.ensure()
    source = samples()
    (folder / "data").mkdir()
    for place, name in _files():
        shutil.copyfile(source / place / name, folder / place / name)
    rules = workspace.config_file.read_text(encoding="utf-8")
    for name, shipped in STREAKS.items():
        rules = rules.replace(f"{name} = {shipped} ", f"{name} = 0 ")
    replace_atomically(workspace.config_file, rules.encode())
    symbols = {name.rpartition("_")[0]: SETTINGS for name in SYMBOLS}
    replace_atomically(workspace.executor_symbols, json.dumps(symbols, indent=2).encode() + b"\n")
    return workspace


def closes(workspace: Workspace, settings: Settings, count: int) -> list[int]:
    """The last ``count`` closes of the pace-setting series that have a later bar to fill at."""
    feed = Feed(workspace.home / settings.accounts[0].paper.data)
    symbol, timeframe = PACE
    times = feed.bars(symbol, timeframe, 0, 2**40).time
    return [int(time) + TIMEFRAME_SECONDS[timeframe] for time in times[-count - 1 : -1]]


def play(workspace: Workspace, count: int, progress: ShowProgress) -> Summary:
    """Warm up, then run one tick at each bar close."""
    settings = load_settings(workspace.config_file)
    instants = closes(workspace, settings, count)
    clock = FrozenClock(instants[0] - 60)
    warm_up(workspace, settings, clock, None, progress)
    decisions: Counter[str] = Counter()
    began = time.monotonic()
    virtual = _virtual(workspace, settings, clock)
    with hold(workspace.lock), progress("bar closes", len(instants)) as bar:
        for instant in instants:
            clock.instant = instant + 1
            report = asyncio.run(tick(Job(workspace, settings, clock)))
            if told_to_end():
                raise KeyboardInterrupt
            outcomes = report.accounts[settings.accounts[0].account].models.values()
            decisions.update(one.decision for one in outcomes if one.decision is not None)
            bar.advance()
    virtual = _virtual(workspace, settings, clock) - virtual
    return _summary(workspace, settings, clock, decisions, time.monotonic() - began, len(instants), virtual)


def _virtual(workspace: Workspace, settings: Settings, clock: FrozenClock) -> float:
    """Realized and floating profit of all twins."""
    account = read_status(workspace, settings, clock.now()).accounts[settings.accounts[0].account]
    twins = [one.twin for one in account.models.values() if one.twin is not None]
    return sum(twin.realized_pnl + twin.floating_pnl for twin in twins)


def _summary(
    workspace: Workspace,
    settings: Settings,
    clock: FrozenClock,
    decisions: Counter[str],
    seconds: float,
    count: int,
    virtual: float,
) -> Summary:
    account = settings.accounts[0]
    models, _ = load_models(workspace.models, workspace.compiled)

    async def equity() -> float:
        broker = make_broker(account, workspace, models, clock, dry_run=True)
        await broker.connect()
        return (await broker.account()).equity

    book = load_book(workspace.paper_path(account.account), account.account, account.paper, clock.now())
    paid = book.forgotten.commission + sum(deal.commission for deal in book.deals)
    return Summary(
        count,
        seconds,
        dict(decisions),
        book.forgotten.deals + len(book.deals),
        book.currency,
        account.paper.balance,
        to_money(book.balance, book.money_digits),
        asyncio.run(equity()),
        to_money(paid, book.money_digits),
        virtual,
        len(book.positions),
    )
