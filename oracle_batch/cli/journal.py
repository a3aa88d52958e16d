"""``oracle-batch journal``: what was decided, sent and answered, as a table or for other programs."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from oracle_batch.cli.session import END_OF_TIME, Session, complain, print_json
from oracle_batch.errors import ConfigError, DataError, UsageError

if TYPE_CHECKING:
    from oracle_batch.config import Settings
    from oracle_batch.readback import Found
    from oracle_batch.store.workspace import Workspace

Format = Literal["table", "json", "csv"]
_Kind = Literal["signal", "intent", "ack", "fill", "close", "event"]


journal_app = typer.Typer(invoke_without_command=True)
Account = Annotated[str | None, typer.Option(help="Only this account.")]


@journal_app.callback()
def journal(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="From: Unix seconds, ISO 8601 with offset, or a UTC day such as 2026-07-24.")
    ] = None,
    account: Account = None,
    model: Annotated[str | None, typer.Option(help="Only this model id or symbol.")] = None,
    kind: Annotated[_Kind | None, typer.Option(help="Only lines of this kind.")] = None,
    form: Annotated[Format, typer.Option("--format", help="json prints one object a line.")] = "table",
) -> None:
    """Read the journal back: every signal, order, answer, fill, close and event, oldest first.

    A line that cannot be read is told with its number, the others are shown, and the exit code is 65. Looks only:
    takes no lock and asks no broker.
    """
    if ctx.invoked_subcommand is not None:
        return
    from oracle_batch.readback import read_back

    session: Session = ctx.obj
    start, workspace = _instant(since), session.existing_workspace()
    accounts = _accounts(workspace, session.settings(announce=False), account)
    damaged = 0

    def rows() -> Iterator[Found]:
        nonlocal damaged
        for one in read_back(workspace, accounts, since=start, model=model, kind=kind):
            if isinstance(one, DataError):
                complain(str(one))
                damaged += 1
            else:
                yield one

    _WRITERS[form](rows())
    if damaged:
        raise typer.Exit(DataError.exit_code)


@journal_app.command("verify")
def verify(
    ctx: typer.Context,
    account: Account = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Check every line's checksum, that every leg has its answer, and that none was filled twice.

    Reads compacted months, too. Exit code 65 when something is wrong. A leg that the next run will ask the broker for
    is told, and is nothing wrong. Looks only: takes no lock and asks no broker.
    """
    from oracle_batch.verifying import verify as verified

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    accounts = _accounts(workspace, session.settings(announce=False), account)
    found = [verified(workspace, name) for name in accounts]
    for one in found:
        for problem in one.problems:
            complain(f"{one.account}: {problem}")
        if not as_json:
            state = f"{len(one.open)} open: {', '.join(one.open)}" if one.open else "none open"
            counts = f"{one.lines:,} lines, {one.intents:,} order legs, {one.answered:,} answered, {state}"
            typer.echo(f"{one.account}: {'damaged' if one.problems else 'whole'}; {counts}")
    if as_json:
        print_json({"accounts": {one.account: one.to_json() for one in found}})
    if any(one.problems for one in found):
        raise typer.Exit(DataError.exit_code)


@journal_app.command("compact")
def compact(ctx: typer.Context, account: Account = None) -> None:
    """Turn old months into Parquet, line by line the same: smaller, and still read by `journal`.

    The newest two months stay, and all that the books have not taken in. Waits up to 60 s for a running tick.
    """
    from oracle_batch.errors import StateError
    from oracle_batch.store import compaction, executor
    from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    accounts = _accounts(workspace, session.settings(announce=False), account)
    failed = False
    workspace.ensure()
    with hold(workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        for name in accounts:
            folder = workspace.journal_folder(name)
            try:
                books = executor.load(workspace.executor_path(name), name)
                old = compaction.months_to_compact(folder, books.journal if books else None)
                for one in compaction.compact(folder, old):
                    typer.echo(f"{name}: {one.file}: {one.lines:,} lines, {one.before:,} bytes are {one.after:,} now")
            except StateError as error:
                complain(f"account {name}: {error}")
                failed = True
            else:
                if not old:
                    typer.echo(f"{name}: nothing to compact")
    if failed:
        raise typer.Exit(DataError.exit_code)


def _instant(text: str | None) -> float:
    from datetime import UTC, date, datetime

    from oracle_batch.clock import parse_instant

    if text is None:
        return 0.0
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        if "-" in text:
            return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    try:
        instant = parse_instant(text)
    except UsageError as error:
        raise UsageError(error.message, field="--since", fix=error.fix) from error
    if not (math.isfinite(instant) and 0 <= instant < END_OF_TIME):
        raise UsageError(f"{text!r} is no instant between 1970 and 9999", field="--since")
    return instant


def _accounts(workspace: Workspace, settings: Settings, account: str | None) -> list[str]:
    """The accounts to read: the configured ones, or the one asked for, which may be one that was given up."""
    known = [one.account for one in settings.accounts]
    if account is None:
        return known
    if account not in known and not (workspace.journals.is_dir() and account in _folders(workspace)):
        raise ConfigError(f"there is no account {account!r}", field="--account", fix=f"known: {', '.join(known)}")
    return [account]


def _folders(workspace: Workspace) -> list[str]:
    return [path.name for path in workspace.journals.iterdir() if path.is_dir()]


def _as_json(rows: Iterator[Found]) -> None:
    for one in rows:
        sys.stdout.write(json.dumps(one.to_json(), ensure_ascii=False) + "\n")


def _as_csv(rows: Iterator[Found]) -> None:
    from oracle_batch.readback import COLUMNS

    line = io.StringIO()
    writer = csv.DictWriter(line, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in rows:
        writer.writerow(one.row.values())
        sys.stdout.write(line.getvalue())
        line.seek(0)
        line.truncate()
    sys.stdout.write(line.getvalue())


def _as_table(rows: Iterator[Found]) -> None:
    from oracle_batch.cli.tables import new_table, print_page

    table = new_table()
    for name in ("time", "account", "kind", "model", "text"):
        table.add_column(name, no_wrap=name != "text", overflow="fold")
    table.add_column("position", justify="right", no_wrap=True)
    table.add_column("net", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    count = 0
    for count, one in enumerate(rows, start=1):  # noqa: B007 - counts
        table.add_row(*_cells(one.row.values()))
    if count:
        print_page([table])
    else:
        typer.echo("nothing in the journal")


def _cells(row: dict[str, Any]) -> list[str]:
    net = "" if row["profit"] is None else f"{row['profit'] + (row['swap'] or 0.0) - row['commission']:,.2f}"
    position = "" if row["position_id"] is None else str(row["position_id"])
    time = row["time"][:19].replace("T", " ")
    return [time, row["account"], row["kind"], row["model"] or "", row["text"], position, net, row["reason"] or ""]


_WRITERS: Final[dict[Format, Callable[[Iterator[Found]], None]]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
