"""The README is true: its commands run in the order in which they stand, its outputs look as they are shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from oracle_batch.cli import register

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
NEEDS_NETWORK = re.compile(r"^(make|pip|python3 -m venv)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its lines."""

    language: str
    lines: tuple[str, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        if self.language == "console":
            return tuple(line.removeprefix("$ ") for line in self.lines if line.startswith("$ "))
        return self.lines if self.language == "bash" else ()


BLOCKS = [
    Block(language, tuple(body.splitlines()))
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
]
COMMANDS = [command for block in BLOCKS for command in block.commands]
LOCAL = [command for command in COMMANDS if not NEEDS_NETWORK.match(command)]


def shown_after(mark: str) -> list[str]:
    """The block that follows a comment in the README."""
    body = re.search(rf"<!-- {mark} -->\n```text\n(.*?)```", TEXT, re.DOTALL)
    assert body is not None
    return body[1].splitlines()


def shape(lines: list[str]) -> list[str]:
    """Lines without what differs between two runs or two markets: numbers, signals, outcomes."""
    kept = []
    for line in lines:
        words = re.split(r"\s{2,}", line.strip())
        kept.append("─" if set(line.strip()) == {"─"} else re.sub(r"[\d,.+-]+", "0", words[0]))
    return kept


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One shell that runs every local command of the README, in a folder with what a reader has."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copy(ROOT / "models" / "EURUSD_M15.zip", folder)
    pyarrow.csv.write_csv(pyarrow.parquet.read_table(ROOT / "data" / "EURUSD_M15.parquet"), folder / "EURUSD_M15.csv")
    program = folder / "bin" / "oracle-batch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m oracle_batch "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORACLE_")}
    environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-euc", "\n".join(LOCAL)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,  # its end is what ends the simulator
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_readme_has_commands_to_run() -> None:
    assert len(LOCAL) >= 12
    assert all(block.commands for block in BLOCKS if block.language in ("bash", "console"))


def test_every_local_command_runs(session: subprocess.CompletedProcess[str]) -> None:
    assert session.returncode == 0, session.stderr
    assert " ERROR " not in session.stderr


def test_the_first_real_run_trades(session: subprocess.CompletedProcess[str]) -> None:
    assert "added EURUSD, disabled" in session.stderr
    assert "ACK|EURUSD|" in session.stderr
    assert "|OK|T:" in session.stderr


def test_the_status_table_looks_as_shown(session: subprocess.CompletedProcess[str]) -> None:
    printed = session.stdout.splitlines()
    start = next(number for number, line in enumerate(printed) if line.startswith("account paper"))
    shown = shown_after("status")
    assert shape(printed[start : start + len(shown)]) == shape(shown)
    assert printed[start + 1].split() == shown[1].split()


def test_make_runs_what_the_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}: ", makefile, re.MULTILINE), command
    assert re.search(r"^demo: .*\n\t\$\(BIN\)/oracle-batch demo$", makefile, re.MULTILINE)


def test_the_locked_install_is_the_one_that_make_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (locked,) = [command for command in COMMANDS if "--require-hashes" in command]
    libraries, _, package = locked.partition(" && ")
    assert libraries.replace("pip ", "$(PIP) ", 1) in makefile
    assert package.replace("pip ", "$(PIP) ", 1).replace(" .", " --editable .") in makefile


def test_every_command_is_in_the_table_and_every_row_is_a_command() -> None:
    rows = re.findall(r"^\| `oracle-batch (\w+)(.*?)\|", TEXT, re.MULTILINE)
    told = {name for name, _ in rows} | {"resume" for name, rest in rows if name == "pause" and "`resume`" in rest}
    assert told == set(register.COMMANDS)


def test_the_exit_codes_are_the_errors_own() -> None:
    from oracle_batch import cli, errors

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    told = {int(code) for code in re.findall(r"^\| (\d+) \| ", TEXT, re.MULTILINE)}
    assert told == codes | {0, cli.EXIT_USAGE, cli.EXIT_INTERRUPTED}


def test_the_file_table_names_what_a_run_leaves(session: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    from oracle_batch.store.workspace import Workspace

    workspace = Workspace(Path())
    told = " ".join(re.findall(r"^\| `(state/.*?)` \|", TEXT, re.MULTILINE))
    for path in (
        workspace.lock, workspace.bars_path("MODEL"), workspace.twin_path("MODEL"), workspace.executor_path("ACCOUNT"),
        workspace.journal_folder("ACCOUNT"), workspace.paper_path("ACCOUNT"), workspace.compiled, workspace.paused,
    ):  # fmt: skip
        assert str(path) in told


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_nothing_is_wider_than_a_page() -> None:
    assert all(len(line) <= 160 for line in TEXT.splitlines())
