"""What every command shares: the workspace, the configuration file, the log, and how errors become exit codes."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from oracle_batch.clock import Clock
    from oracle_batch.config import Settings
    from oracle_batch.store.workspace import Workspace

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Session:
    """The global options. ``config_file`` is None unless the operator named one."""

    home: Path
    config_file: Path | None = None

    @property
    def workspace(self) -> Workspace:
        from oracle_batch.store.workspace import Workspace

        return Workspace(self.home)

    def settings(self) -> Settings:
        """The configuration.

        Raises:
            ConfigError: naming the key.
        """
        from oracle_batch.config import load_settings

        if self.config_file is not None:
            return load_settings(self.config_file, explicit=True)
        return load_settings(self.workspace.config_file)


def clock_of(now: str | None) -> Clock:
    """The machine's clock, or one frozen at ``--now``.

    Raises:
        UsageError: ``--now`` is no instant.
    """
    from oracle_batch.clock import FrozenClock, SystemClock, parse_instant

    return SystemClock() if now is None else FrozenClock(parse_instant(now))


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


def set_up_log(level: str, form: LogFormat) -> None:
    """Send the log to stderr. Times are UTC."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(_JsonLines())
    else:
        text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        text.converter = time.gmtime
        handler.setFormatter(text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
