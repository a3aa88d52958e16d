"""``oracle-batch status``: a table that a trader reads at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.session import Session, clock_of, print_json

if TYPE_CHECKING:
    from oracle_batch.status import AccountStatus, ModelStatus, Status


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    now: Annotated[str | None, typer.Option(help="As seen at: Unix seconds, or ISO 8601 with offset.")] = None,
) -> None:
    """What the state files say: bars, twins, real against desired, the last tick, problems."""
    from oracle_batch.status import read_status

    session: Session = ctx.obj
    found = read_status(session.workspace, session.settings(), clock_of(now).now())
    if as_json:
        print_json(found.to_json())
    else:
        show(found)


def show(found: Status) -> None:
    """Print the tables and the problems."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    for name, account in found.accounts.items():
        console.print(_table(name, account, paused=found.paused))
    for problem in found.problems:
        console.print(f"[yellow]![/] {_escaped(problem)}")
    if not found.problems:
        console.print("no problems")


def _table(name: str, account: AccountStatus, *, paused: bool):  # type: ignore[no-untyped-def]
    from rich import box
    from rich.table import Table

    money = "" if account.balance is None else f"  balance {account.balance:,.2f} {account.currency}"
    flag = "  PAUSED: no new entries" if paused else ""
    table = Table(title=f"{name}{money}{flag}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("last bar", no_wrap=True)
    table.add_column("brain wants", no_wrap=True)
    table.add_column("broker holds", no_wrap=True)
    table.add_column("sync", no_wrap=True)
    table.add_column("virtual P&L", justify="right", no_wrap=True)
    table.add_column("last decision")
    for model, one in account.models.items():
        table.add_row(model, *_row(one))
    return table


def _row(one: ModelStatus) -> list[str]:
    from oracle_batch.status import last_seen

    twin, last, waiting = one.twin, one.books.last, one.books.waiting
    if one.problem or twin is None:
        sync = "[red]stopped[/]" if twin is None or one.problem else "-"
    elif one.desired == one.real:
        sync = "[green]yes[/]"
    else:
        sync = f"[yellow]waits: {waiting.cause}[/]" if waiting else "[yellow]no[/]"
    words = [last.decision or "", last.ack or "", last.reason or ""] if last else []
    virtual = "-" if twin is None else f"{twin.realized_pnl + twin.floating_pnl:,.2f}"
    return [last_seen(twin), one.desired or "-", one.real, sync, virtual, " ".join(filter(None, words)) or "-"]


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
