"""Asking before something happens on an account with real money."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.errors import OracleBatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle_batch.config import AccountSettings

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, on a live account either.")]


def is_live(account: AccountSettings) -> bool:
    """Whether real money is at stake."""
    return account.kind == "ctrader" and account.ctrader.environment == "live"


def confirm(what: str, accounts: Sequence[AccountSettings], *, yes: bool) -> None:
    """Go on, if no account is live, or the operator says so. ``what`` begins like ``close EURUSD_M15``.

    Raises:
        UsageError: there is nobody to ask.
        OracleBatchError: the answer is no.
    """
    live = ", ".join(account.account for account in accounts if is_live(account))
    if yes or not live:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: {live} is a live account", field="--yes", fix="say --yes where nobody can be asked")
    if not typer.confirm(f"{what} on the LIVE account {live}?", err=True):
        raise OracleBatchError("not confirmed: nothing was done")
