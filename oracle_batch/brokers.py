"""Which broker stands behind an account."""

from __future__ import annotations

from collections.abc import Mapping

from oracle_batch.broker.base import Broker
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings
from oracle_batch.store.workspace import Workspace


def make_broker(
    account: AccountSettings, workspace: Workspace, models: Mapping[str, Model], clock: Clock, *, dry_run: bool
) -> Broker:
    """The account's broker, not yet connected.

    Raises:
        ConfigError: the symbols file, or the folder of bars, cannot be used.
    """
    from oracle_batch.broker.paper import PaperBroker
    from oracle_batch.market.feed import Feed
    from oracle_batch.market.spec_file import load_settings

    return PaperBroker(
        account.account,
        account.paper,
        Feed(workspace.home / account.paper.data),
        load_settings(workspace.symbols),
        workspace.paper_path(account.account),
        clock,
        models,
        specs_file=workspace.symbols,
        dry_run=dry_run,
    )
