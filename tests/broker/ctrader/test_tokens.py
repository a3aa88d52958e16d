"""Secrets: where they come from, how they are kept, that they never show, and what a renewal does."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.ctrader import access
from oracle_batch.broker.ctrader import tokens as tokens_module
from oracle_batch.broker.ctrader.login import log_in
from oracle_batch.broker.ctrader.tokens import Credentials, TokenStore
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.errors import ConfigError, StateError
from tests.broker.ctrader.lab import entry, lab, open_gate, opened, run

GIVEN = {
    "ORACLE_CTRADER_CLIENT_ID": "an-id",
    "ORACLE_CTRADER_CLIENT_SECRET": "canary-secret",
    "ORACLE_CTRADER_ACCESS_TOKEN": "canary-access",
    "ORACLE_CTRADER_REFRESH_TOKEN": "canary-refresh",
}
FIRST = Credentials("an-id", "canary-secret", "canary-access", "canary-refresh")
SECOND = Credentials("an-id", "canary-secret", "access-2", "refresh-2")
THIRD = Credentials("an-id", "canary-secret", "access-3", "refresh-3")


def test_the_environment_is_enough(tmp_path: Path) -> None:
    assert TokenStore(tmp_path / "t.json", GIVEN).load() == FIRST
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize("missing", sorted(GIVEN)[:1] + sorted(GIVEN)[1:3])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        TokenStore(tmp_path / "t.json", {key: one for key, one in GIVEN.items() if key != missing}).load()
    assert refusal.value.field == missing
    assert "canary" not in str(refusal.value)


def test_a_renewed_pair_wins_over_the_environments_old_one_and_a_newer_one_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.json"
    TokenStore(path, GIVEN).save(SECOND, replaced=FIRST)
    assert TokenStore(path, GIVEN).load() == SECOND
    TokenStore(path, GIVEN).save(THIRD, replaced=SECOND)
    assert TokenStore(path, GIVEN).load() == THIRD
    newer = GIVEN | {"ORACLE_CTRADER_ACCESS_TOKEN": "newest", "ORACLE_CTRADER_REFRESH_TOKEN": "r"}
    assert TokenStore(path, newer).load().access_token == "newest"
    assert TokenStore(path, {}).load() == THIRD


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    old = os.umask(0)
    try:
        TokenStore(path, GIVEN).save(FIRST)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    for mode in (0o644, 0o640, 0o602, 0o666):
        path.chmod(mode)
        with pytest.raises(StateError) as refusal:
            TokenStore(path, {}).load()
        assert f"chmod 600 {path}" in str(refusal.value)
        assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema":1}', '{"schema":7,"client_id":"canary"}', "\x00canary"])
def test_a_spoiled_file_is_told_without_what_is_in_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(StateError) as refusal:
        TokenStore(path, GIVEN).load()
    assert "canary" not in str(refusal.value) + repr(refusal.value.__cause__)


def test_a_newer_file_asks_for_a_newer_program(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    TokenStore(path, GIVEN).save(FIRST)
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":2'))
    with pytest.raises(StateError, match="schema 2"):
        TokenStore(path, {}).load()


def test_no_secret_shows_in_any_representation(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "t.json", GIVEN)
    store.save(FIRST)
    shown = repr(FIRST) + str(FIRST) + repr(store) + repr(store._read())
    assert "canary" not in shown
    assert "an-id" not in shown


def test_the_new_pair_is_durable_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses the new pair: the old one is gone at the server, and nothing was authorised with the new."""

    def refuse(path: Path, data: bytes) -> None:
        raise StateError("cannot write: No space left on device", file=path)

    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            found.server.expire_tokens()
            monkeypatch.setattr(tokens_module, "replace_atomically", refuse)
            with pytest.raises(StateError, match="No space left"):
                await found.broker.connect()
            assert found.requests("RefreshTokenReq") == 1
            assert found.requests("AccountAuthReq") == 0

    run(scenario())


def test_an_expired_token_is_renewed_on_the_way_in_and_the_next_run_knows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            found.server.expire_tokens()
            await found.broker.connect()
            await opened(found)
            again = found.make()
            await again.connect()
            assert len(await again.positions()) == 1
            await again.close()
            assert found.requests("RefreshTokenReq") == 1

    run(scenario())


def test_of_two_that_renew_at_once_the_slower_takes_the_pair_of_the_quicker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status --live` holds no lock: it may renew while a tick is about to."""
    real, others = access.authorise_application, [0]

    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            found.server.expire_tokens()

            async def authorise(session: Any, credentials: Credentials) -> None:
                await real(session, credentials)
                others[0] += 1
                if others[0] == 2:  # the slower one has read the file, and asks for its renewal next
                    await found.make().connect()

            monkeypatch.setattr(access, "authorise_application", authorise)
            await found.broker.connect()
            await opened(found)
            assert found.requests("RefreshTokenReq") == 2
            assert TokenStore(found.workspace.tokens, {}).load().access_token == (
                found.server.tokens.current.access_token
            )

    run(scenario())


def test_a_second_expiry_in_one_run_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            found.faults({"fault": "expire_tokens", "on": "NewOrderReq", "at": "before", "times": 0})
            acks = await found.broker.execute([entry(1), entry(2)], open_gate)
            assert {ack.status for ack in acks} <= {"FAIL", "UNKNOWN"}
            assert found.requests("RefreshTokenReq") == 1

    run(scenario())


def test_a_dead_refresh_token_asks_for_a_new_login(tmp_path: Path) -> None:
    async def scenario() -> None:
        wrong = {"ORACLE_CTRADER_REFRESH_TOKEN": "canary-used-up"}
        async with lab(tmp_path, environment=wrong, connect=False) as found:
            found.server.expire_tokens()
            with pytest.raises(ConfigError, match="oracle-batch login") as refusal:
                await found.broker.connect()
            assert "canary" not in str(refusal.value)
        async with lab(tmp_path, environment={"ORACLE_CTRADER_REFRESH_TOKEN": ""}, connect=False) as found:
            found.server.expire_tokens()
            with pytest.raises(ConfigError, match="no refresh token"):
                await found.broker.connect()

    run(scenario())


def test_login_keeps_what_works_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            grant = found.server.tokens.current
            secrets = {
                "ORACLE_CTRADER_CLIENT_ID": found.server.client_id,
                "ORACLE_CTRADER_CLIENT_SECRET": found.server.client_secret,
                "ORACLE_CTRADER_ACCESS_TOKEN": grant.access_token,
                "ORACLE_CTRADER_REFRESH_TOKEN": grant.refresh_token,
            }
            settings = CtraderSettings(host="127.0.0.1", port=found.port, cafile=str(tmp_path / "ca.pem"))
            with pytest.raises(ConfigError):
                await log_in(settings, found.workspace, secrets | {"ORACLE_CTRADER_CLIENT_SECRET": "canary"})
            assert not found.workspace.tokens.exists()
            assert await log_in(settings, found.workspace, secrets) == found.account
            assert TokenStore(found.workspace.tokens, {}).load().access_token == grant.access_token
            found.server.expire_tokens()
            await log_in(settings, found.workspace, secrets)
            renewed = TokenStore(found.workspace.tokens, {}).load()
            assert renewed.access_token == found.server.tokens.current.access_token != grant.access_token
            assert TokenStore(found.workspace.tokens, secrets).load() == renewed

    run(scenario())


def test_no_secret_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[Any] = []

    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            old = found.server.tokens.current
            seen.extend([old.access_token, old.refresh_token, found.server.client_secret])
            found.server.expire_tokens()
            await found.broker.connect()
            seen.append(found.server.tokens.current.access_token)
            found.faults({"fault": "refuse", "on": "TraderReq", "code": "CH_ACCESS_TOKEN_INVALID"})
            with pytest.raises(Exception, match="CH_ACCESS_TOKEN_INVALID") as refusal:
                await found.broker.account()
            assert not any(secret in str(refusal.value) + repr(refusal.value) for secret in seen)

    run(scenario())
    assert len(set(seen)) == 4
    assert not any(secret in caplog.text for secret in seen)
