"""The command line. Exit codes follow sysexits (DESIGN §9); each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from oracle_batch.cli.session import LogFormat, Session, set_up_log
from oracle_batch.lean import be_lean

GLOBAL_OPTIONS = ("--home", "--config", "--log-level", "--log-format")
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

app = typer.Typer(
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
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option()] = "info",
    log_format: Annotated[LogFormat, typer.Option(help="Lines of text or JSON, on stderr.")] = "text",
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Options that every command understands, before or after its name."""
    set_up_log(log_level, log_format)
    ctx.obj = Session(home, config)


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
        if argument in GLOBAL_OPTIONS and position + 1 < len(arguments):
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
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code. Nothing but a defect leaves a traceback."""
    be_lean()
    from oracle_batch.cli import register
    from oracle_batch.errors import OracleBatchError

    register.commands(app)
    try:
        code = app(hoist(arguments), prog_name="oracle-batch", standalone_mode=False)
    except OracleBatchError as error:
        sys.stderr.write(f"oracle-batch: {error}\n")
        return error.exit_code
    except TyperException as error:
        sys.stderr.write(f"{error.format_message()}\nTry 'oracle-batch --help', or COMMAND --help.\n")
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
