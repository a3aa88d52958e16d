"""The command line. Exit codes follow sysexits (DESIGN §9); each command imports what it needs when it runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from oracle_batch.cli.register import LazyGroup
from oracle_batch.cli.session import LogFormat, LogLevel, Session, complain, set_up_log
from oracle_batch.lean import be_lean, leave

GLOBAL_OPTIONS = ("--home", "--config", "--log-level", "--log-format")
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

_log = logging.getLogger(__name__)

app = typer.Typer(
    cls=LazyGroup,
    name="oracle-batch",
    help="Trade HMM+PPO models on cTrader: one bar close, one short job, state in files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from oracle_batch import __version__

        typer.echo(f"oracle-batch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    home: Annotated[Path, typer.Option(envvar="ORACLE_HOME", help="Workspace: config/, models/, state/.")] = Path(),
    config: Annotated[Path | None, typer.Option(help="Instead of HOME/config/oracle.toml.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="What to log on stderr.  [default: info]")] = None,
    log_format: Annotated[LogFormat, typer.Option(help="Lines of text or JSON, on stderr.")] = "text",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that every command understands, before or after its name."""
    set_up_log(log_level or "info", log_format)
    ctx.obj = Session(home, config, log_level, log_format)


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options first, wherever they stood.

    >>> hoist(["tick", "--home", "x", "--json"])
    ['--home', 'x', 'tick', '--json']
    """
    ahead: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            rest += arguments[position:]
            break
        if argument in GLOBAL_OPTIONS:
            if position + 1 == len(arguments):
                return [*ahead, argument]  # its value is missing, which is all there is to say
            ahead += arguments[position : position + 2]
            position += 1
        elif argument.partition("=")[0] in GLOBAL_OPTIONS:
            ahead.append(argument)
        else:
            rest.append(argument)
        position += 1
    return ahead + rest


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    leave(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code. Whatever goes wrong is told through the log, in its form."""
    be_lean()
    from oracle_batch.errors import OracleBatchError

    ordered = hoist(arguments)
    set_up_log(form=_log_format(ordered))
    code: object = 0
    try:
        code = app(ordered, prog_name="oracle-batch", standalone_mode=False)
        sys.stdout.flush()
    except OracleBatchError as error:
        complain(str(error))
        return error.exit_code
    except TyperException as error:
        _explain(error)
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # else typer's way to say that nobody reads on
            raise
    except PermissionError as error:
        # of a look at whether a file is there; whatever is read or written tells it itself
        from oracle_batch.store.files import state_error

        refused = state_error(error, Path(error.filename or "?"), "look at")
        complain(str(refused))
        return refused.exit_code
    except Exception as error:  # noqa: BLE001 - the last place to tell of a defect in the log's form
        _log.critical("unexpected %s: %s; please report this", type(error).__name__, error, exc_info=error)
        return OracleBatchError.exit_code
    if code == EXIT_INTERRUPTED:
        complain("interrupted")
    return code if isinstance(code, int) else 0


def _log_format(arguments: Sequence[str]) -> LogFormat:
    """The log's form, for messages about a command line that never gets as far as its options."""
    given = " ".join(arguments).replace("=", " ").split()
    return "json" if ("--log-format", "json") in pairwise(given) else "text"


def _explain(error: TyperException) -> None:
    """A wrong command line. A name with no command after it is answered by its help, as people expect."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message().rstrip() + "\n")
    else:
        complain(f"{error.format_message().rstrip('.')}. Try `oracle-batch --help`, or COMMAND --help")
