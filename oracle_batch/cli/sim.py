"""``oracle-batch sim``: the other side of the Open API, on loopback."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from oracle_batch.cli.session import clock_of, print_json
from oracle_batch.errors import ConfigError, UsageError

_log = logging.getLogger(__name__)

FASTEST: Final = 1e6
"""More would play decades in minutes; ``advance`` on the control port jumps."""
RICHEST: Final = 1e12


def sim(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder of SYMBOL_TIMEFRAME.parquet or .csv.")],
    symbols: Annotated[str, typer.Option(help="What trades, e.g. EURUSD,GBPUSD; ids count from 1.")],
    start: Annotated[str, typer.Option(help="Where the clock starts: Unix seconds, or ISO 8601 with offset.")],
    timeframes: Annotated[str, typer.Option(help="Live bars of, e.g. M15,H1.")] = "M15",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TLS port; 0: a free one.")] = 0,
    speed: Annotated[float, typer.Option(min=0, help="Times real time; 0: the clock stands until told.")] = 0.0,
    accounts: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 1,
    netted: Annotated[bool, typer.Option("--netted", help="One position a symbol.")] = False,
    balance: Annotated[float, typer.Option(min=0.01, help="Of each account, in USD.")] = 10_000.0,
    faults: Annotated[Path | None, typer.Option(help="A fault script (docs/faults.md).")] = None,
) -> None:
    """Simulate Spotware's Open API on real bars: TLS, accounts, orders, faults. One JSON line says where.

    Contracts and costs are the paper broker's: config/symbols.json and the bundles of the home, where there are any.
    It serves on loopback until standard input closes, SIGTERM, or a stop on the control port.
    """
    from oracle_batch.bundle.compiled import load_models
    from oracle_batch.market.spec_file import load_settings
    from oracle_batch.sim.exchange import Exchange
    from oracle_batch.sim.faults import load_script
    from oracle_batch.sim.process import Plan, run

    _refuse_beyond(speed, FASTEST, "--speed")
    _refuse_beyond(balance, RICHEST, "--balance")
    if not data.is_dir():
        raise ConfigError("no such folder of bars", file=data, field="--data", fix="correct --data")
    script = load_script(faults) if faults is not None else ()
    workspace = ctx.obj.workspace
    models, refused = load_models(workspace.models, workspace.compiled, write_cache=False)
    for error in refused.values():
        _log.warning("sim: %s", error)
    exchange = Exchange(
        data,
        _words(symbols, "--symbols"),
        _words(timeframes, "--timeframes"),
        clock_of(start, "--start").now(),
        accounts=accounts,
        hedged=not netted,
        balance=balance,
        settings=load_settings(workspace.symbols),
        models=list(models.values()),
    )
    run(exchange, Plan(port, speed, script), _announce)


def _announce(ready: dict[str, Any]) -> None:
    import sys

    print_json(ready)
    sys.stdout.flush()


def _refuse_beyond(value: float, most: float, option: str) -> None:
    if not value <= most:  # neither nan nor inf is
        raise UsageError(f"{value!r} is no number up to {most:,.0f}", field=option, fix="write a smaller one")


def _words(text: str, option: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) != len(words):
        raise UsageError(f"{text!r} is no list of different names", field=option, fix="separate them by commas")
    return words
