"""``config/oracle.toml`` as frozen values; every default stands here and nowhere else (DESIGN §10)."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from oracle_batch.config.refusal import typed
from oracle_batch.config.risk import RiskSettings
from oracle_batch.errors import ConfigError
from oracle_batch.types import LONGEST_RUN_S, MAX_ARM_S, TIMEFRAME_SECONDS

_log = logging.getLogger(__name__)

ENTRY_DEADLINE_S: Final = 60
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Seconds = Annotated[int, Meta(ge=1)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the file."""


class PaperSettings(_Section, frozen=True):
    """The paper broker. ``data`` is a folder of bars, relative to the workspace; ``balance`` in ``currency``.

    With ``feed = "ctrader"`` the bars come from the connection of the account's ``ctrader`` table, not from ``data``.
    """

    feed: Literal["folder", "ctrader"] = "folder"
    data: str = "data"
    balance: Positive = 10000.0
    currency: Annotated[str, Meta(pattern="^[A-Z]{3,8}$")] = "USD"
    leverage: Positive = 100.0


class CtraderSettings(_Section, frozen=True):
    """The cTrader connection: Spotware's host of ``environment``, unless ``host`` is given."""

    environment: Literal["demo", "live"] = "demo"
    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 5035
    cafile: str = ""
    account_id: Annotated[int, Meta(ge=0)] = 0


class AccountSettings(_Section, frozen=True):
    """One account: its broker, the name of its books and journal, its execution settings and its limits.

    ``symbols`` is a file relative to the workspace. ``risk`` is whole: ``[risk]`` with the account's own keys on top.
    """

    kind: Literal["paper", "ctrader"] = "paper"
    account: str = "paper"
    paper: PaperSettings = PaperSettings()
    ctrader: CtraderSettings = CtraderSettings()
    symbols: Annotated[str, Meta(min_length=1)] = "config/executor_symbols.json"
    risk: RiskSettings = RiskSettings()

    @property
    def source(self) -> str:
        """Where this account's bars come from, as windows remember it."""
        return "ctrader" if self.paper.feed == "ctrader" else self.kind


class TickSettings(_Section, frozen=True):
    """How a tick behaves; times are in seconds.

    ``arm_s`` is how long before a close `run` starts the tick that waits for it (0: at the close).
    A run that is not done ``tick_deadline_s`` after its start is ended. An ordinary close waits up to ``exit_wait_s``
    for the spread to fall below ``max_exit_spread_pips`` (0: no waiting).
    """

    entry_deadline_s: Seconds | dict[str, int] = ENTRY_DEADLINE_S
    arm_s: Annotated[float, Meta(ge=0, le=MAX_ARM_S)] = 20.0
    bar_poll_s: NotNegative = 5.0
    tick_deadline_s: Annotated[float, Meta(ge=5, le=LONGEST_RUN_S)] = 120.0
    first_signal: Literal["wait", "enter"] = "wait"
    same_volume: Literal["hold", "reopen"] = "hold"
    same_symbol: Literal["independent", "no_opposite"] = "independent"
    auto_warmup: bool = True
    max_blind_bars: Annotated[int, Meta(ge=1)] = 4
    max_exit_spread_pips: NotNegative = 0.0
    exit_wait_s: NotNegative = 30.0

    def entry_deadline(self, timeframe: str) -> int:
        """Seconds after the bar's close within which an entry may be sent."""
        if isinstance(self.entry_deadline_s, dict):
            return self.entry_deadline_s.get(timeframe, ENTRY_DEADLINE_S)
        return self.entry_deadline_s


class Settings(msgspec.Struct, frozen=True):
    """The whole file. The first account's feed drives the brain; ``risk`` is what the accounts have in common."""

    accounts: tuple[AccountSettings, ...] = (AccountSettings(),)
    tick: TickSettings = TickSettings()
    risk: RiskSettings = RiskSettings()


class _File(_Section, frozen=True):
    broker: AccountSettings | None = None
    accounts: list[AccountSettings] | None = None
    tick: TickSettings = TickSettings()
    risk: RiskSettings = RiskSettings()


def load_settings(path: Path, *, explicit: bool = False) -> Settings:
    """The settings of a workspace; a missing file means every documented default, which is logged.

    Raises:
        ConfigError: the file is missing though the operator named it (``explicit``), unreadable, no TOML, or holds a
            key that is unknown, mistyped or out of range.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        if explicit:
            raise ConfigError("no such file", file=path, fix="correct --config") from error
        _log.info("%s is missing: every setting has its default (paper account)", path)
        return Settings()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    return parse_settings(data, path)


def parse_settings(data: bytes, file: Path) -> Settings:
    """The settings in a file's bytes.

    Raises:
        ConfigError: as ``load_settings``.
    """
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"line {line} is not UTF-8 text", file=file, fix="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        last = data.rstrip().count(b"\n") + 1
        why = str(error).replace("at end of document", f"at the end, line {last}")
        raise ConfigError(f"is not valid TOML: {why}", file=file, fix="correct this line") from error
    typed(document.get("risk", {}), RiskSettings, file=file, known=_KEYS, within="risk")
    found = typed(_with_common_risk(document), _File, file=file, known=_KEYS)
    if found.broker is not None and found.accounts is not None:
        why = "[broker] and [[accounts]] are both given"
        raise ConfigError(why, file=file, field="accounts", fix="keep one: [broker] for one account")
    if found.accounts is not None:
        named = [(f"accounts[{index}]", account) for index, account in enumerate(found.accounts)]
    else:
        named = [("broker", found.broker or AccountSettings())]
    _check_accounts(named, file)
    _check_timeframes(found.tick, file)
    return Settings(tuple(account for _, account in named), found.tick, found.risk)


def _with_common_risk(document: dict[str, Any]) -> dict[str, Any]:
    """The file with ``[risk]`` below each account's own ``risk`` table, key by key, in sub-tables too."""
    common = document.get("risk", {})

    def complete(account: object) -> object:
        return account | {"risk": _over(common, account.get("risk", {}))} if isinstance(account, dict) else account

    whole = dict(document)
    accounts = document.get("accounts")
    if isinstance(accounts, list):
        whole["accounts"] = [complete(account) for account in accounts]
    if accounts is None:
        whole["broker"] = complete(document.get("broker", {}))
    return whole


def _over(common: Any, own: Any) -> Any:
    """``own`` on top of ``common``; what is no table replaces.

    >>> _over({"a": 1, "t": {"x": 1, "y": 2}}, {"t": {"y": 3}})
    {'a': 1, 't': {'x': 1, 'y': 3}}
    """
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return common | {key: _over(common.get(key), value) for key, value in own.items()}


def _check_accounts(named: list[tuple[str, AccountSettings]], file: Path) -> None:
    if not named:
        raise ConfigError("holds no account", file=file, field="accounts", fix="name one, or use [broker]")
    seen: dict[str, str] = {}
    for field, account in named:
        name = account.account
        if not _FILE_NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a file",
                file=file,
                field=f"{field}.account",
                fix="use letters, digits, dot, dash and underscore, a letter or digit first, at most 64",
            )
        if name.casefold() in seen:
            why = f"{name!r} also names {seen[name.casefold()]}"
            raise ConfigError(why, file=file, field=f"{field}.account", fix="give each account its own name")
        seen[name.casefold()] = field


def _check_timeframes(tick: TickSettings, file: Path) -> None:
    if isinstance(tick.entry_deadline_s, dict):
        for timeframe, seconds in tick.entry_deadline_s.items():
            field = f"tick.entry_deadline_s.{timeframe}"
            if seconds < 1:
                raise ConfigError(f"{seconds} is not at least 1 second", file=file, field=field)
            if timeframe not in TIMEFRAME_SECONDS:
                fix = "known: " + ", ".join(TIMEFRAME_SECONDS)
                raise ConfigError("is no timeframe", file=file, field=field, fix=fix)


def _keys_of(kind: type[msgspec.Struct], name: str) -> Iterator[tuple[str, Any]]:
    yield name, kind
    for field in msgspec.structs.fields(kind):
        inner = f"{name}.{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _keys_of(field.type, inner)
        else:
            yield inner, field.type


_KEYS: Final = dict(
    [
        *_keys_of(TickSettings, "tick"),
        *_keys_of(RiskSettings, "risk"),
        *_keys_of(AccountSettings, "broker"),
        *_keys_of(AccountSettings, "accounts"),
    ]
)
