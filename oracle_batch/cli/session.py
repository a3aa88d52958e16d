"""What every command shares: the workspace, the configuration file, the clock and the log."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from oracle_batch.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from oracle_batch.clock import Clock
    from oracle_batch.config import Settings
    from oracle_batch.store.workspace import Workspace

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

END_OF_TIME: Final = 253402300800
"""The year 10000, which no calendar function here can name."""


@dataclass(frozen=True, slots=True)
class Session:
    """The global options. ``config_file`` and ``log_level`` are None unless the operator gave them."""

    home: Path
    config_file: Path | None = None
    log_level: LogLevel | None = None
    log_format: LogFormat = "text"

    @property
    def workspace(self) -> Workspace:
        """The paths below the home; nothing is looked at yet."""
        from oracle_batch.store.workspace import Workspace

        return Workspace(self.home)

    def existing_workspace(self) -> Workspace:
        """The workspace, for commands that make no sense without one: a mistyped home is told, not created.

        Raises:
            ConfigError: the home is no folder.
        """
        if not self.home.is_dir():
            why = "is not a folder" if self.home.exists() else "there is no such folder"
            raise ConfigError(
                why, file=self.home, field="--home", fix="correct --home or ORACLE_HOME, or make the folder"
            )
        return self.workspace

    def settings(self, *, announce: bool = True) -> Settings:
        """The configuration; ``announce`` logs when there is no file and every setting has its default.

        Raises:
            ConfigError: naming the key.
        """
        from oracle_batch.config import Settings, load_settings

        if self.config_file is not None:
            return load_settings(self.config_file, explicit=True)
        if not announce and not self.workspace.config_file.exists():
            return Settings()
        return load_settings(self.workspace.config_file)


def clock_of(now: str | None, option: str = "--now") -> Clock:
    """The machine's clock, or one frozen at ``--now``; ``option`` is what a refusal names.

    Raises:
        UsageError: the text is no instant, or none that a calendar knows.
    """
    from oracle_batch.clock import FrozenClock, SystemClock, parse_instant

    if now is None:
        return SystemClock()
    instant = parse_instant(now, option)
    if not (math.isfinite(instant) and 0 <= instant < END_OF_TIME):
        raise UsageError(f"{now!r} is no instant between 1970 and 9999", field=option, fix="Unix seconds, or ISO 8601")
    return FrozenClock(instant)


def select_account(settings: Settings, account: str | None) -> Settings:
    """The settings with one account only, if the operator asks for it.

    Raises:
        ConfigError: there is no such account.
    """
    if account is None:
        return settings
    chosen = tuple(one for one in settings.accounts if one.account == account)
    if not chosen:
        known = ", ".join(one.account for one in settings.accounts)
        raise ConfigError(f"there is no account {account!r}", field="--account", fix=f"known: {known}")
    from msgspec.structs import replace as with_

    return with_(settings, accounts=chosen)


def print_json(document: Any) -> None:
    """One JSON object on stdout, on one line."""
    sys.stdout.write(json.dumps(document) + "\n")


class _JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the moment, so that a progress bar can make room for a line."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """There is nothing to keep."""


def set_up_log(level: LogLevel = "info", form: LogFormat = "text") -> None:
    """Send the log to stderr, in place of an earlier call's. Times are UTC."""
    handler = _Stderr()
    if form == "json":
        handler.setFormatter(_JsonLines())
    else:
        text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        text.converter = time.gmtime
        handler.setFormatter(text)
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Stderr)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def complain(message: str) -> None:
    """An error for people: on stderr, in the log's form."""
    if not any(isinstance(one, _Stderr) for one in logging.getLogger().handlers):
        set_up_log()
    logging.getLogger("oracle_batch").error("%s", message)
