"""The one error tree. Every class says what the operator should do.

OracleBatchError                exit 1
├── UsageError                  exit 64   the command line is off: call again, corrected
├── DataError                   exit 65   a file or a bar is wrong: repair or replace what the message names
│   ├── BarError                          a bar breaks the rules: fix the data source
│   ├── BundleError                       a model ZIP is refused: export it again
│   └── StateError                        a state file cannot be used: the file is left in place
│       └── NeedsWarmup                   the twin cannot follow the bars: run `oracle-batch warmup MODEL`
├── BrokerError                 exit 69   the broker did not answer or said no: see its reason, run again
├── LockHeld                    exit 75   another run owns the state folder: wait for it
└── ConfigError                 exit 78   a configuration key is wrong: edit the file that the message names
"""

from __future__ import annotations


class OracleBatchError(Exception):
    """Anything this program refuses, with the file, the field and the fix where it knows them.

    The text shown is ``file: field: message (fix)``; parts that are not known are left out.
    """

    exit_code = 1

    def __init__(self, message: str, *, file: object = None, field: str | None = None, fix: str | None = None) -> None:
        self.message = message
        self.file = str(file) if file is not None else None
        self.field = field
        self.fix = fix
        super().__init__(message)

    def __str__(self) -> str:
        where = "".join(f"{part}: " for part in (self.file, self.field) if part)
        return f"{where}{self.message}" + (f" ({self.fix})" if self.fix else "")


class UsageError(OracleBatchError):
    """The command line cannot be understood. Correct it and call again."""

    exit_code = 64


class DataError(OracleBatchError):
    """A file holds something that cannot be right. Repair or replace the file that the message names."""

    exit_code = 65


class BarError(DataError):
    """A bar breaks the rules of the market (NaN, crossed prices, wrong grid). Fix the data source."""


class BundleError(DataError):
    """A model ZIP is refused. Export it again from training, or ask whoever sent it."""


class StateError(DataError):
    """A state file is corrupt, of another schema, bundle or account. It is left in place; the other models trade."""


class NeedsWarmup(StateError):
    """The twin cannot be brought to the newest bar. Run ``oracle-batch warmup MODEL`` when history can be had."""


class BrokerError(OracleBatchError):
    """The broker is unreachable or refused the session. Nothing was lost; run the same command again."""

    exit_code = 69


class LockHeld(OracleBatchError):
    """Another run holds the state folder. Wait until it has ended; the lock never outlives its owner."""

    exit_code = 75


class DeadlineError(OracleBatchError):
    """A run was ended at its deadline. Run it again: it finds out what became of its orders."""


class StoppedError(OracleBatchError):
    """A run was told to stop before it had sent anything. Run it again."""

    exit_code = 143


class ConfigError(OracleBatchError):
    """A configuration value is missing, unknown or impossible. Edit the file and key that the message names."""

    exit_code = 78
