"""The commands and their names."""

from __future__ import annotations

import typer

from oracle_batch.cli import backtest, brain, demo, guard, journal, login, operator, resident, sim, status, tick, train
from oracle_batch.cli.models import models_app
from oracle_batch.cli.paper import paper_app
from oracle_batch.cli.risk import risk_app


def commands(app: typer.Typer) -> None:
    """Give the app its commands, once."""
    if app.registered_commands:
        return
    app.command("tick")(tick.tick)
    app.command("guard")(guard.guard)
    app.command("warmup")(brain.warmup)
    app.command("status")(status.status)
    app.command("run")(resident.run)
    app.command("demo")(demo.demo)
    app.command("replay")(brain.replay)
    app.command("backtest")(backtest.backtest)
    app.command("train")(train.train)
    app.add_typer(models_app, name="models")
    app.command("pause")(operator.pause)
    app.command("resume")(operator.resume)
    app.command("close")(operator.close)
    app.command("enable")(operator.enable)
    app.command("disable")(operator.disable)
    app.command("orphans")(operator.orphans)
    app.add_typer(risk_app, name="risk")
    app.add_typer(journal.journal_app, name="journal")
    app.add_typer(paper_app, name="paper")
    app.command("login")(login.login)
    app.command("sim")(sim.sim)
