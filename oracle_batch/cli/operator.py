"""``oracle-batch pause`` and ``resume``: the operator's switch for new entries."""

from __future__ import annotations

import typer

from oracle_batch.cli.session import Session


def pause(ctx: typer.Context) -> None:
    """No new entries from now on; exits still happen. Takes effect in a running tick, too."""
    from oracle_batch.clock import SystemClock
    from oracle_batch.store.files import replace_atomically

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    if workspace.is_paused():
        typer.echo("already paused")
        return
    workspace.ensure()
    replace_atomically(workspace.paused, f"{SystemClock().now():.0f}\n".encode())
    typer.echo("paused: no new entries until `oracle-batch resume`; exits still happen")


def resume(ctx: typer.Context) -> None:
    """Allow entries again. An edge that came while paused stays missed."""
    session: Session = ctx.obj
    workspace = session.existing_workspace()
    if not workspace.is_paused():
        typer.echo("not paused")
        return
    from oracle_batch.store.files import remove

    remove(workspace.paused)
    typer.echo("resumed: the next edge of each model may enter")
