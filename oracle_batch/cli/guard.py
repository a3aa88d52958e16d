"""``oracle-batch guard``: between bars."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.clocks import ClockOf, Now, chosen_clock
from oracle_batch.cli.session import Session, print_json, select_account

if TYPE_CHECKING:
    from oracle_batch.guard_report import GuardReport, Step
    from oracle_batch.guarding import Job

_log = logging.getLogger(__name__)


def guard(
    ctx: typer.Context,
    now: Now = None,
    clock: ClockOf = None,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and judge; send and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Between bars: limits, missing stops, trailing, pending closes, breaks. Never enters; idle, it writes nothing.

    While another run has the lock, that one looks after the accounts: exit code 75.
    """
    from oracle_batch.errors import LockHeld
    from oracle_batch.guarding import Job

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    job = Job(workspace, select_account(session.settings(), account), chosen_clock(ctx, now, clock), dry_run)
    try:
        report = _run(job)
    except LockHeld as error:
        _log.info("%s; nothing to do here", error.message)
        raise typer.Exit(LockHeld.exit_code) from error
    if as_json:
        print_json(report.to_json())
    _summarise(report, dry_run=dry_run)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _run(job: Job) -> GuardReport:
    from oracle_batch.guarding import run
    from oracle_batch.store.lock import hold

    if job.dry_run:
        return run(job)
    job.workspace.ensure()
    with hold(job.workspace.lock, role="guard"):
        job.workspace.clean()
        return run(job)


def _summarise(report: GuardReport, *, dry_run: bool) -> None:
    """One line for each thing that was done; an idle guard says nothing."""
    for name, account in report.accounts.items():
        for what, steps in (("close", account.closes), ("amend", account.amends), ("recovered", account.recovered)):
            for one in steps:
                level = logging.WARNING if one.ack in ("FAIL", "UNKNOWN") else logging.INFO
                _log.log(level, "%s: %s %s", name, what, _words(one))
    if dry_run:
        _log.info("dry run: nothing was sent, nothing was written")


def _words(one: Step) -> str:
    words = (one.model or one.symbol, one.position_id, one.why, one.ack, one.reason)
    return " ".join(str(word) for word in words if word is not None)
