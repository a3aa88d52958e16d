"""Which models there are, without NumPy: from the compiled copies, else from the bundles themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.identity import Identity, identify, identify_all
from oracle_batch.errors import BundleError
from tests.bundle.build import make_bundle

PROGRAM = """
import sys
from pathlib import Path
from oracle_batch.bundle.identity import identify_all
known, refused = identify_all(Path(sys.argv[1]), Path(sys.argv[2]))
print(len(known), len(refused), "numpy" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One bundle, not compiled yet."""
    make_bundle(tmp_path)
    return tmp_path


@pytest.mark.parametrize("compiled_before", [False, True])
def test_the_identity_is_the_models_own(folder: Path, tmp_path: Path, compiled_before: bool) -> None:
    (path,) = folder.glob("*.zip")
    cache = tmp_path / "compiled"
    model = load_model(path, cache if compiled_before else None)
    assert identify(path, cache) == Identity(
        model.model_id, model.symbol, model.broker_symbol, model.timeframe, model.sha256
    )


def test_a_look_compiles_nothing(folder: Path, tmp_path: Path) -> None:
    identify_all(folder, tmp_path / "compiled")
    assert not (tmp_path / "compiled").exists()


@pytest.mark.parametrize("spoil", [lambda data: data[:-40], lambda data: b"nonsense", lambda data: b""])
def test_a_damaged_copy_is_passed_over(folder: Path, tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    (path,) = folder.glob("*.zip")
    cache = tmp_path / "compiled"
    before = load_model(path, cache)
    (copy,) = cache.iterdir()
    copy.write_bytes(spoil(copy.read_bytes()))
    assert identify(path, cache).sha256 == before.sha256


def test_a_bundle_that_is_refused_is_told_and_stops_no_other(folder: Path, tmp_path: Path) -> None:
    (path,) = folder.glob("*.zip")
    (folder / "GBPUSD_H1.zip").write_bytes(b"no bundle")
    known, refused = identify_all(folder, tmp_path / "compiled")
    assert list(known) == [path.stem]
    assert isinstance(refused["GBPUSD_H1"], BundleError)


def test_a_renamed_bundle_is_refused_whatever_the_cache_has(folder: Path, tmp_path: Path) -> None:
    (path,) = folder.glob("*.zip")
    cache = tmp_path / "compiled"
    load_model(path, cache)
    renamed = path.rename(folder / "GBPUSD_H1.zip")
    with pytest.raises(BundleError):
        identify(renamed, cache)


def test_with_compiled_copies_numpy_stays_away(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    (path,) = folder.glob("*.zip")
    load_model(path, cache)
    child = subprocess.run([sys.executable, "-c", PROGRAM, folder, cache], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["1", "0", "False"]
