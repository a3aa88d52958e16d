"""What outside checks found: memory settings, lost tails, deep revisions, disks that refuse one model's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.errors import StateError
from oracle_batch.store import files
from oracle_batch.tick import tick
from oracle_batch.world import Job
from tests.tick.lab import Lab, came_to, outcome, run
from tests.tick.test_sync_scenarios import EURUSD, OPENED, opened


def test_the_command_sets_the_process_up_lean_before_arrow_and_numpy_come_in(tmp_path: Path) -> None:
    code = (
        "import os, sys; from oracle_batch.cli import run; run(['--version']);"
        "print({n: os.environ.get(n) for n in ('ARROW_DEFAULT_MEMORY_POOL', 'OPENBLAS_NUM_THREADS')}, "
        "'numpy' in sys.modules, 'pyarrow' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARROW_", "OPENBLAS_"))}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True)
    last = found.stdout.splitlines()[-1]
    assert last == "{'ARROW_DEFAULT_MEMORY_POOL': 'system', 'OPENBLAS_NUM_THREADS': '1'} False False"


def test_a_last_journal_line_torn_after_the_books_had_it_is_cut_and_reported(lab: Lab) -> None:
    opened(lab, "L1 W L1")
    path = next(lab.workspace.journal_folder("paper").iterdir())
    path.write_bytes(path.read_bytes()[:-7])
    assert came_to(lab.tick(2), EURUSD)[0] == "NOOP"
    assert len(lab.events("journal_torn")) == 1
    assert came_to(lab.tick(3), EURUSD) == ("CLOSE", "OK", None)
    assert len(lab.deals()) == 2


def test_a_journal_that_lost_whole_lines_stops_the_account(lab: Lab) -> None:
    opened(lab, "L1 W")
    path = next(lab.workspace.journal_folder("paper").iterdir())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(StateError, match="though the books have taken in"):
        lab.tick(2)


@pytest.mark.parametrize("ago", [20, 60, 200])
def test_a_revision_further_back_than_the_twin_remembers_rebuilds_it(lab: Lab, ago: int) -> None:
    opened(lab, "L1 L1 L1")
    lab.change(EURUSD, 2 - ago, volume=50.0)
    lab.tick(2)
    lab.say(EURUSD, 3 - ago, "L2")
    assert outcome(lab.tick(3), EURUSD).error is None
    assert lab.window(EURUSD).bars.equals(lab.bars[EURUSD][lab.bars[EURUSD].time <= lab.time(EURUSD, 3)])
    assert [one.detail["bar_time"] for one in lab.events("bar_revised")] == [
        lab.time(EURUSD, 2 - ago),
        lab.time(EURUSD, 3 - ago),
    ]
    assert lab.events("twin_rebuilt")


@pytest.mark.parametrize("folder", ["bars", "twin"])
def test_a_file_that_cannot_be_written_costs_its_own_model_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    other = lab.add("GBPUSD", "M15", "W L1 L1 W")
    lab.add("EURUSD", "M15", "W L1 L1 W")
    lab.tick(0)
    real = files._write_new

    def refuse(temp: Path, data: bytes) -> None:
        if temp.parent.name == folder and other in temp.name:
            raise PermissionError(13, "Permission denied")
        real(temp, data)

    monkeypatch.setattr(files, "_write_new", refuse)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == OPENED
    assert other in (outcome(report, other).error or "")
    assert report.exit_code == 1
    assert lab.twin(EURUSD).state.bar_time == lab.time(EURUSD, 1)
    assert lab.books().models[EURUSD].position is not None
    monkeypatch.setattr(files, "_write_new", real)
    lab.tick(2)
    assert len(lab.deals()) == 2
    assert lab.twin(other).state.bar_time == lab.time(other, 2)


def test_a_run_that_fails_as_a_whole_still_prints_its_object(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "home")
    opened(lab, "L1")
    lab.workspace.executor_path("paper").write_bytes(b"{")
    found = subprocess.run(
        [sys.executable, "-m", "oracle_batch", "--home", lab.workspace.home, "tick", "--now", "1704674701", "--json"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    document = json.loads(found.stdout)
    assert found.returncode == document["exit_code"] == 65
    assert document["models"] == {}
    assert set(document) == {"now", "account", "models", "accounts", "timing_ms", "peak_rss_mb", "exit_code"}


def test_status_names_a_damaged_journal(lab: Lab) -> None:
    from oracle_batch.surveying import read_status

    opened(lab, "L1")
    path = next(lab.workspace.journal_folder("paper").iterdir())
    path.unlink()
    problem = read_status(lab.workspace, lab.settings, lab.clock.now()).accounts["paper"].problem
    assert problem is not None
    assert "is missing, though the books refer to it" in problem


def test_a_dry_run_after_a_tear_leaves_the_journal_alone(lab: Lab) -> None:
    opened(lab, "L1")
    path = next(lab.workspace.journal_folder("paper").iterdir())
    torn = path.read_bytes()[:-7]
    path.write_bytes(torn)
    lab.clock.instant = lab.close_of(2) + 1
    run(tick(Job(lab.workspace, lab.settings, lab.clock, dry_run=True)))
    assert path.read_bytes() == torn
