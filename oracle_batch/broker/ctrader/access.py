"""Application first, then the account: the handshake of a session, and the one renewal of its token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oracle_batch.broker.ctrader.refusals import EXPIRED, HARMLESS, NoAnswer, Refused
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.broker.ctrader.tokens import CLIENT_ID, LOGIN, Credentials, TokenStore
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.errors import ConfigError
from oracle_batch.openapi.messages import api, model

_log = logging.getLogger(__name__)

ACCOUNT_ID: Final = "broker.ctrader.account_id"
OTHER_S: Final = 0.5
"""How long a pair that another command has just been given may take into the token file."""


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """One account that a token opens; ``live`` is None where the server does not say."""

    account_id: int
    live: bool | None

    def __str__(self) -> str:
        return f"{self.account_id} ({'live' if self.live else 'demo'})"


class AccountAccess:
    """Authorises sessions of the configured account. ``account_id`` is known after the first one."""

    def __init__(self, settings: CtraderSettings, store: TokenStore, *, data_only: bool = False) -> None:
        self.account_id = settings.account_id
        self._settings = settings
        self._store = store
        self._may_look_only = data_only
        self._credentials: Credentials | None = None
        self._chosen = False

    @property
    def credentials(self) -> Credentials | None:
        """What the last session was authorised with."""
        return self._credentials

    async def authorise(self, session: Session) -> None:
        """Application, account list, account.

        Raises:
            ConfigError: one of them is refused for good; the message says which.
            BrokerError: the server is busy or silent; EXPIRED is left to the session.
        """
        credentials = self._credentials = self._credentials or self._store.load()
        await authorise_application(session, credentials)
        if not self._chosen:
            accounts = await token_accounts(session, credentials, may_look_only=self._may_look_only)
            self.account_id = chosen(accounts, self._settings)
            self._chosen = True
        request = api.ProtoOAAccountAuthReq(ctidTraderAccountId=self.account_id, accessToken=credentials.access_token)
        await _step(session, request, f"account {self.account_id}", ACCOUNT_ID)

    async def renew(self, session: Session) -> None:
        """Exchange the token pair for a new one, which is durable before anything uses it.

        Raises:
            ConfigError: it cannot be renewed: somebody has to log in again.
        """
        old = self._credentials or self._store.load()
        kept = self._store.load()
        if kept.access_token != old.access_token:  # another account of this workspace has renewed it
            self._credentials = kept
            return
        if not old.refresh_token:
            raise ConfigError("the access token has expired and there is no refresh token", fix=LOGIN)
        await authorise_application(session, old)
        try:
            answer = await session.ask(api.ProtoOARefreshTokenReq(refreshToken=old.refresh_token))
        except NoAnswer as error:
            why = "the access token has expired; its renewal got no answer and may have used it up"
            raise ConfigError(why, fix=f"run again; if that is refused, {LOGIN}") from error
        except Refused as refusal:
            if refusal.meaning == "retry later":
                raise
            await asyncio.sleep(OTHER_S)
            kept = self._store.load()
            if kept.access_token != old.access_token:  # a command that needs no lock was quicker
                self._credentials = kept
                return
            why = f"the access token has expired and its renewal was refused: {refusal.code}"
            raise ConfigError(why, fix=LOGIN) from refusal
        fresh = Credentials(old.client_id, old.client_secret, answer.accessToken, answer.refreshToken)
        self._store.save(fresh, replaced=old)
        self._credentials = fresh
        _log.info("the access token was renewed")

    def concerns(self, message: Any) -> bool:
        """Whether an event names our account."""
        if hasattr(message, "ctidTraderAccountIds"):
            return self.account_id in message.ctidTraderAccountIds or not message.ctidTraderAccountIds
        return bool(message.ctidTraderAccountId == self.account_id)


async def authorise_application(session: Session, credentials: Credentials) -> None:
    """The first step of every session.

    Raises:
        ConfigError: the application's credentials are refused.
    """
    request = api.ProtoOAApplicationAuthReq(clientId=credentials.client_id, clientSecret=credentials.client_secret)
    await _step(session, request, "the application", CLIENT_ID)


async def token_accounts(
    session: Session, credentials: Credentials, *, may_look_only: bool = False
) -> list[TokenAccount]:
    """The accounts that the token opens.

    Raises:
        ConfigError: the token is refused, or may only look.
    """
    request = api.ProtoOAGetAccountListByAccessTokenReq(accessToken=credentials.access_token)
    answer = await _step(session, request, "the access token", None)
    views = answer.HasField("permissionScope") and answer.permissionScope == model.SCOPE_VIEW
    if views and not may_look_only:
        raise ConfigError("the access token may only look, not trade", fix=f"allow trading, then {LOGIN}")
    return [
        TokenAccount(one.ctidTraderAccountId, one.isLive if one.HasField("isLive") else None)
        for one in answer.ctidTraderAccount
    ]


def chosen(accounts: Sequence[TokenAccount], settings: CtraderSettings) -> int:
    """The account to trade: the configured one, or with 0 the token's only one.

    Raises:
        ConfigError: there is none, several and none is named, another one, or it belongs to the other environment.
    """
    listed = ", ".join(map(str, accounts)) or "none"
    if settings.account_id == 0 and len(accounts) != 1:
        why = f"is 0, which means the token's only account, but it opens: {listed}"
        raise ConfigError(why, field=ACCOUNT_ID, fix="name one")
    wanted = settings.account_id or accounts[0].account_id
    found = next((one for one in accounts if one.account_id == wanted), None)
    if found is None:
        raise ConfigError(f"{wanted} is no account of this token, which opens: {listed}", field=ACCOUNT_ID)
    if found.live is not None and found.live != (settings.environment == "live"):
        why = f"is {settings.environment!r}, but the account is {found}"
        raise ConfigError(why, field="broker.ctrader.environment", fix="correct it, or account_id")
    return wanted


async def _step(session: Session, request: Any, what: str, field: str | None) -> Any:
    try:
        return await session.ask(request)
    except Refused as refusal:
        if refusal.code in HARMLESS:
            return None
        if refusal.code == EXPIRED or refusal.meaning == "retry later":
            raise
        # the server's own words are left out: they may repeat what was sent
        raise ConfigError(f"{what} is refused: {refusal.code}", field=field, fix=refusal.fix) from None
