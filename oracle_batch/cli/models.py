"""``oracle-batch models``: what bundles there are, what is in them, and taking in new ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oracle_batch.cli.audit import audit
from oracle_batch.cli.session import complain
from oracle_batch.errors import DataError, OracleBatchError, UsageError

if TYPE_CHECKING:
    from oracle_batch.bundle.check import BundleReport
    from oracle_batch.bundle.model import Model, TrainingCosts

models_app = typer.Typer(help="Model bundles: list, check, add, audit.", no_args_is_help=True, rich_markup_mode=None)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_COSTS: Final = ("spread_points", "slippage_points", "commission_per_lot", "point", "digits", "pip_value", "lot_sizes")


@models_app.command("check")
def check(file: Annotated[Path, typer.Argument(help="A bundle, e.g. EURUSD_M15.zip.")], as_json: _Json = False) -> None:
    """Say what is in a bundle and every reason why it is refused. Exit code 65 when it is."""
    from oracle_batch.bundle.check import check_bundle

    report = check_bundle(file)
    if as_json:
        _print_json(report)
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(DataError.exit_code)


@models_app.command("list")
def list_(ctx: typer.Context, as_json: _Json = False) -> None:
    """The bundles in HOME/models, each with its contents or the reason why it is refused."""
    from oracle_batch.bundle.compiled import load_models
    from oracle_batch.store.workspace import Workspace

    workspace = Workspace(ctx.obj.home)
    models, refused = load_models(workspace.models, workspace.compiled, write_cache=False)
    if as_json:
        rows = {name: _row(model) for name, model in models.items()}
        rows |= {name: {"ok": False, "error": str(error)} for name, error in refused.items()}
        _print_json({"folder": str(workspace.models), "models": dict(sorted(rows.items()))})
    elif models or refused:
        _print_models(models, refused)
    else:
        typer.echo(f"no bundles in {workspace.models}; add one: oracle-batch models add SYMBOL_TF.zip")


@models_app.command("add")
def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A bundle, e.g. EURUSD_M15.zip.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of a different bundle.")] = False,
) -> None:
    """Check a bundle and copy it into HOME/models under its model id."""
    from oracle_batch.bundle.check import check_bytes
    from oracle_batch.bundle.files import read_file
    from oracle_batch.store.files import replace_atomically
    from oracle_batch.store.workspace import Workspace

    report, data = check_bytes(file)
    if not report.ok or report.model_id is None:
        _print_refusals(report)
        raise typer.Exit(DataError.exit_code)
    workspace = Workspace(ctx.obj.home)
    target = workspace.bundle_path(report.model_id)
    replaced = target.exists()
    if replaced and read_file(target) == data:
        typer.echo(f"{report.model_id} is already there, the same bundle")
        return
    if replaced and not replace:
        raise UsageError(f"another {report.model_id} is already there", file=target, fix="give --replace")
    workspace.ensure()
    replace_atomically(target, data)
    typer.echo(f"{report.model_id} {'replaced' if replaced else 'added'}: sha256 {report.sha256}")
    if replaced:
        typer.echo(f"its twin followed the old bundle, so it needs a warm-up: oracle-batch warmup {report.model_id}")


models_app.command("audit")(audit)


def _print_json(value: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _row(model: Model) -> dict[str, Any]:
    from oracle_batch.bundle.check import describe_net

    return {
        "ok": True,
        "symbol": model.symbol,
        "broker_symbol": model.broker_symbol,
        "timeframe": model.timeframe,
        "format_version": model.format_version,
        "n_states": model.regime.n_states,
        "covariance_type": model.covariance_type,
        "decoding": model.decoding,
        "observation_pnl": model.observation_pnl,
        "net": describe_net(model.policy),
        "training_costs": model.costs,
        "sha256": model.sha256,
    }


def _costs_text(costs: TrainingCosts) -> str:
    return f"{costs.spread_points:g}+{costs.slippage_points:g} points, {costs.commission_per_lot:g} a lot"


def _print_models(models: dict[str, Model], refused: dict[str, OracleBatchError]) -> None:
    from oracle_batch.bundle.check import describe_net

    rows = [
        (
            name,
            f"{model.regime.n_states} {model.covariance_type}",
            model.decoding,
            str(describe_net(model.policy)),
            _costs_text(model.costs),
            model.sha256[:12],
        )
        for name, model in models.items()
    ]
    if rows:
        _print_table(("model", "states", "decoding", "net", "costs", "sha256"), rows)
    for error in refused.values():
        typer.echo(f"refused: {error}")


def _print_report(report: BundleReport) -> None:
    rows: list[tuple[str, object]] = [
        ("file", report.file),
        ("size", None if report.bytes is None else f"{report.bytes} bytes"),
        ("sha256", report.sha256),
        ("model", report.model_id),
        ("format", report.format_version),
        ("symbol", report.symbol and f"{report.symbol}, the broker's {report.broker_symbol}"),
        ("timeframe", report.timeframe),
        ("states", report.n_states and f"{report.n_states}, {report.covariance_type} covariances"),
        ("decoding", report.decoding),
        ("observed pnl", report.observation_pnl),
        ("net", report.net and f"{report.net}, {report.net.parameters} parameters"),
    ]
    if report.training_costs is not None:
        costs = report.training_costs
        rows += [(name, str(getattr(costs, name))) for name in _COSTS]
    if report.features is not None:
        features = report.features
        rows += [(name, str(getattr(features, name))) for name in features.__dataclass_fields__]
    for member in report.members:
        rows.append((member.name, f"{member.bytes} bytes, {member.stored_bytes} in the ZIP, sha256 {member.sha256}"))
    _print_table(None, [(name, str(value)) for name, value in rows if value is not None])
    if report.ok:
        typer.echo("ok")
    else:
        _print_refusals(report)


def _print_refusals(report: BundleReport) -> None:
    for refusal in report.refused:
        complain(f"refused: {report.file}: {refusal}" + (f" ({refusal.fix})" if refusal.fix else ""))


def _print_table(header: tuple[str, ...] | None, rows: Iterable[tuple[str, ...]]) -> None:
    from rich.text import Text

    from oracle_batch.cli.tables import new_table, print_page

    table = new_table(header=header is not None)
    rows = list(rows)
    for place in range(len(rows[0])):
        table.add_column(header[place] if header else "", overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    print_page([table])
