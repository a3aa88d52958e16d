"""``oracle-batch tick``: one bar close."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.clocks import ClockOf, Now, chosen_clock
from oracle_batch.cli.session import Session, print_json, select_account
from oracle_batch.errors import ConfigError, OracleBatchError, UsageError

if TYPE_CHECKING:
    from oracle_batch.clock import Clock
    from oracle_batch.config import Settings
    from oracle_batch.report import TickReport
    from oracle_batch.store.workspace import Workspace

_log = logging.getLogger(__name__)


def tick(
    ctx: typer.Context,
    now: Now = None,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and plan; send and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
    arm: Annotated[float | None, typer.Option(help="Not available yet.", hidden=True)] = None,
    clock: ClockOf = None,
    trace: Annotated[str | None, typer.Option(help="Not available yet.", hidden=True)] = None,
) -> None:
    """One bar close: read, decide, trade, write, exit. With nothing due it does nothing."""
    for option, value in (("--arm", arm), ("--trace", trace)):
        if value is not None:
            raise UsageError("is not available yet", field=option, fix="leave it out")
    session: Session = ctx.obj
    workspace = session.existing_workspace()
    settings = select_account(session.settings(), account)
    time = chosen_clock(ctx, now, clock)
    try:
        report = _run(workspace, settings, time, dry_run=dry_run)
    except OracleBatchError as error:
        if as_json:
            from oracle_batch.report import failure_json

            print_json(failure_json(time.now(), [one.account for one in settings.accounts], error.exit_code))
        raise
    from oracle_batch.tick import problems

    for problem in problems(report):
        _log.error("%s", problem)
    if as_json:
        print_json(report.to_json())
    else:
        _summarise(report, dry_run=dry_run)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _run(workspace: Workspace, settings: Settings, clock: Clock, *, dry_run: bool) -> TickReport:
    from oracle_batch import bounded
    from oracle_batch.clock import FrozenClock
    from oracle_batch.store.lock import hold
    from oracle_batch.tick import Job
    from oracle_batch.tick import tick as run_tick

    standing = isinstance(clock, FrozenClock) and settings.accounts[0].kind == "paper"
    poll_s = 0.0 if standing else settings.tick.bar_poll_s  # a folder on a frozen clock brings nothing new
    job = Job(workspace, settings, clock, dry_run, poll_s)
    if dry_run:
        return bounded.run(lambda: run_tick(job), settings.tick.tick_deadline_s)
    if not any(workspace.models.glob("*.zip")):
        raise ConfigError("no model bundle here", file=workspace.models, fix="oracle-batch models add FILE.zip")
    workspace.ensure()
    with hold(workspace.lock):
        workspace.clean()
        return bounded.run(lambda: run_tick(job), settings.tick.tick_deadline_s)


def _summarise(report: TickReport, *, dry_run: bool) -> None:
    for name, account in report.accounts.items():
        for model, one in account.models.items():
            if one.error:
                continue  # told before
            row = one.to_json()
            words = dict.fromkeys(row[key] for key in ("signal", "decision", "ack", "reason") if row[key])
            _log.info("%s: %s %s", name, model, " ".join(words))
        if not account.models and account.error is None:
            _log.info("%s: nothing due", name)
    if dry_run:
        _log.info("dry run: nothing was sent, nothing was written")
