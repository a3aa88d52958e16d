"""``oracle-batch risk``: what the operator may do about an account's limits."""

from __future__ import annotations

from typing import Annotated

import typer

from oracle_batch.cli.confirm import Yes, confirm
from oracle_batch.cli.session import Session, clock_of, complain, select_account

risk_app = typer.Typer(help="An account's limits.", no_args_is_help=True)


@risk_app.command("reset")
def reset(
    ctx: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    now: Annotated[str | None, typer.Option(help="Freeze the clock: Unix seconds, or ISO 8601 with offset.")] = None,
    yes: Yes = False,
) -> None:
    """End the pause of an account that came too near to a limit; forget its streaks of losses and the target reached.

    Where the limit is still as near, the account pauses again at the next look. The anchors of the day stay. Waits up
    to 60 s for a running tick, and asks first on a live account.
    """
    from oracle_batch.operating.job import Job
    from oracle_batch.operating.risk_resetting import reset_risk
    from oracle_batch.operating.visits import exit_code

    session: Session = ctx.obj
    clock, workspace = clock_of(now), session.existing_workspace()
    job = Job(workspace, select_account(session.settings(), account), clock)
    confirm("reset the risk", job.settings.accounts, yes=yes)
    found = reset_risk(job)
    for name, error in found.errors.items():
        complain(f"account {name}: {error}")
    for name in found.changed:
        typer.echo(f"{name}: reset; entries are allowed as far as the limits go")
    for name in found.clean:
        typer.echo(f"{name}: nothing to reset")
    if code := exit_code(list(found.errors.values()), len(job.settings.accounts), undone=False):
        raise typer.Exit(code)
