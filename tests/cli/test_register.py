"""Commands are imported and built when they are asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.cli.register import COMMANDS
from tests.cli.conftest import ROOT, Cli

HEAVY = ("numpy", "pyarrow", "twisted", "google.protobuf", "rich", "asyncio", "zipfile")
PROGRAM = """
import json, sys
from oracle_batch.cli import run
code = run(json.loads(sys.argv[1]))
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


def loaded(home: Path, *arguments: str) -> set[str]:
    """The modules that a command leaves in a fresh interpreter; it must go well."""
    line = [sys.executable, "-c", PROGRAM, json.dumps(["--home", str(home), "--log-level", "error", *arguments])]
    child = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    code, modules = json.loads(child.stderr.splitlines()[-1])
    assert code == 0, child.stderr
    return set(modules)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_for_itself(name: str, fresh: Cli) -> None:
    ran = fresh.bare(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: oracle-batch {name} ")


def test_the_help_tells_all_of_them_in_their_order(fresh: Cli) -> None:
    told = fresh.bare("--help").out.partition("Commands:\n")[2]
    lines = [line for line in told.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(len(line.split()) > 3 for line in lines), "each with a word of what it does"


def test_a_misspelt_command_is_answered_with_the_nearest_name(fresh: Cli) -> None:
    ran = fresh.bare("stats")
    assert ran.code == 64
    assert "Did you mean 'status'?" in ran.err


def test_a_command_does_not_import_the_others(warm: Cli) -> None:
    modules = loaded(warm.home, "pause")
    ours = {name for name in modules if name.startswith("oracle_batch.cli.")}
    assert "oracle_batch.cli.operator" in ours
    assert ours.isdisjoint(f"oracle_batch.cli.{name}" for name in ("tick", "status", "journal", "sim", "models"))


@pytest.mark.parametrize(
    "line",
    [
        "--version",
        "--help",
        "tick --help",
        "risk --help",
        "pause",
        "resume",
        "enable EURUSD",
        "disable EURUSD",
        "status --json",
        "journal --format json",
        "journal verify",
    ],
)
def test_what_needs_no_numbers_loads_no_numpy(line: str, warm: Cli) -> None:
    assert loaded(warm.home, *line.split()).isdisjoint(HEAVY)


@pytest.mark.parametrize("line", ["status", "journal"])
def test_a_table_needs_no_numpy_either(line: str, traded: Cli) -> None:
    modules = loaded(traded.home, line)
    assert "rich.table" in modules
    assert modules.isdisjoint(set(HEAVY) - {"rich"})


def test_to_resume_what_is_paused_needs_no_numpy(traded: Cli) -> None:
    assert loaded(traded.home, "pause").isdisjoint(HEAVY)
    assert loaded(traded.home, "resume").isdisjoint(HEAVY)
