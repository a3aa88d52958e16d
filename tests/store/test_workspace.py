"""One place knows the layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle_batch.errors import StateError
from oracle_batch.store.workspace import Workspace


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    paths = {
        "config/oracle.toml": workspace.config_file,
        "config/executor_symbols.json": workspace.executor_symbols,
        "config/symbols.json": workspace.symbols,
        "models/EURUSD_M15.zip": workspace.bundle_path("EURUSD_M15"),
        "state/lock": workspace.lock,
        "state/PAUSED": workspace.paused,
        "state/bars/EURUSD_M15.parquet": workspace.bars_path("EURUSD_M15"),
        "state/twin/EURUSD_M15.json": workspace.twin_path("EURUSD_M15"),
        "state/executor/paper.json": workspace.executor_path("paper"),
        "state/journal/paper": workspace.journal_folder("paper"),
        "state/paper/paper.json": workspace.paper_path("paper"),
        "state/compiled/ab12.npz": workspace.compiled_path("ab12"),
    }
    assert {str(path.relative_to(tmp_path)) for path in paths.values()} == set(paths)
    assert all(path == tmp_path / text for text, path in paths.items())


def test_a_fresh_folder_is_made_ready_and_state_is_private(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")
    workspace.ensure()
    workspace.ensure()
    for folder in (workspace.models, workspace.config, workspace.bars, workspace.twins, workspace.executors):
        assert folder.is_dir()
    assert workspace.state.stat().st_mode & 0o777 == 0o700
    assert workspace.clean() == 0


def test_a_world_writable_state_folder_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.ensure()
    workspace.twins.chmod(0o777)
    with pytest.raises(StateError, match="chmod 700"):
        workspace.ensure()


def test_a_file_in_a_folders_place_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="cannot create the folder"):
        Workspace(tmp_path).ensure()


def test_the_paused_flag_is_its_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.ensure()
    assert not workspace.is_paused()
    workspace.paused.touch()
    assert workspace.is_paused()


def test_temp_files_of_a_killed_run_are_cleaned(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.ensure()
    (workspace.bars / ".EURUSD_M15.parquet.77-0.tmp").write_bytes(b"half")
    (workspace.executors / ".paper.json.77-0.tmp").write_bytes(b"half")
    assert workspace.clean() == 2
    assert list(workspace.bars.iterdir()) == []
