"""The operator's commands: pause, resume, close, enable, disable, orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oracle_batch.cli.clocks import ClockOf, Now, chosen_clock
from oracle_batch.cli.confirm import Yes, confirm
from oracle_batch.cli.session import Session, complain, print_json, select_account
from oracle_batch.errors import UsageError

if TYPE_CHECKING:
    from oracle_batch.operating.closing import Closed, Closings
    from oracle_batch.operating.job import Job
    from oracle_batch.operating.orphans import Orphan

_Account = Annotated[str | None, typer.Option(help="Only this account.")]
_Intensity = Literal["1", "2", "3"]


def pause(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Accepted; pausing never asks.")] = False,
) -> None:
    """No new entries from now on; exits still happen. Takes effect in a running tick, too, and never asks."""
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


def resume(ctx: typer.Context, yes: Yes = False) -> None:
    """Allow entries again. An edge that came while paused stays missed. Asks first on a live account."""
    from oracle_batch.operating.resuming import resume as run_resume

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    if not workspace.is_paused():
        typer.echo("not paused")
        return
    job = _job(ctx, None, None)
    confirm("resume entries", job.settings.accounts, yes=yes)
    run_resume(job)
    typer.echo("resumed: the next edge of each model may enter")


def close(
    ctx: typer.Context,
    target: Annotated[str | None, typer.Argument(metavar="MODEL", help="A model id or a symbol.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The positions of every model.")] = False,
    account: _Account = None,
    now: Now = None,
    clock: ClockOf = None,
    yes: Yes = False,
) -> None:
    """Close a model's position now; it then waits for WAIT or the opposite direction.

    Waits up to 60 s for a running tick. Positions that are no model's are never touched (see `orphans`). A close that
    the market refuses becomes pending and is carried out by the next run that can. Exit code 1: something is not
    closed, or it is not known. Asks first on a live account.
    """
    if (target is None) is not everything:
        raise UsageError("name a model or a symbol, or say --all", field="close")
    from oracle_batch.operating.closing import close as run_close

    job = _job(ctx, account, now, clock)
    confirm(f"close {'all positions of models' if target is None else target}", job.settings.accounts, yes=yes)
    result = run_close(job, target)
    _tell(result, job)
    if not result.closed and not result.errors:
        typer.echo("nothing is open" if target is None else f"{target}: nothing is open")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


_Target = Annotated[str, typer.Argument(metavar="SYMBOL", help="A symbol or a model id.")]


def enable(
    ctx: typer.Context,
    target: _Target,
    account: _Account = None,
    now: Now = None,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="On a live account, without evidence of an edge too.")] = False,
) -> None:
    """Send entries of a symbol, or of one model. A signal that runs already stays missed: the next edge may enter.

    Sets "enabled" in config/executor_symbols.json (or the account's own file) and leaves everything else there as it
    is. Asks first on a live account, and refuses there a bundle whose last backtest found no evidence of an edge.
    """
    job = _job(ctx, account, now)
    if not force:
        _refuse_without_an_edge(job, target)
    confirm(f"enable entries of {target}", job.settings.accounts, yes=yes)
    _switch(job, target, enabled=True)


def _refuse_without_an_edge(job: Job, target: str) -> None:
    """On a live account, stop at a bundle whose last backtest found no edge; one that never had one is let pass.

    Raises:
        UsageError: naming the model.
    """
    from oracle_batch.cli import confirm as confirming

    if not any(confirming.is_live(one) for one in job.settings.accounts):
        return
    from oracle_batch.bundle.compiled import load_models
    from oracle_batch.store import verdicts
    from oracle_batch.warmup import select

    models, _ = load_models(job.workspace.models, job.workspace.compiled, write_cache=False)
    for model in select(models, target):
        said = verdicts.latest(job.workspace, model.model_id, model.sha256)
        if said is not None and not said.edge:
            raise UsageError(
                f"{model.model_id}: its last backtest says: {said.verdict}",
                field="enable",
                fix="give --force to trade it",
            )


def disable(
    ctx: typer.Context,
    target: _Target,
    account: _Account = None,
    now: Now = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accepted; disabling never asks.")] = False,
) -> None:
    """Send no more entries of a symbol, or of one model. An open position is still closed on its signal.

    Sets "enabled" in config/executor_symbols.json (or the account's own file) and leaves everything else there as it
    is. Never asks.
    """
    _switch(_job(ctx, account, now), target, enabled=False)


def _switch(job: Job, target: str, *, enabled: bool) -> None:
    from oracle_batch.operating.switching import switch

    word = "enabled" if enabled else "disabled"
    results = switch(job, target, enabled=enabled)
    for one in results:
        name = f"{one.file.name}: {one.key}" if len(results) > 1 else one.key
        if not one.changed:
            typer.echo(f"{name}: already {word}")
        elif enabled:
            typer.echo(f"{name}: enabled; a running signal stays missed, the next edge may enter")
        else:
            typer.echo(f"{name}: disabled; an open position is still closed on its signal")
        if one.apart:
            typer.echo(f"{name}: not touched, they have entries of their own: {', '.join(one.apart)}")


def orphans(
    ctx: typer.Context,
    close_ticket: Annotated[int | None, typer.Option("--close", metavar="TICKET", help="Close this one.")] = None,
    adopt_ticket: Annotated[int | None, typer.Option("--adopt", metavar="TICKET", help="Give it to --as.")] = None,
    model: Annotated[str | None, typer.Option("--as", metavar="MODEL", help="The model that --adopt gives to.")] = None,
    intensity: Annotated[
        _Intensity | None, typer.Option(help="With --adopt: 1 weak, 2 moderate, 3 strong; else as its comment says.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as one JSON object.")] = False,
    account: _Account = None,
    now: Now = None,
    clock: ClockOf = None,
    yes: Yes = False,
) -> None:
    """List the positions that are no model's. They count in equity and risk, and no run ever touches them.

    With --close or --adopt, and the position's number, one of them is closed or becomes a model's: its next signal
    then decides whether it stays. The broker's label cannot be changed, so the books alone remember an adoption.
    Both wait up to 60 s for a running tick and ask first on a live account.
    """
    if close_ticket is not None and adopt_ticket is not None:
        raise UsageError("--close and --adopt exclude each other", field="orphans")
    if (adopt_ticket is None) is not (model is None) or (adopt_ticket is None and intensity is not None):
        raise UsageError("--adopt TICKET and --as MODEL belong together", field="orphans")
    if as_json and (close_ticket is not None or adopt_ticket is not None):
        raise UsageError("--json is for the list", field="--json")
    job = _job(ctx, account, now, clock)
    if close_ticket is not None:
        _close_orphan(job, close_ticket, yes=yes)
    elif adopt_ticket is not None and model is not None:
        _adopt(job, adopt_ticket, model, None if intensity is None else int(intensity), yes=yes)
    else:
        _list_orphans(job, as_json=as_json)


def _close_orphan(job: Job, ticket: int, *, yes: bool) -> None:
    from oracle_batch.operating.orphans import close_orphan

    confirm(f"close position {ticket}", job.settings.accounts, yes=yes)
    result = close_orphan(job, ticket)
    _tell(result, job)
    if not result.closed:
        typer.echo(f"position {ticket} is not open")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _adopt(job: Job, ticket: int, model: str, intensity: int | None, *, yes: bool) -> None:
    from oracle_batch.operating.orphans import adopt
    from oracle_batch.types import action_of

    confirm(f"give position {ticket} to {model}", job.settings.accounts, yes=yes)
    held = adopt(job, ticket, model, intensity)
    if held is None:
        typer.echo(f"{model} holds position {ticket} already")
    else:
        action = action_of(held.direction, held.intensity).name
        typer.echo(f"{model} holds position {ticket} as {action}; its next signal decides whether it stays")


def _list_orphans(job: Job, *, as_json: bool) -> None:
    from oracle_batch.operating.orphans import orphans as find
    from oracle_batch.operating.visits import exit_code

    found = find(job)
    for name, error in found.errors.items():
        complain(f"account {name}: {error}")
    if as_json:
        print_json({"orphans": [_orphan(one) for one in found.found]})
    elif found.found:
        _show_orphans(found.found)
    elif not found.errors:
        typer.echo("no positions but the models' own")
    if code := exit_code(list(found.errors.values()), len(job.settings.accounts), undone=False):
        raise typer.Exit(code)


def _orphan(one: Orphan) -> dict[str, object]:
    held = one.position
    names = ("position_id", "symbol", "direction", "volume_cents", "entry_price", "opened_at", "label", "comment")
    return {"account": one.account, **{name: getattr(held, name) for name in names}}


def _show_orphans(found: list[Orphan]) -> None:
    from oracle_batch.cli.tables import new_table, print_page
    from oracle_batch.types import utc

    table = new_table()
    for name, right in (
        ("account", False), ("ticket", True), ("symbol", False), ("side", False), ("units", True), ("entry", True),
        ("opened", False), ("label", False), ("comment", False),
    ):  # fmt: skip
        table.add_column(name, justify="right" if right else "left")
    for one in found:
        held = one.position
        side, units = "buy" if held.direction > 0 else "sell", f"{held.volume_cents / 100:,.10g}"
        price, opened = f"{held.entry_price:g}", utc(held.opened_at)
        cells = (one.account, str(held.position_id), held.symbol, side, units, price, opened)
        table.add_row(*cells, held.label, held.comment)
    print_page([table])


def _job(ctx: typer.Context, account: str | None, now: str | None, clock: str | None = None) -> Job:
    from oracle_batch.operating.job import Job

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    return Job(workspace, select_account(session.settings(), account), chosen_clock(ctx, now, clock))


def _tell(result: Closings, job: Job) -> None:
    """One line for each close on stdout; what is not done goes to the log."""
    several = len(job.settings.accounts) > 1
    for name, error in result.errors.items():
        complain(f"account {name}: {error}")
    for one in result.closed:
        line = f"{one.account}: {_line(one)}" if several else _line(one)
        if one.status == "OK":
            typer.echo(line)
        else:
            complain(line)


def _line(one: Closed) -> str:
    what = f"{one.model or one.symbol}: position {one.position_id}"
    if one.status == "OK":
        net = "" if one.net is None else f", net {one.net:,.2f}"
        return f"{what} closed{net}" + (f" ({one.reason})" if one.reason else "")
    if one.status == "UNKNOWN":
        return f"{what}: it is not known whether it was closed ({one.reason}); run the same command again"
    pending = "; the next run that can closes it" if one.model else ""
    return f"{what} is still open ({one.reason}){pending}"
