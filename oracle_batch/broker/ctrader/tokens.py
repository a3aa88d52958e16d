"""Who we are to the server: the application's credentials and the token pair, from the environment or a 0600 file.

A refresh token works once, and the old pair dies with it: the new pair is durable before it is used. It is kept with
a fingerprint of the pair it came from, so that the environment's old pair is recognised, and a newer one there wins.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.errors import ConfigError, StateError
from oracle_batch.store.files import read_bytes, replace_atomically, state_error

SCHEMA: Final = 1
CLIENT_ID: Final = "ORACLE_CTRADER_CLIENT_ID"
CLIENT_SECRET: Final = "ORACLE_CTRADER_CLIENT_SECRET"  # noqa: S105 - names, not secrets
ACCESS_TOKEN: Final = "ORACLE_CTRADER_ACCESS_TOKEN"  # noqa: S105
REFRESH_TOKEN: Final = "ORACLE_CTRADER_REFRESH_TOKEN"  # noqa: S105
LOGIN: Final = "run `oracle-batch login`"


@dataclass(frozen=True, slots=True)
class Credentials:
    """All four secrets; none of them shows in ``repr``. ``refresh_token`` may be empty."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False, default="")


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    client_id: str
    client_secret: str
    access_token: str
    refresh_token: str
    origin: str = ""

    def __repr__(self) -> str:
        return "_Document(…)"


class TokenStore:
    """The token file, below the environment's variables."""

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._environment = os.environ if environment is None else environment

    def load(self) -> Credentials:
        """The credentials in force: the environment's, except for a token that the file says is used up.

        Raises:
            ConfigError: one is missing; the message names the variable.
            StateError: the file can be read or written by others, or is damaged.
        """
        kept = self._read()
        given = {name: self._environment.get(name, "") for name in (CLIENT_ID, CLIENT_SECRET, ACCESS_TOKEN)}
        access, refresh = given[ACCESS_TOKEN], self._environment.get(REFRESH_TOKEN, "")
        if kept is not None and (not access or kept.origin == fingerprint(access)):
            access, refresh = kept.access_token, kept.refresh_token
        client_id = given[CLIENT_ID] or (kept.client_id if kept else "")
        client_secret = given[CLIENT_SECRET] or (kept.client_secret if kept else "")
        for name, value in ((CLIENT_ID, client_id), (CLIENT_SECRET, client_secret), (ACCESS_TOKEN, access)):
            if not value:
                raise ConfigError("is not set", field=name, fix=f"set it in the environment, or {LOGIN}")
        return Credentials(client_id, client_secret, access, refresh)

    def save(self, credentials: Credentials, replaced: Credentials | None = None) -> None:
        """Make credentials durable, mode 0600. ``replaced`` is the pair that they came from.

        Raises:
            StateError: the system refused; the old file is whole.
        """
        origin = ""
        if replaced is not None:
            kept = self._read()
            same = kept is not None and kept.access_token == replaced.access_token
            origin = (kept.origin if same and kept is not None else "") or fingerprint(replaced.access_token)
        document = _Document(
            SCHEMA,
            credentials.client_id,
            credentials.client_secret,
            credentials.access_token,
            credentials.refresh_token,
            origin,
        )
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise state_error(error, self.path.parent, "make the folder") from error
        replace_atomically(self.path, msgspec.json.encode(document) + b"\n")

    def keep(self, credentials: Credentials) -> None:
        """Make credentials durable that are not yet in the file.

        Raises:
            StateError: as in ``save``.
        """
        kept = self._read()
        if kept is None or (kept.access_token, kept.client_secret) != (
            credentials.access_token,
            credentials.client_secret,
        ):
            self.save(credentials)

    def _read(self) -> _Document | None:
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return None
        except OSError as error:
            raise state_error(error, self.path, "look at") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            told = f"holds secrets and is open to others (mode {stat.S_IMODE(mode):04o})"
            raise StateError(told, file=self.path, fix=f"chmod 600 {self.path}, and renew the token if others saw it")
        data = read_bytes(self.path)
        try:
            document = msgspec.json.decode(data or b"", type=_Document)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StateError("is no token file", file=self.path, fix=f"remove it, then {LOGIN}") from None
        if document.schema != SCHEMA:
            told = f"is of schema {document.schema}, this version knows {SCHEMA}"
            raise StateError(told, file=self.path, field="schema", fix=f"update oracle-batch, or {LOGIN}")
        return document


def fingerprint(secret: str) -> str:
    """What tells a secret from another without telling it."""
    return hashlib.sha256(secret.encode()).hexdigest()
