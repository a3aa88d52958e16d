"""The commands and where they stand. A command's module is imported when the command is asked for, and only then:
building all of them would cost more than a third of a short run.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tick": "tick:tick",
        "guard": "guard:guard",
        "warmup": "brain:warmup",
        "status": "status:status",
        "run": "resident:run",
        "demo": "demo:demo",
        "replay": "brain:replay",
        "backtest": "backtest:backtest",
        "train": "train:train",
        "models": "models:models_app",
        "pause": "operator:pause",
        "resume": "operator:resume",
        "close": "operator:close",
        "enable": "operator:enable",
        "disable": "operator:disable",
        "orphans": "operator:orphans",
        "risk": "risk:risk_app",
        "journal": "journal:journal_app",
        "paper": "paper:paper_app",
        "login": "login:login",
        "sim": "sim:sim",
    }
)
"""Module below ``oracle_batch.cli`` and name in it: a function, or the app of a group."""


class LazyGroup(TyperGroup):
    """The commands by name, in the order of the help; each is built when it is first looked up."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names alone."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, None when there is none of that name."""
        if cmd_name not in COMMANDS:
            names: Any = dict.fromkeys(COMMANDS)  # among which the nearest is looked for
            self.commands = {**names, **self.commands}
            return None
        if self.commands.get(cmd_name) is None:
            self.add_command(_build(cmd_name), cmd_name)
        return self.commands[cmd_name]


def _build(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    target = getattr(importlib.import_module(f"oracle_batch.cli.{module}"), attribute)
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    holder.callback()(_nothing)
    if isinstance(target, typer.Typer):
        holder.add_typer(target, name=name)
    else:
        holder.command(name)(target)
    group: Any = get_command(holder)
    return group.commands[name]


def _nothing() -> None:
    """A callback makes a group of an app that has one command."""
