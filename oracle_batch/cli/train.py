"""``oracle-batch train``: from bars to a bundle. Needs the extra ``train``; a cluster needs ``fleet``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle_batch.cli.extras import needs_training
from oracle_batch.cli.session import Session, clock_of, complain, print_json
from oracle_batch.errors import OracleBatchError, UsageError
from oracle_batch.types import TIMEFRAME_SECONDS

if TYPE_CHECKING:
    from oracle_batch.training.costs import CostOptions
    from oracle_batch.training.data import History
    from oracle_batch.training.desk import Order
    from oracle_batch.training.parameters import TrainingParameters
    from oracle_batch.training.trainer import Trained


def train(
    ctx: typer.Context,
    symbol: Annotated[str | None, typer.Argument(help="The symbol, which names the bundle: EURUSD.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="M1 M5 M15 M30 H1 H4 D1.")] = None,
    bars: Annotated[
        Path | None, typer.Option(help="Closed bars, .parquet or .csv; with --all a folder of SYMBOL_TF files.")
    ] = None,
    from_broker: Annotated[bool, typer.Option("--from-broker", help="Ask the workspace's broker for bars.")] = False,
    count: Annotated[int, typer.Option(min=1, help="How many bars to ask the broker for.")] = 50_000,
    out: Annotated[Path, typer.Option(help="Folder for the bundle, the report and the record of trials.")] = Path(
        "models"
    ),
    everything: Annotated[bool, typer.Option("--all", help="Every history in the folder --bars.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random; the same seed gives the same arrays.")] = 1,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs from one seed after another; the bundle holds the median one.")
    ] = 5,
    steps: Annotated[
        int | None,
        typer.Option("--steps", "--total-timesteps", min=1, help="Steps of a run at most.  [default: 2000000]"),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="Search so many sets of hyper-parameters first.")] = 0,
    trial_steps: Annotated[int, typer.Option(min=1, help="Steps of one trial of the search.")] = 200_000,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Any parameter: ppo.gamma=0.98, hmm.n_states=4 … (repeatable)")
    ] = None,
    decoding: Annotated[str | None, typer.Option(help="filter, single or viterbi.  [default: filter]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Local processes to train with.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="A Dask scheduler: tcp://HOST:8786.")] = None,
    digits: Annotated[int | None, typer.Option(min=0, max=8, help="Price digits.")] = None,
    pip_value: Annotated[float | None, typer.Option(help="Money a pip and lot.")] = None,
    spread_points: Annotated[float | None, typer.Option(help="Spread in points.")] = None,
    slippage_points: Annotated[float | None, typer.Option(help="Slippage in points.")] = None,
    commission_per_lot: Annotated[float | None, typer.Option(help="Commission a lot and round turn.")] = None,
    broker_symbol: Annotated[str | None, typer.Option(help="What the broker calls it, where not SYMBOL.")] = None,
    now: Annotated[str | None, typer.Option(help="Freeze the clock: Unix seconds, or ISO 8601 with offset.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Train a regime model and a policy on bars, choose on validation, test once, write bundle and report."""
    needs_training()
    _check_line(symbol, timeframe, bars, everything, from_broker)
    from oracle_batch.cli.progress import Progress
    from oracle_batch.training.costs import CostOptions
    from oracle_batch.training.desk import Order, histories_in, train_all, train_one
    from oracle_batch.training.fleet import fleet

    session: Session = ctx.obj
    clock = clock_of(now)
    generated_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock.now()))
    costs = CostOptions(digits, pip_value, spread_points, slippage_points, commission_per_lot)
    parameters = _parameters(seed, steps, decoding, setting or [])
    order = Order(out, parameters, costs, seeds, trials, trial_steps, resume, generated_at, broker_symbol)
    if everything:
        assert bars is not None
        named = histories_in(bars, timeframe)
        _check_symbols({name for name, _, _ in named}, costs, broker_symbol)
        with fleet(cluster, workers) as crew:
            _report(train_all(named, order, Progress, crew), order, as_json)
        return
    assert symbol is not None
    assert timeframe is not None
    history = _history(session, clock, symbol, timeframe, bars, broker_symbol, count)
    with fleet(cluster, workers) as crew:
        trained = train_one(history, order, Progress, crew)
    _report({f"{symbol}_{timeframe}": trained}, order, as_json)


def _check_line(
    symbol: str | None, timeframe: str | None, bars: Path | None, everything: bool, from_broker: bool
) -> None:
    """What only belongs together.

    Raises:
        UsageError: naming the option.
    """
    if timeframe is not None and timeframe not in TIMEFRAME_SECONDS:
        raise UsageError(f"{timeframe!r} is none of {' '.join(TIMEFRAME_SECONDS)}", field="--timeframe")
    if everything:
        if symbol is not None or from_broker or bars is None:
            raise UsageError("takes a folder of bars and no symbol", field="--all", fix="train --all --bars FOLDER")
        return
    if symbol is None:
        raise UsageError("name a symbol, or say --all", field="SYMBOL")
    if timeframe is None:
        raise UsageError("is missing", field="--timeframe", fix="e.g. --timeframe M15")
    if (bars is None) is not from_broker:
        raise UsageError("give either --bars FILE or --from-broker", field="--bars")


def _check_symbols(symbols: set[str], costs: CostOptions, broker_symbol: str | None) -> None:
    """What is one symbol's cannot be given for several.

    Raises:
        UsageError: naming the option.
    """
    given = {"--broker-symbol": broker_symbol, "--digits": costs.digits, "--pip-value": costs.pip_value}
    for option, value in given.items():
        if value is not None and len(symbols) > 1:
            raise UsageError(
                f"is one symbol's, and --bars holds {len(symbols)}", field=option, fix="train this symbol by itself"
            )


def _parameters(seed: int, steps: int | None, decoding: str | None, settings: list[str]) -> TrainingParameters:
    """The defaults with what the command line changes.

    Raises:
        UsageError: naming the parameter.
    """
    import msgspec

    from oracle_batch.training.parameters import TrainingParameters, checked

    document: dict[str, Any] = msgspec.to_builtins(TrainingParameters(seed=seed))
    if steps is not None:
        document["ppo"]["total_steps"] = steps
    if decoding is not None:
        document["hmm"]["decoding"] = decoding
    for one in settings:
        name, equals, text = one.partition("=")
        section, _, key = name.strip().partition(".")
        if not equals or not isinstance(document.get(section), dict) or key not in document[section]:
            known = ", ".join(
                f"{part}.{key}" for part, keys in document.items() if isinstance(keys, dict) for key in keys
            )
            raise UsageError(f"{one!r} sets no parameter", field="--set", fix=f"known: {known}")
        try:
            document[section][key] = json.loads(text)
        except ValueError:
            document[section][key] = text
    try:
        return checked(msgspec.convert(document, TrainingParameters))
    except msgspec.ValidationError as error:
        raise UsageError(str(error), field="--set", fix="correct the value") from None


def _history(
    session: Session, clock: Any, symbol: str, timeframe: str, bars: Path | None, broker_symbol: str | None, count: int
) -> History:
    import asyncio

    from oracle_batch.training.data import read_history
    from oracle_batch.training.from_broker import fetch

    if bars is not None:
        return read_history(bars, symbol, timeframe)
    workspace, settings = session.existing_workspace(), session.settings()
    return asyncio.run(fetch(workspace, settings, clock, symbol, broker_symbol or symbol, timeframe, count))


def _report(found: dict[str, Trained | OracleBatchError | None], order: Order, as_json: bool) -> None:
    """Say what was made; exit 1 where a model of several failed, with its own code where it is the only one."""
    from oracle_batch.training.report import verdict

    failed = {name: error for name, error in found.items() if isinstance(error, OracleBatchError)}
    rows: dict[str, Any] = {name: {"ok": False, "error": str(error)} for name, error in failed.items()}
    for name, one in found.items():
        if name in failed:
            complain(f"{name}: {failed[name]}")
            continue
        bundle, page = order.out / f"{name}.zip", order.out / f"{name}.html"
        rows[name] = {"ok": True, "bundle": str(bundle), "report": str(page)}
        if one is None or isinstance(one, OracleBatchError):
            rows[name]["finished_before"] = True
            line = f"{name}: finished before, {bundle}"
        else:
            rows[name] |= {key: one.told[key] for key in ("backtest_oos", "selection")}
            line = f"{name}: {verdict(one.told)}\n  bundle {bundle}, report {page}"
        if not as_json:
            typer.echo(line)
    if as_json:
        print_json({"out": str(order.out), "models": dict(sorted(rows.items()))})
    if failed:
        raise typer.Exit(next(iter(failed.values())).exit_code if len(found) == 1 else 1)
