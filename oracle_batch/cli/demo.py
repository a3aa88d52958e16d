"""``oracle-batch demo``: see it work on real bars, without an account."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oracle_batch.demo import Summary

CLOSES = 300


def demo(
    folder: Annotated[Path | None, typer.Argument(help="A new folder to keep; a temporary one if left out.")] = None,
    closes: Annotated[int, typer.Option(min=1, max=5000, help="M15 bar closes to run.")] = CLOSES,
) -> None:
    """Run some hundred bar closes of three models on real bars with the paper broker, and sum up."""
    import logging

    logging.getLogger().setLevel(logging.WARNING)
    if folder is not None:
        _play(folder, closes)
        typer.echo(f"\nThe workspace stays in {folder}: oracle-batch --home {folder} status")
        return
    with tempfile.TemporaryDirectory(prefix="oracle-batch-demo-") as temporary:
        _play(Path(temporary), closes)


def _play(folder: Path, closes: int) -> None:
    from oracle_batch.cli.progress import Progress
    from oracle_batch.cli.status import show
    from oracle_batch.config import load_settings
    from oracle_batch.demo import closes as close_times
    from oracle_batch.demo import play, prepare
    from oracle_batch.status import read_status

    workspace = prepare(folder)
    summary = play(workspace, closes, Progress)
    settings = load_settings(workspace.config_file)
    show(read_status(workspace, settings, close_times(workspace, settings, 1)[0] + 1))
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
        ("virtual P&L", f"{summary.virtual:+,.2f} {currency} (the twins, in the same bars)"),
    )
    for name, value in lines:
        typer.echo(f"  {name:14} {value}")
    typer.echo("\nPaper money, sample models: this shows the machinery, not an edge.")
