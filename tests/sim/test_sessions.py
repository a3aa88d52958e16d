"""Who is let in, in which order, with which token, and how sessions end."""

from __future__ import annotations

from typing import Any

import pytest

from oracle_batch.openapi.messages import TYPES, api, model
from oracle_batch.sim.dispatch import ROUTES
from tests.sim.market import ACCOUNT, EURUSD, exchange, new_order, on_account, reconcile, subscribe
from tests.sim.serving import CLIENT_ID, CLIENT_SECRET, eventually, run, serving

APPLICATION = api.ProtoOAApplicationAuthReq(clientId=CLIENT_ID, clientSecret=CLIENT_SECRET)


def account_auth(token: str, account: int = ACCOUNT) -> Any:
    return api.ProtoOAAccountAuthReq(ctidTraderAccountId=account, accessToken=token)


def test_the_application_comes_first_then_the_account() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, token = await running.connect(), running.server.tokens.current.access_token
            assert (await client.get(api.ProtoOAVersionReq())).version
            assert await client.code(account_auth(token)) == "ProtoOAErrorRes CH_CLIENT_NOT_AUTHENTICATED"
            assert await client.code(new_order()) == "ProtoOAErrorRes CH_CLIENT_NOT_AUTHENTICATED"
            await client.get(APPLICATION)
            assert await client.code(new_order()) == "ProtoOAErrorRes ACCOUNT_NOT_AUTHORIZED"
            assert (await client.get(account_auth(token))).ctidTraderAccountId == ACCOUNT
            assert (await reconcile(client)).ctidTraderAccountId == ACCOUNT
            assert await client.code(APPLICATION) == "ProtoOAErrorRes CH_CLIENT_ALREADY_AUTHENTICATED"
            assert await client.code(account_auth(token)) == "ProtoOAErrorRes ALREADY_LOGGED_IN"

    run(scenario)


@pytest.mark.parametrize(
    ("client_id", "secret", "code"),
    [
        ("somebody", CLIENT_SECRET, "CH_OA_CLIENT_NOT_FOUND"),
        (CLIENT_ID, "wrong", "CH_CLIENT_AUTH_FAILURE"),
        ("é", "é", "CH_OA_CLIENT_NOT_FOUND"),
    ],
)
def test_wrong_credentials_are_refused_by_name(client_id: str, secret: str, code: str) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.connect()
            asked = api.ProtoOAApplicationAuthReq(clientId=client_id, clientSecret=secret)
            assert await client.code(asked) == f"ProtoOAErrorRes {code}"

    run(scenario)


def test_wrong_accounts_and_tokens_are_refused_by_name() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, tokens = await running.connect(), running.server.tokens
            await client.get(APPLICATION)
            assert await client.code(account_auth("nonsense")) == "ProtoOAErrorRes CH_ACCESS_TOKEN_INVALID"
            unknown = account_auth(tokens.current.access_token, 5)
            assert await client.code(unknown) == "ProtoOAErrorRes CH_CTID_TRADER_ACCOUNT_NOT_FOUND"
            tokens.expire()
            expired = account_auth(tokens.current.access_token)
            assert await client.code(expired) == "ProtoOAErrorRes OA_AUTH_TOKEN_EXPIRED"

    run(scenario)


def test_a_token_lists_its_accounts_and_what_it_may_do() -> None:
    async def scenario() -> None:
        async with serving(exchange(accounts=2), may_trade=False) as running:
            client, token = await running.client(), running.server.tokens.current.access_token
            listed = await client.get(api.ProtoOAGetAccountListByAccessTokenReq(accessToken=token))
            assert [one.ctidTraderAccountId for one in listed.ctidTraderAccount] == [ACCOUNT, ACCOUNT + 1]
            assert not any(one.isLive for one in listed.ctidTraderAccount)
            assert listed.permissionScope == model.SCOPE_VIEW
            assert await client.code(new_order()) == "ProtoOAErrorRes TRADING_NOT_ALLOWED"
            assert (await client.get(on_account(api.ProtoOATraderReq))).trader.accessRights == model.NO_TRADING

    run(scenario)


def test_a_refresh_kills_the_old_pair_and_ends_its_sessions_everywhere() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, other = await running.client(), await running.client()
            old = running.server.tokens.current
            fresh = await client.get(api.ProtoOARefreshTokenReq(refreshToken=old.refresh_token))
            assert (fresh.tokenType, fresh.expiresIn) == ("bearer", 2_628_000)
            for line in (client, other):
                (event,) = await line.pushed(api.ProtoOAAccountsTokenInvalidatedEvent)
                assert list(event.ctidTraderAccountIds) == [ACCOUNT]
                assert await line.code(new_order()) == "ProtoOAErrorRes ACCOUNT_NOT_AUTHORIZED"
            assert await client.code(account_auth(old.access_token)) == "ProtoOAErrorRes CH_ACCESS_TOKEN_INVALID"
            again = api.ProtoOARefreshTokenReq(refreshToken=old.refresh_token)
            assert await client.code(again) == "ProtoOAErrorRes CH_ACCESS_TOKEN_INVALID"
            await client.get(account_auth(fresh.accessToken))

    run(scenario)


def test_logout_is_answered_and_completed_by_an_event() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            await subscribe(client)
            await client.get(on_account(api.ProtoOAAccountLogoutReq))
            await client.pushed(api.ProtoOAAccountDisconnectEvent)
            assert await client.code(on_account(api.ProtoOATraderReq)) == "ProtoOAErrorRes ACCOUNT_NOT_AUTHORIZED"
            assert not running.server.lines[0].session.spots
            await client.get(account_auth(running.server.tokens.current.access_token))

    run(scenario)


def test_the_server_may_end_an_account_a_token_or_the_application() -> None:
    async def scenario() -> None:
        async with serving(exchange(accounts=2)) as running:
            client, server = await running.client(), running.server
            server.disconnect_account(ACCOUNT + 1)
            (event,) = await client.pushed(api.ProtoOAAccountDisconnectEvent)
            assert event.ctidTraderAccountId == ACCOUNT + 1
            assert (await client.get(on_account(api.ProtoOATraderReq))).trader.ctidTraderAccountId == ACCOUNT
            server.expire_tokens()
            await client.pushed(api.ProtoOAAccountsTokenInvalidatedEvent)
            server.disconnect_clients("blocked by an administrator")
            await client.gone()
            assert [event.reason for event in client.seen(api.ProtoOAClientDisconnectEvent)] == [
                "blocked by an administrator"
            ]

    run(scenario)


def test_what_a_line_subscribed_to_is_watched_no_longer_when_it_is_gone() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            await subscribe(client)
            assert running.server.exchange.watched == {EURUSD}
            await client.close()
            await eventually(lambda: not running.server.lines)
            assert running.server.exchange.watched == set()

    run(scenario)


def test_every_request_of_the_api_has_a_handler_but_for_those_that_nothing_here_has_a_use_for() -> None:
    requests = {kind for kind in TYPES.values() if kind.DESCRIPTOR.name.endswith("Req")}
    left_out = {kind.DESCRIPTOR.name for kind in requests - set(ROUTES)}
    assert left_out == {"ProtoOAGetDynamicLeverageByIDReq", "ProtoOADealOffsetListReq"}
