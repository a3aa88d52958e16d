"""Trying credentials out, and keeping those that work."""

from __future__ import annotations

from collections.abc import Mapping

from oracle_batch.broker.ctrader.access import AccountAccess
from oracle_batch.broker.ctrader.broker import door_of
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.broker.ctrader.tokens import TokenStore
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.store.workspace import Workspace


async def log_in(settings: CtraderSettings, workspace: Workspace, secrets: Mapping[str, str]) -> int:
    """Authorise with these secrets (named as in the environment), keep them in the token file, return the account.

    A token that has expired is renewed on the way.

    Raises:
        ConfigError: application, token or account are refused, or one is missing; nothing is kept.
        BrokerError: the server cannot be reached.
        StateError: the token file cannot be read or written.
    """
    store = TokenStore(workspace.tokens, secrets)
    access = AccountAccess(settings, store)
    session = Session(door_of(settings, workspace.home), access)
    try:
        await session.open()
    finally:
        await session.close()
    if access.credentials is not None:
        store.keep(access.credentials)
    return access.account_id
