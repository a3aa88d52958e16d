"""``oracle-batch tick``: one bar close."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.clocks import ClockOf, Now, chosen_clock
from oracle_batch.cli.session import Session, print_json, select_account
from oracle_batch.errors import ConfigError, OracleBatchError, UsageError
from oracle_batch.types import MAX_ARM_S

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
    arm: Annotated[
        float | None, typer.Option(help="Wait, prepared, for a close at most so many seconds ahead.", metavar="S")
    ] = None,
    clock: ClockOf = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write where the time went: a Chrome trace.", metavar="FILE")
    ] = None,
) -> None:
    """One bar close: read, decide, trade, write, exit. With nothing due it does nothing."""
    check_arm(arm, now)
    session: Session = ctx.obj
    time, names = chosen_clock(ctx, now, clock), list[str]()
    try:
        workspace = session.existing_workspace()
        settings = select_account(session.settings(), account)
        names += [one.account for one in settings.accounts]
        if arm is not None and not as_json and trace is None and _is_idle(workspace, time, arm):
            _log.info("nothing to wait for: by their schedules all markets are closed")
            return
        with _traced(trace):
            report = _run(workspace, settings, time, dry_run=dry_run, arm_s=arm)
    except OracleBatchError as error:
        if as_json:
            from oracle_batch.report import failure_json

            print_json(failure_json(time.now(), names, error.exit_code))
        raise
    from oracle_batch.report import problems

    for problem in problems(report):
        _log.error("%s", problem)
    if as_json:
        print_json(report.to_json())
    else:
        _summarise(report, dry_run=dry_run)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _is_idle(workspace: Workspace, clock: Clock, arm_s: float) -> bool:
    from oracle_batch.market_hours import nothing_closes

    return nothing_closes(workspace, clock.now(), arm_s)


def check_arm(arm: float | None, now: str | None) -> None:
    """Refuse a lead that nobody can wait for.

    Raises:
        UsageError: it is no number of seconds up to ``MAX_ARM_S``, or the clock is frozen.
    """
    if arm is None:
        return
    if not 0 <= arm <= MAX_ARM_S:
        raise UsageError(f"{arm:g} is not between 0 and {MAX_ARM_S:g} seconds", field="--arm")
    if now is not None:
        raise UsageError("--arm waits for a close, and --now freezes the clock", field="--arm", fix="leave one out")


@contextmanager
def _traced(path: Path | None) -> Iterator[None]:
    """Trace what the block does; the file is written however it ends, and what the block has done stands without it.

    Raises:
        StateError: the file cannot be written; the block is not begun.
    """
    if path is None:
        yield
        return
    from oracle_batch import trace

    trace.start(path)
    try:
        yield
    finally:
        try:
            trace.write(path)
        except OracleBatchError as error:
            _log.error("%s", error)


def _run(workspace: Workspace, settings: Settings, clock: Clock, *, dry_run: bool, arm_s: float | None) -> TickReport:
    from oracle_batch import bounded
    from oracle_batch.clock import FrozenClock
    from oracle_batch.store.lock import hold
    from oracle_batch.tick import tick as run_tick
    from oracle_batch.types import GUARD_PATIENCE_S, LONGEST_RUN_S
    from oracle_batch.world import Job

    standing = isinstance(clock, FrozenClock) and settings.accounts[0].kind == "paper"
    poll_s = 0.0 if standing else settings.tick.bar_poll_s  # a folder on a frozen clock brings nothing new
    job = Job(workspace, settings, clock, dry_run, poll_s, arm_s)
    deadline_s = min(settings.tick.tick_deadline_s + (arm_s or 0.0), LONGEST_RUN_S)
    if dry_run:
        return bounded.run(lambda: run_tick(job), deadline_s)
    if not any(workspace.models.glob("*.zip")):
        raise ConfigError("no model bundle here", file=workspace.models, fix="oracle-batch models add FILE.zip")
    workspace.ensure()
    with hold(workspace.lock, guard_s=GUARD_PATIENCE_S):
        workspace.clean()
        return bounded.run(lambda: run_tick(job), deadline_s)


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
