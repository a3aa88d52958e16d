"""FAILURE_MODES row 40, at the command line: state or secrets that everybody may write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oracle_batch import cli
from tests.tick.lab import Lab
from tests.tick.test_sync_scenarios import EURUSD


def newest_journal(lab: Lab) -> Path:
    return max(lab.workspace.journal_folder("paper").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (lambda lab: lab.workspace.executor_path("paper"), 65),
        (lambda lab: lab.workspace.paper_path("paper"), 65),
        (lambda lab: lab.workspace.twin_path(EURUSD), 1),
        (lambda lab: lab.workspace.bars_path(EURUSD), 1),
        (newest_journal, 65),
    ],
    ids=["books", "account", "twin", "bars", "journal"],
)
def test_row_40_what_everybody_may_write_is_refused_with_the_chmod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: Callable[[Lab], Path], code: int
) -> None:
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 S1 W")
    lab.tick(0)
    lab.tick(1)
    path, deals = file(lab), lab.deals()
    path.chmod(0o666)
    command = ["--home", str(lab.workspace.home), "tick", "--now", str(lab.close_of(2) + 1)]
    assert cli.run(command) == code
    assert f"chmod 600 {path}" in capsys.readouterr().err
    assert lab.deals() == deals
    path.chmod(0o600)
    assert cli.run(command) == 0
    assert len(lab.deals()) == 3
