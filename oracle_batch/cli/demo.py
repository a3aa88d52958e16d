"""``oracle-batch demo``: see it work on real bars, without an account."""

from __future__ import annotations

import logging
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oracle_batch.cli.session import Session

if TYPE_CHECKING:
    from oracle_batch.demo import Summary

CLOSES: Final = 150


def demo(
    ctx: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="A new folder to keep; a temporary one if left out.")] = None,
    closes: Annotated[int, typer.Option(min=1, max=5000, help="M15 bar closes to run.")] = CLOSES,
) -> None:
    """Run some hundred bar closes of three models on real bars with the paper broker, and sum up."""
    session: Session = ctx.obj
    if session.log_level is None:
        logging.getLogger().setLevel(logging.WARNING)  # two lines a tick would bury the table
    if folder is not None:
        _play(folder, closes)
        typer.echo(f"\nThe workspace stays: oracle-batch --home {folder} status")
        return
    told: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        """A kill would leave the folder behind; as an interruption it ends the tick's tasks in order, too."""
        told.append(number)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, end)
    try:
        with tempfile.TemporaryDirectory(prefix="oracle-batch-demo-") as temporary:
            _play(Path(temporary), closes)
    except KeyboardInterrupt:
        if not told:
            raise
        raise typer.Exit(128 + told[0]) from None


def _play(folder: Path, count: int) -> None:
    from oracle_batch.cli.progress import Progress
    from oracle_batch.cli.status import show
    from oracle_batch.config import load_settings
    from oracle_batch.demo import closes, play, prepare
    from oracle_batch.surveying import read_status
    from oracle_batch.types import utc

    workspace = prepare(folder)
    settings = load_settings(workspace.config_file)
    instants = closes(workspace, settings, count)
    typer.echo(f"3 models, {count} bar closes from {utc(instants[0])} to {utc(instants[-1])}, paper money\n")
    summary = play(workspace, count, Progress)
    show(read_status(workspace, settings, instants[-1] + 1))
    typer.echo()
    _print(summary)


def _print(summary: Summary) -> None:
    decided = ", ".join(f"{count} {name}" for name, count in sorted(summary.decisions.items()))
    per_tick = summary.seconds / summary.closes * 1e3
    currency = summary.currency
    lines = (
        ("bar closes", f"{summary.closes} in {summary.seconds:.1f} s ({per_tick:.0f} ms a tick)"),
        ("decisions", decided),
        ("fills", str(summary.deals)),
        ("start balance", f"{summary.start_balance:,.2f} {currency}"),
        ("commission", f"{summary.commission:,.2f} {currency}"),
        ("balance", f"{summary.balance:,.2f} {currency}"),
        ("equity", f"{summary.equity:,.2f} {currency} ({summary.unfinished} positions open)"),
        ("result", f"{summary.equity - summary.start_balance:+,.2f} {currency}"),
        ("virtual", f"{summary.virtual:+,.2f} {currency} (the models' own books, same bars)"),
    )
    for name, value in lines:
        typer.echo(f"{name:14} {value}")
    typer.echo("\nPaper money, sample models: this shows the machinery, not an edge.")
