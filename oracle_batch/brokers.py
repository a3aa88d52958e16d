"""Which broker stands behind an account."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from oracle_batch.broker.base import Broker
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings
from oracle_batch.store.workspace import Workspace

if TYPE_CHECKING:
    from oracle_batch.market.excerpts import Excerpts
    from oracle_batch.market.feed import Feed


_FEEDS: WeakValueDictionary[tuple[object, ...], Feed] = WeakValueDictionary()
"""The feeds in use: accounts that trade on one folder of bars read it once."""


def _feed(folder: Path, excerpts: Excerpts, *, lean: bool) -> Feed:
    """The feed of a folder in the state it is in; one that files were added to or taken from is another one.

    Raises:
        ConfigError: the folder cannot be used.
    """
    from oracle_batch.market.feed import Feed

    try:
        status = folder.stat()
    except OSError:
        return Feed(folder)  # which says what is wrong
    key = (folder, status.st_ino, status.st_mtime_ns, excerpts, lean)
    feed = _FEEDS.get(key)
    if feed is None:
        feed = _FEEDS[key] = Feed(folder, excerpts if lean else None)
    return feed


def make_broker(
    account: AccountSettings,
    workspace: Workspace,
    models: Mapping[str, Model],
    clock: Clock,
    *,
    dry_run: bool,
    lean: bool = False,
) -> Broker:
    """The account's broker, not yet connected.

    ``lean`` is for runs between bars: on paper they read the excerpts that others have left, not whole histories.

    Raises:
        ConfigError: the symbols file, or the folder of bars, cannot be used.
    """
    if account.kind == "ctrader":
        from oracle_batch.broker.ctrader.broker import CtraderBroker

        return CtraderBroker(account.account, account.ctrader, workspace, clock, dry_run=dry_run)
    from oracle_batch.broker.paper import PaperBroker
    from oracle_batch.market.excerpts import Excerpts
    from oracle_batch.market.spec_file import load_settings

    def paper(feed: Feed, excerpts: Excerpts | None = None) -> PaperBroker:
        return PaperBroker(
            account.account,
            account.paper,
            feed,
            load_settings(workspace.symbols),
            workspace.paper_path(account.account),
            clock,
            models,
            specs_file=workspace.symbols,
            dry_run=dry_run,
            excerpts=excerpts,
        )

    if account.paper.feed == "ctrader":
        from oracle_batch.broker.ctrader.broker import CtraderBroker
        from oracle_batch.broker.ctrader.live_paper import LivePaperBroker

        data = CtraderBroker(account.account, account.ctrader, workspace, clock, dry_run=dry_run, data_only=True)
        folder = None if dry_run else workspace.live_bars(account.account)
        return LivePaperBroker(data, paper, models, folder, account.paper.currency, clock)
    excerpts = Excerpts(workspace.compiled, account.paper.data)
    feed = _feed(workspace.home / account.paper.data, excerpts, lean=lean)
    return paper(feed, None if lean or dry_run else excerpts)
