"""What an install gets: metadata, lock files, make targets, cron lines. Nothing here uses the network."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import oracle_batch

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = ("runtime.lock", "train-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

BROKER_MESSAGES = """
import importlib, importlib.machinery, importlib.util, sys

name = "ctrader_open_api"
bare = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None, is_package=True))
bare.__path__ = importlib.util.find_spec(name).submodule_search_locations
sys.modules[name] = bare
for part in ("OpenApiCommonModelMessages", "OpenApiCommonMessages", "OpenApiModelMessages", "OpenApiMessages"):
    messages = importlib.import_module(f"{name}.messages.{part}_pb2")
order = messages.ProtoOANewOrderReq(ctidTraderAccountId=1, symbolId=2, orderType=1, tradeSide=1, volume=100000)
assert messages.ProtoOANewOrderReq.FromString(order.SerializeToString()) == order
assert not {"twisted", "requests"} & set(sys.modules)
"""


def locked(name: str) -> dict[str, Version]:
    """The version of each package in a lock file, by canonical name."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (REQUIREMENTS / name).read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(package): Version(version) for package, version in pins}


def requirements(lines: list[str]) -> list[Requirement]:
    """The requirements among the lines of a requirements file."""
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The package as an ordinary install would get it, built by its own build backend."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "LICENSE", *([PROJECT["readme"]] if "readme" in PROJECT else [])):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "oracle_batch", source / "oracle_batch", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    child = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return zipfile.Path(source / "dist" / child.stdout.splitlines()[-1])


def wheel_file(wheel: zipfile.Path, name: str) -> str:
    return (wheel / f"oracle_batch-{oracle_batch.__version__}.dist-info" / name).read_text(encoding="utf-8")


def test_the_metadata_says_what_the_project_is(wheel: zipfile.Path) -> None:
    metadata = email.message_from_string(wheel_file(wheel, "METADATA"))
    assert metadata["Name"] == "oracle-batch"
    assert metadata["Version"] == oracle_batch.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "oracle-batch = oracle_batch.cli:main" in wheel_file(wheel, "entry_points.txt").splitlines()


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: zipfile.Path) -> None:
    with zipfile.ZipFile(wheel.root.filename) as archive:  # type: ignore[arg-type]
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "oracle_batch").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {path.relative_to(ROOT).as_posix() for path in files}


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{oracle_batch.__version__}]" in text or "## [Unreleased]" in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str) -> None:
    lines = (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines()
    pins = [number for number, line in enumerate(lines) if line and not line.startswith((" ", "#"))]
    assert len(pins) > 20
    for number in pins:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)? \\", lines[number])
        assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", lines[number + 1])


@pytest.mark.parametrize("name", [path.name for path in sorted(REQUIREMENTS.iterdir())])
def test_no_file_says_where_packages_come_from(name: str) -> None:
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.mark.parametrize("name", LOCKS)
def test_the_locks_lift_the_pins_of_the_broker_package(name: str) -> None:
    versions = locked(name)
    overrides = requirements((REQUIREMENTS / "overrides.txt").read_text(encoding="utf-8").splitlines())
    assert {override.name for override in overrides} == {"twisted", "protobuf", "pyopenssl", "requests"}
    for override in overrides:
        assert override.specifier.contains(versions[canonicalize_name(override.name)])
    assert versions["ctrader-open-api"] == Version("0.9.2")
    assert "service-identity" in versions, "Twisted verifies no certificate without it"


@pytest.mark.parametrize("name", LOCKS)
def test_the_locks_hold_every_declared_dependency(name: str) -> None:
    versions = locked(name)
    for dependency in requirements(PROJECT["dependencies"]):
        assert dependency.specifier.contains(versions[canonicalize_name(dependency.name)]), dependency


def test_typer_stays_below_the_release_that_needs_pydantic() -> None:
    versions = locked("runtime.lock")
    assert versions["typer"] < Version("0.29")
    assert "pydantic" not in versions


def test_training_and_testing_use_the_runtime_versions() -> None:
    runtime, everything = locked("runtime.lock"), locked("train-dev.lock")
    assert runtime.items() <= everything.items()


def test_torch_is_pinned_apart_and_brings_no_cuda_into_the_lock() -> None:
    (torch,) = requirements((REQUIREMENTS / "torch.txt").read_text(encoding="utf-8").splitlines())
    assert re.fullmatch(r"torch==[0-9.]+", str(torch))
    assert not [name for name in locked("train-dev.lock") if name == "torch" or name.startswith(("nvidia", "cuda"))]
    for extra in ("train", "dev"):
        names = {canonicalize_name(need.name) for need in requirements(PROJECT["optional-dependencies"][extra])}
        assert names - {"torch"} <= set(locked("train-dev.lock"))


def test_the_runtime_lock_is_free_of_the_training_stack() -> None:
    training = {"torch", "stable-baselines3", "gymnasium", "hmmlearn", "pandas", "scipy", "matplotlib"}
    assert not training & set(locked("runtime.lock"))


def test_the_broker_messages_run_on_the_installed_protobuf() -> None:
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", BROKER_MESSAGES], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr


def steps(target: str, venv: Path) -> str:
    """What make would run for a target in a checkout without an environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", f"VENV={venv}", target]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("test", "-m pytest -n auto --dist worksteal --cov --cov-report=term --cov-fail-under=90"),
        ("test-long", "-m pytest -n auto --dist worksteal"),
        ("check", "mypy"),
        ("check", "ruff format --check"),
        ("check", "-m pytest"),
        ("bench", "python bench/run.py"),
    ],
)
def test_a_target_builds_the_whole_environment_first(target: str, command: str, tmp_path: Path) -> None:
    plan = steps(target, tmp_path / "venv")
    order = ("-m venv", "runtime.lock", "--editable .", "train-dev.lock", "torch.txt", command)
    places = [plan.index(step) for step in order]
    assert places == sorted(places)


def test_the_demo_needs_the_runtime_only(tmp_path: Path) -> None:
    plan = steps("demo", tmp_path / "venv")
    assert "install --no-deps --require-hashes -r requirements/runtime.lock" in plan
    assert plan.index("runtime.lock") < plan.index("oracle-batch demo")
    assert "torch" not in plan
    assert "train-dev" not in plan


def test_ci_runs_the_test_command_and_the_checks() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = script.read_text(encoding="utf-8").splitlines()
    assert [one for one in commands if one.startswith(("make", "wait"))] == [
        "make .venv/runtime.stamp",
        "make .venv-pinned/stamp &",
        "make test",
        'wait "$pinned"',
        "make static &",
        "make test-pinned",
        'wait "$static"',
    ]
    assert "set -euo pipefail" in commands, "whichever of them fails, it fails"


def test_what_the_pinned_run_leaves_out_imports_neither_protobuf_nor_twisted() -> None:
    (pattern,) = re.findall(r"--ignore-glob='(\S+)'", (ROOT / "Makefile").read_text(encoding="utf-8"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(ROOT.glob(pattern))]
    assert modules
    program = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.startswith(('google.protobuf', 'twisted'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
