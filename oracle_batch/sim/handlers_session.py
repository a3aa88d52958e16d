"""Letting applications and accounts in, tokens, version, logout."""

from __future__ import annotations

import hmac
from typing import Final

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.tokens import LIFETIME_S, Grant

VERSION: Final = "97"
"""The proxy's version as ProtoOAVersionRes tells it."""
_USER: Final = 1


def application_auth(call: Call) -> None:
    """First of all messages: the application shows its id and secret."""
    given, server = call.message, call.server
    if call.session.application:
        raise Refused("CH_CLIENT_ALREADY_AUTHENTICATED", "Open API client is already authenticated")
    if not hmac.compare_digest(given.clientId.encode(), server.client_id.encode()):
        raise Refused("CH_OA_CLIENT_NOT_FOUND", "Open API client is not found")
    if not hmac.compare_digest(given.clientSecret.encode(), server.client_secret.encode()):
        raise Refused("CH_CLIENT_AUTH_FAILURE", "clientId or clientSecret is incorrect")
    call.session.application = True
    call.reply(api.ProtoOAApplicationAuthRes())


def account_auth(call: Call) -> None:
    """An account's session on this connection."""
    account = call.message.ctidTraderAccountId
    grant = _grant(call)
    if account in call.session.accounts:
        raise Refused("ALREADY_LOGGED_IN", "Trading account is already authorized in this channel")
    if account not in grant.accounts:
        known = account in call.server.exchange.account_ids
        code = "CH_ACCESS_TOKEN_INVALID" if known else "CH_CTID_TRADER_ACCOUNT_NOT_FOUND"
        raise Refused(code, f"No account {account} for this access token")
    call.session.accounts[account] = grant
    call.reply(api.ProtoOAAccountAuthRes(ctidTraderAccountId=account))


def accounts_by_token(call: Call) -> None:
    """Which accounts a token opens, and whether it may trade."""
    grant, exchange = _grant(call), call.server.exchange
    answer = api.ProtoOAGetAccountListByAccessTokenRes(
        accessToken=grant.access_token,
        permissionScope=model.SCOPE_TRADE if grant.may_trade else model.SCOPE_VIEW,
    )
    for account in grant.accounts:
        listed = answer.ctidTraderAccount.add(ctidTraderAccountId=account, isLive=False, traderLogin=account)
        closes = [deal.time for deal in exchange.deals(account, 0.0, exchange.now) if deal.closing]
        if closes:
            listed.lastClosingDealTimestamp = call.server.wire.ms(max(closes))
    call.reply(answer)


def profile_by_token(call: Call) -> None:
    """The token's owner, of whom nothing is told but a number."""
    _grant(call)
    call.reply(api.ProtoOAGetCtidProfileByTokenRes(profile=model.ProtoOACtidProfile(userId=_USER)))


def refresh_token(call: Call) -> None:
    """A new pair of tokens. The old pair is dead at once, and sessions that it opened end on every connection."""
    exchanged = call.server.tokens.refresh(call.message.refreshToken)
    if exchanged is None:
        raise Refused("CH_ACCESS_TOKEN_INVALID", "Refresh token is invalid or was used before")
    old, new = exchanged
    call.reply(
        api.ProtoOARefreshTokenRes(
            accessToken=new.access_token, tokenType="bearer", expiresIn=LIFETIME_S, refreshToken=new.refresh_token
        )
    )
    call.server.invalidate(old, "Access Token was refreshed")


def version(call: Call) -> None:
    """The version of the message schema."""
    call.reply(api.ProtoOAVersionRes(version=VERSION))


def logout(call: Call) -> None:
    """End an account's session: the answer, then the event that completes it."""
    call.reply(api.ProtoOAAccountLogoutRes(ctidTraderAccountId=call.account))
    call.session.leave(call.account)
    call.line.send(api.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=call.account))


def _grant(call: Call) -> Grant:
    grant = call.server.tokens.find(call.message.accessToken)
    if grant is None:
        raise Refused("CH_ACCESS_TOKEN_INVALID", "Access token is invalid")
    if grant.expired:
        raise Refused("OA_AUTH_TOKEN_EXPIRED", "Access token is expired")
    return grant


ROUTES: Final[Routes] = {
    api.ProtoOAVersionReq: Route(version, needs="nothing"),
    api.ProtoOAApplicationAuthReq: Route(application_auth, needs="nothing"),
    api.ProtoOAGetAccountListByAccessTokenReq: Route(accounts_by_token, needs="application"),
    api.ProtoOAGetCtidProfileByTokenReq: Route(profile_by_token, needs="application"),
    api.ProtoOARefreshTokenReq: Route(refresh_token, needs="application"),
    api.ProtoOAAccountAuthReq: Route(account_auth, needs="application"),
    api.ProtoOAAccountLogoutReq: Route(logout),
}
