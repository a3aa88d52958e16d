"""Access and refresh tokens: which accounts they open, and what a refresh does to them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

LIFETIME_S: Final = 2_628_000
"""Seconds that an access token lives: about 30 days."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens and what it allows; ``may_trade`` is the difference between the scopes trade and view."""

    access_token: str
    refresh_token: str
    accounts: tuple[int, ...]
    may_trade: bool = True
    expired: bool = False

    def __repr__(self) -> str:
        return f"Grant(accounts={self.accounts}, may_trade={self.may_trade}, expired={self.expired})"


class Tokens:
    """Every grant that is alive, by its access token."""

    def __init__(self, accounts: Iterable[int], *, may_trade: bool = True) -> None:
        self._grants: dict[str, Grant] = {}
        self.current = self._issue(tuple(accounts), may_trade)

    def find(self, access_token: str) -> Grant | None:
        """The grant of an access token, expired ones included; None once it was refreshed or revoked."""
        return self._grants.get(access_token)

    def refresh(self, refresh_token: str) -> tuple[Grant, Grant] | None:
        """Exchange a pair: (the dead one, the new one). A refresh token works once, and after expiry, too."""
        old = next((grant for grant in self._grants.values() if grant.refresh_token == refresh_token), None)
        if old is None:
            return None
        del self._grants[old.access_token]
        return old, self._issue(old.accounts, old.may_trade)

    def expire(self) -> Grant:
        """Let the newest access token reach its end now; its refresh token stays good."""
        return self._change(replace(self.current, expired=True))

    def revoke(self) -> Grant:
        """Let the newest pair be no good any more, the refresh token included."""
        self._grants.pop(self.current.access_token, None)
        return self.current

    def _change(self, grant: Grant) -> Grant:
        self._grants[grant.access_token] = self.current = grant
        return grant

    def _issue(self, accounts: tuple[int, ...], may_trade: bool) -> Grant:
        grant = Grant(secrets.token_urlsafe(32), secrets.token_urlsafe(32), accounts, may_trade)
        return self._change(grant)
