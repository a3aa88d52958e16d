"""``oracle-batch models audit``: what would bite in production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from oracle_batch.cli.backtest import All, BarsOption, Cluster, Json, Models, Out, Workers, chosen, print_document
from oracle_batch.cli.extras import needs_training
from oracle_batch.cli.session import Session, complain
from oracle_batch.errors import OracleBatchError

if TYPE_CHECKING:
    from oracle_batch.training.audit.findings import Audit


def audit(
    ctx: typer.Context,
    bars: BarsOption,
    models: Models = None,
    everything: All = False,
    as_json: Json = False,
    out: Out = None,
    cluster: Cluster = None,
    workers: Workers = 1,
) -> None:
    """Look for what would bite in production. Exit code 0: nothing that must be looked at, 2: warnings, 3: critical."""
    needs_training()
    from oracle_batch.cli.progress import Progress
    from oracle_batch.market.spec_file import load_settings
    from oracle_batch.training.audit.work import task_of, work
    from oracle_batch.training.backtest.materials import Place
    from oracle_batch.training.fleet import fleet

    session: Session = ctx.obj
    place = Place(session.workspace, session.settings(announce=False))
    bundles = chosen(models, everything, place)
    broker = load_settings(place.workspace.symbols)
    tasks: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for bundle in bundles:
        try:
            tasks[bundle.stem] = task_of(bundle, bars, broker)
        except OracleBatchError as error:
            answers[bundle.stem] = error
    with fleet(cluster, workers) as crew:
        answers |= crew.fan_out(work, tasks, Progress, "audits")
    if len(bundles) == 1 and isinstance(only := answers[bundles[0].stem], OracleBatchError):
        raise only
    found = {bundle.stem: answers[bundle.stem] for bundle in bundles}
    failed = {name: one for name, one in found.items() if isinstance(one, OracleBatchError)}
    done = {name: one for name, one in found.items() if name not in failed}
    if out is not None:
        _write(out, done)
    if as_json:
        print_document({name: one.audit for name, one in done.items()})
    else:
        for answer in done.values():
            _print(answer.audit)
    for name, failure in failed.items():
        complain(f"{name}: {failure}")
    worst = max((one.audit.exit_code for one in done.values()), default=0)
    if worst or failed:
        raise typer.Exit(worst or 1)


def _write(out: Path, answers: Mapping[str, Any]) -> None:
    import msgspec

    from oracle_batch.training.pages import write_file

    for name, answer in answers.items():
        write_file(out / f"{name}.audit.json", msgspec.json.format(msgspec.json.encode(answer.audit), indent=2))
        write_file(out / f"{name}.audit.html", answer.page.encode())


def _print(found: Audit) -> None:
    from rich.text import Text

    from oracle_batch.cli.tables import new_table, print_page
    from oracle_batch.training.audit.findings import SEVERITIES

    typer.echo(f"{found.model}: {found.verdict}")
    table = new_table(header=False)
    for wrapped in (False, False, True):
        table.add_column("", overflow="fold", no_wrap=not wrapped)
    for one in sorted(found.findings, key=lambda one: -SEVERITIES.index(one.severity)):
        table.add_row(Text(one.severity), Text(one.code), Text(one.text))
    print_page([table])
