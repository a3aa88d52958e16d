"""``oracle-batch backtest``: the live decision code over history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oracle_batch.cli.extras import needs_training
from oracle_batch.cli.session import Session, complain
from oracle_batch.errors import OracleBatchError, UsageError

if TYPE_CHECKING:
    from oracle_batch.training.backtest.materials import Place, Wish
    from oracle_batch.training.backtest.portfolio import Portfolio
    from oracle_batch.training.backtest.run import Report
    from oracle_batch.training.fleet import Fleet

TARGET_PCT: Final = 10.0
HORIZON_DAYS: Final = 252
REFIT_STEPS: Final = 200_000
Models = Annotated[list[Path] | None, typer.Argument(metavar="MODEL...", help="Bundles, e.g. EURUSD_M15.zip.")]
BarsOption = Annotated[Path, typer.Option(help="A file of closed bars, or a folder of SYMBOL_TF.parquet or .csv.")]
All = Annotated[bool, typer.Option("--all", help="Every bundle in HOME/models.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Out = Annotated[Path | None, typer.Option(help="Folder for MODEL.json and MODEL.html.")]
Cluster = Annotated[str | None, typer.Option(help="A Dask scheduler, tcp://HOST:8786.")]
Workers = Annotated[int, typer.Option(min=1, help="Local worker processes.")]


def backtest(
    ctx: typer.Context,
    bars: BarsOption,
    models: Models = None,
    everything: All = False,
    full: Annotated[bool, typer.Option("--full", help="Also hands and market: sizes, stops, rules, fills.")] = False,
    portfolio: Annotated[bool, typer.Option("--portfolio", help="All models together on one account.")] = False,
    rules: Annotated[str | None, typer.Option(help="A firm's limits, e.g. ftmo_2step.")] = None,
    target: Annotated[
        float | None,
        typer.Option(
            min=0, help=f"With --portfolio: the profit that passes, in per cent; 0: none.  [default: {TARGET_PCT:g}]"
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, max=5000, help=f"With --portfolio: days an account may take.  [default: {HORIZON_DAYS}]"),
    ] = None,
    walk_forward: Annotated[int, typer.Option(min=0, max=50, help="Refit so many times; 0: not at all.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"With --walk-forward: training steps of each refit.  [default: {REFIT_STEPS}]"),
    ] = None,
    balance: Annotated[
        float | None, typer.Option(min=1, help="Money at the start; the workspace's if left out.")
    ] = None,
    spreads: Annotated[
        Path | None,
        typer.Option(
            help="With --full or --portfolio: hour,spread_points (CSV), or quotes with time,bid,ask (Parquet); "
            "for several symbols a folder of SYMBOL.csv or .parquet."
        ),
    ] = None,
    as_json: Json = False,
    out: Out = None,
    cluster: Cluster = None,
    workers: Workers = 1,
) -> None:
    """Run the live decision code over history, and say how far the result can be believed."""
    needs_training()
    from oracle_batch.training.backtest.materials import Place, Wish
    from oracle_batch.training.fleet import fleet

    session: Session = ctx.obj
    if (rules is not None) and not (portfolio or full):
        raise UsageError("rules are the account's: they need --full or --portfolio", field="--rules")
    for option, value in {"--target": target, "--horizon": horizon}.items():
        if value is not None and not portfolio:
            raise UsageError("is the drawn accounts': it needs --portfolio", field=option)
    if steps is not None and not walk_forward:
        raise UsageError("is the refits': it needs --walk-forward", field="--steps")
    if walk_forward and portfolio:
        raise UsageError("refits one model at a time: leave out --portfolio", field="--walk-forward")
    for option, value in {"--target": target, "--balance": balance}.items():
        if value is not None and not math.isfinite(value):
            raise UsageError(f"is {value}", field=option, fix="give a number")
    place = Place(session.workspace, session.settings(announce=False))
    bundles = chosen(models, everything, place)
    wish = Wish(bars, balance, full or portfolio, rules, spreads)
    if portfolio:
        with fleet(cluster, workers) as crew:
            found = _portfolio(
                bundles, place, wish, TARGET_PCT if target is None else target, horizon or HORIZON_DAYS, crew, out
            )
        if as_json:
            print_document(found)
        else:
            _print_portfolio(found)
        return
    answers = _answers(bundles, place, wish, walk_forward, steps or REFIT_STEPS, cluster, workers)
    failed = {name: one for name, one in answers.items() if isinstance(one, OracleBatchError)}
    reports = _as_a_family({name: one for name, one in answers.items() if not isinstance(one, OracleBatchError)})
    _remember(place, reports)
    if out is not None:
        _write(out, reports)
    if as_json:
        print_document({name: answer.document() for name, answer in reports.items()})
    else:
        _print(reports)
    for name, error in failed.items():
        complain(f"{name}: {error}")
    if failed:
        raise typer.Exit(max(error.exit_code for error in failed.values()) if len(bundles) == 1 else 1)


def chosen(models: list[Path] | None, everything: bool, place: Place) -> list[Path]:
    """The bundles that are named, or all of the workspace.

    Raises:
        UsageError: both, or none.
    """
    from oracle_batch.bundle.files import bundle_paths

    if bool(models) is everything:
        raise UsageError("name bundles, or say --all", field="MODEL")
    found = models or bundle_paths(place.workspace.models)
    if not found:
        raise UsageError("no model bundle here", file=place.workspace.models, fix="oracle-batch models add FILE.zip")
    names = [path.stem for path in found]
    if len(set(names)) < len(names):
        raise UsageError("the same model is named twice", field="MODEL")
    return found


def print_document(value: object) -> None:
    """One JSON document on stdout; what is not a number becomes null."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _answers(
    bundles: list[Path],
    place: Place,
    wish: Wish,
    walk_forward: int,
    steps: int,
    cluster: str | None,
    workers: int,
) -> dict[str, Any]:
    from oracle_batch.cli.progress import Progress
    from oracle_batch.training.backtest.materials import refuse_common_spreads, task_of
    from oracle_batch.training.backtest.work import Job, work
    from oracle_batch.training.fleet import fleet

    tasks: dict[str, Job] = {}
    answers: dict[str, Any] = {}
    for bundle in bundles:
        try:
            tasks[bundle.stem] = Job(task_of(bundle, place, wish), walk_forward, steps)
        except OracleBatchError as error:
            answers[bundle.stem] = error
    refuse_common_spreads(wish, {job.task.model.broker_symbol for job in tasks.values()})
    with fleet(cluster, workers) as crew:
        answers |= crew.fan_out(work, tasks, Progress, "backtests")
    if len(bundles) == 1 and isinstance(only := next(iter(answers.values())), OracleBatchError):
        raise only
    return {bundle.stem: answers[bundle.stem] for bundle in bundles}


def _as_a_family(answers: Mapping[str, Any]) -> dict[str, Any]:
    from oracle_batch.training.backtest.work import as_a_family

    return as_a_family(answers) if len(answers) > 1 else dict(answers)


def _remember(place: Place, answers: Mapping[str, Any]) -> None:
    from oracle_batch.clock import SystemClock
    from oracle_batch.training.backtest.materials import remember

    now = SystemClock().now()
    for answer in answers.values():
        remember(place, answer.report, now)


def _write(out: Path, answers: Mapping[str, Any]) -> None:
    import msgspec

    from oracle_batch.training.pages import write_file

    for name, answer in answers.items():
        write_file(out / f"{name}.json", msgspec.json.format(msgspec.json.encode(answer.document()), indent=2))
        write_file(out / f"{name}.html", answer.page.encode())


def _print(answers: Mapping[str, Any]) -> None:
    from rich.text import Text

    from oracle_batch.cli.tables import new_table, print_page
    from oracle_batch.training.pages import number, percent

    table = new_table(header=True)
    for name in ("model", "bars that count", "return", "Sharpe", "drawdown", "trades", "deflated", "verdict"):
        table.add_column(name, no_wrap=name == "model", overflow="fold")
    for name, answer in answers.items():
        report: Report = answer.report
        shown = report.headline or report.whole
        honesty = report.honesty
        cells = (
            name,
            "unseen" if report.headline is not None else "all: in sample",
            percent(shown.total_return, 2),
            number(shown.sharpe),
            percent(shown.max_drawdown, 2),
            str(shown.trades),
            number(honesty.deflated_sharpe if honesty is not None else None),
            report.verdict,
        )
        table.add_row(*(Text(cell) for cell in cells))
        if (own := report.account) is not None:
            one = own.metrics
            refused = ", ".join(f"{count} {code}" for code, count in sorted(own.refused.items()))
            cells = (
                "",
                "  account, unseen" if own.unseen_only else "  account, all bars",
                percent(one.total_return, 2),
                number(one.sharpe),
                percent(one.max_drawdown, 2),
                str(one.trades),
                "",
                f"refused: {refused}" if refused else "",
            )
            table.add_row(*(Text(cell) for cell in cells))
    print_page([table])
    for name, answer in answers.items():
        if (folds := answer.refitted) is not None:
            made = f"{percent(folds.total_return, 2)}, {percent(folds.winning, 0)} of {len(folds.folds)} folds won"
            typer.echo(f"{name}: walk-forward {made}")
    for name, answer in answers.items():
        for reason in answer.report.doubts:
            typer.echo(f"{name}: {reason}")


def _portfolio(
    bundles: list[Path], place: Place, wish: Wish, target: float, horizon: int, crew: Fleet, out: Path | None
) -> Portfolio:
    import msgspec

    from oracle_batch.cli.progress import Progress
    from oracle_batch.training.backtest.materials import portfolio_task
    from oracle_batch.training.backtest.portfolio import portfolio
    from oracle_batch.training.backtest.portfolio_page import page_of
    from oracle_batch.training.pages import write_file

    found, trading = portfolio(portfolio_task(bundles, place, wish, target, horizon), crew, Progress)
    if out is not None:
        write_file(out / "portfolio.json", msgspec.json.format(msgspec.json.encode(found), indent=2))
        page_of(found, trading).write(out / "portfolio.html")
    return found


def _print_portfolio(found: Portfolio) -> None:
    from oracle_batch.training.pages import counted, number, percent
    from oracle_batch.types import utc

    one = found.metrics
    under = f"{counted(len(found.models), 'model')} under {found.rules}"
    typer.echo(f"{under}, {utc(found.first)} to {utc(found.last)}")
    if not found.unseen:
        typer.echo("not every model says which bars it has seen: this is no evidence")
    typer.echo(
        f"return {percent(one.total_return, 2)}, Sharpe {number(one.sharpe)}, drawdown {percent(one.max_drawdown, 2)}, "
        f"{one.trades} trades, worst day {percent(found.worst_day, 2)}"
    )
    higher = (f"×{name} {percent(one.total_return, 2)}" for name, one in found.stress.items() if name != "1")
    typer.echo(f"return at higher costs: {', '.join(higher)}")
    odds = found.odds
    if odds is None:
        typer.echo("too few days to draw accounts from")
        return
    typer.echo(
        f"of {odds.draws} drawn accounts of up to {found.horizon} days {percent(odds.passed)} pass "
        f"(+{found.target_pct:g} %), {percent(odds.broke_daily)} break the daily limit, "
        f"{percent(odds.broke_maximum)} the maximum one, {percent(odds.unfinished)} do neither"
    )
