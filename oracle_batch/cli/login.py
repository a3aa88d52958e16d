"""``oracle-batch login``: credentials tried out and kept."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from oracle_batch.cli.session import Session, select_account
from oracle_batch.errors import ConfigError

_log = logging.getLogger(__name__)

ASKED = {
    "ORACLE_CTRADER_CLIENT_ID": "client id of the application",
    "ORACLE_CTRADER_CLIENT_SECRET": "client secret",
    "ORACLE_CTRADER_ACCESS_TOKEN": "access token",
    "ORACLE_CTRADER_REFRESH_TOKEN": "refresh token",
}
"""What is not in the environment is asked for, unseen; never taken from the command line, where others can read it."""


def login(
    ctx: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
) -> None:
    """Try a cTrader application and its tokens out, and keep them in state/ctrader/tokens.json (mode 0600).

    They come from ORACLE_CTRADER_CLIENT_ID, …CLIENT_SECRET, …ACCESS_TOKEN and …REFRESH_TOKEN, else are asked for.
    Spotware's Open API pages issue the tokens.
    """
    import asyncio

    from oracle_batch.broker.ctrader.login import log_in
    from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    settings = select_account(session.settings(), account)
    chosen = next((one for one in settings.accounts if one.kind == "ctrader" or one.paper.feed == "ctrader"), None)
    if chosen is None:
        raise ConfigError("no account uses cTrader", field="broker.kind", fix='set kind = "ctrader" first')
    secrets = {name: os.environ.get(name, "") or _asked(label) for name, label in ASKED.items()}
    workspace.ensure()
    with hold(workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        number = asyncio.run(log_in(chosen.ctrader, workspace, secrets))
    _log.info("%s: account %d is authorised; its tokens are in %s", chosen.account, number, workspace.tokens)


def _asked(label: str) -> str:
    if not sys.stdin.isatty():
        return ""
    answer: str = typer.prompt(label, hide_input=True, err=True, default="", show_default=False)
    return answer.strip()
