"""Tokens: a refresh kills the old pair."""

from __future__ import annotations

from oracle_batch.sim.tokens import Tokens


def test_a_refresh_token_works_once_and_takes_its_access_token_along() -> None:
    tokens = Tokens((7, 8))
    first = tokens.current
    exchanged = tokens.refresh(first.refresh_token)
    assert exchanged is not None
    old, new = exchanged
    assert (old, new) == (first, tokens.current)
    assert tokens.find(first.access_token) is None
    assert tokens.refresh(first.refresh_token) is None
    assert tokens.find(new.access_token) == new
    assert new.accounts == (7, 8)
    assert {new.access_token, new.refresh_token}.isdisjoint({first.access_token, first.refresh_token})


def test_an_expired_access_token_is_known_as_such_and_can_be_refreshed() -> None:
    tokens = Tokens((7,), may_trade=False)
    tokens.expire()
    found = tokens.find(tokens.current.access_token)
    assert found is not None
    assert found.expired
    exchanged = tokens.refresh(found.refresh_token)
    assert exchanged is not None
    assert not exchanged[1].expired
    assert not exchanged[1].may_trade


def test_a_revoked_pair_is_good_for_nothing() -> None:
    tokens = Tokens((7,))
    gone = tokens.revoke()
    assert tokens.find(gone.access_token) is None
    assert tokens.refresh(gone.refresh_token) is None


def test_no_token_is_ever_shown() -> None:
    grant = Tokens((7,)).current
    assert grant.access_token not in repr(grant)
    assert grant.refresh_token not in repr(grant)
