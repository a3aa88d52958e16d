"""``oracle-batch warmup`` and ``replay``: the brain without the hands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.clocks import ClockOf, Now, chosen_clock
from oracle_batch.cli.session import Session, complain
from oracle_batch.errors import UsageError

if TYPE_CHECKING:
    from oracle_batch.bundle.model import Model


def warmup(
    ctx: typer.Context,
    target: Annotated[str | None, typer.Argument(metavar="SYMBOL", help="A symbol or a model id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model.")] = False,
    now: Now = None,
    clock: ClockOf = None,
) -> None:
    """Fetch history and fast-forward the twin from flat, silently. Trades nothing."""
    if (target is None) is not everything:
        raise UsageError("name a symbol or a model id, or say --all", field="warmup")
    from oracle_batch.cli.progress import Progress
    from oracle_batch.warmup import warm_up

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    failed = warm_up(workspace, session.settings(), chosen_clock(ctx, now, clock), target, Progress)
    for name, error in failed.items():
        complain(f"{name}: {error}")
    if failed:
        raise typer.Exit(1)


def replay(
    model: Annotated[Path, typer.Argument(help="A bundle, e.g. EURUSD_M15.zip.")],
    bars: Annotated[Path, typer.Option(help="Closed bars: .parquet or .csv with time,open,high,low,close,volume.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the signals, one row a bar from the 350th on.")],
    obs: Annotated[bool, typer.Option("--obs", help="Also write the observation of each bar.")] = False,
) -> None:
    """Run the brain alone over a history, from a flat twin. Needs no workspace."""
    from oracle_batch.bundle.compiled import load_model
    from oracle_batch.replay import refuse_output, replay_file

    refuse_output(out, model, bars)
    loaded: Model = load_model(model, None)
    rows = replay_file(loaded, bars, out, with_observations=obs)
    typer.echo(f"{loaded.model_id}: {rows} bars decided, written to {out}")
