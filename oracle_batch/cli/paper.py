"""``oracle-batch paper``: what happens to a paper account beside its trades."""

from __future__ import annotations

from typing import Annotated

import typer

from oracle_batch.cli.session import Session, clock_of, select_account

paper_app = typer.Typer(help="A paper account's money.", no_args_is_help=True)

_Amount = Annotated[float, typer.Argument(min=0.01, max=1e12, help="Money in the account currency.")]
_Account = Annotated[str | None, typer.Option(help="Which account, where there are several.")]
_Now = Annotated[str | None, typer.Option(help="Freeze the clock: Unix seconds, or ISO 8601 with offset.")]


@paper_app.command("deposit")
def deposit(ctx: typer.Context, amount: _Amount, account: _Account = None, now: _Now = None) -> None:
    """Put money in. It is no profit: limits are measured as if it had always been there."""
    _move(ctx.obj, amount, account, now)


@paper_app.command("withdraw")
def withdraw(ctx: typer.Context, amount: _Amount, account: _Account = None, now: _Now = None) -> None:
    """Take money out, as a payout does. It is no loss. What margin holds stays."""
    _move(ctx.obj, -amount, account, now)


def _move(session: Session, amount: float, account: str | None, now: str | None) -> None:
    from oracle_batch.operating.job import Job
    from oracle_batch.operating.paper_cash import move_cash

    job = Job(session.existing_workspace(), select_account(session.settings(), account), clock_of(now))
    after = move_cash(job, amount)
    typer.echo(f"{after.account}: balance {after.balance:,.{after.money_digits}f} {after.currency}")
