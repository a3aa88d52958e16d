"""The import rule: cli → tick → edges and pure → types, errors (DESIGN §2).

What the source says is read with ``ast``, imports inside functions included; what a start really loads is asked of a
fresh interpreter.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import oracle_batch

PACKAGE = Path(oracle_batch.__file__).parent

PURE = ("oracle_batch.brain", "oracle_batch.hands", "oracle_batch.bars", "oracle_batch.types", "oracle_batch.errors")
"""Functions of their inputs: no edge, no I/O."""
VALUES = ("oracle_batch.broker.base", "oracle_batch.bundle.model")
"""Plain values that pure modules and edges exchange; bound by the same rule."""
SETTINGS = "oracle_batch.config"
"""What the operator decided. Pure modules get it passed in; only under TYPE_CHECKING may they name its types."""
PURE_PARENTS = ("oracle_batch", "oracle_batch.broker", "oracle_batch.bundle")
"""Packages whose ``__init__`` runs when one of the above is imported."""

INPUT_OUTPUT = (
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fileinput", "mmap", "fcntl", "zipfile", "sqlite3"),
    *("socket", "ssl", "select", "selectors", "http", "urllib", "requests", "asyncio", "threading", "multiprocessing"),
    *("concurrent", "subprocess", "signal", "sys", "time", "random", "secrets", "uuid"),
    *("pyarrow", "filelock", "apscheduler", "typer", "rich"),
)
TWISTED = ("twisted", "OpenSSL", "service_identity")
PROTOBUF = ("google.protobuf", "ctrader_open_api")
TRAINING = (
    *("torch", "stable_baselines3", "hmmlearn", "gymnasium", "dask", "distributed", "pandas", "matplotlib"),
    *("optuna", "empyrical", "threadpoolctl"),
)

TWISTED_HOMES = ("oracle_batch.broker.ctrader", "oracle_batch.sim")
OPENAPI = "oracle_batch.openapi"
PROTOBUF_HOME = "oracle_batch.openapi.messages"
TRAINING_HOME = "oracle_batch.training"
EDGES = (
    "oracle_batch.broker",
    "oracle_batch.market",
    "oracle_batch.store",
    "oracle_batch.bundle",
    "oracle_batch.clock",
)
FRONT = ("oracle_batch.cli", "oracle_batch.tick")

NOT_AFTER_A_TICK = ("torch", "stable_baselines3", "hmmlearn", "pandas", "twisted", "google.protobuf")


def within(name: str, roots: str | tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the roots or below it.

    >>> within("twisted.internet", "twisted"), within("twistedpair", "twisted")
    (True, False)
    """
    return any(name == root or name.startswith(f"{root}.") for root in ((roots,) if isinstance(roots, str) else roots))


def sources() -> dict[str, str]:
    """The text of every module of the package, by dotted name (a package's is that of its ``__init__``)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(text: str, modules: set[str]) -> Iterator[tuple[str, bool]]:
    """What a module imports at any depth, and whether it does so for the type checker only.

    ``from package import module`` names the module, not the package.
    """
    tree = ast.parse(text)
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typing_only = {inner for check in checks for statement in check.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                named = name in modules or not within(origin, "oracle_batch")
                yield name if named else origin, node in typing_only


def opens_files(text: str) -> bool:
    """Whether a module calls the built-in ``open``."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
        for node in ast.walk(ast.parse(text))
    )


def breaks(module: str, name: str, typing_only: bool) -> str | None:
    """Why a module may not import a name, or None."""
    pure = within(module, PURE + VALUES) or module in PURE_PARENTS
    harmless = within(name, PURE + VALUES) or name in PURE_PARENTS or (typing_only and within(name, SETTINGS))
    if name.startswith("."):
        return "imports are absolute"
    if pure and within(name, "oracle_batch") and not harmless:
        return "a pure module imports no edge"
    if pure and within(name, INPUT_OUTPUT):
        return "a pure module does no I/O and knows neither time nor chance"
    if within(name, TWISTED) and not within(module, TWISTED_HOMES):
        return "Twisted stays in the cTrader broker and the simulator"
    if within(name, PROTOBUF) and module != PROTOBUF_HOME:
        return "protobuf stays in the module of the messages"
    if within(name, OPENAPI) and not within(module, (OPENAPI, *TWISTED_HOMES)):
        return "the Open API stays in the cTrader broker and the simulator"
    if within(name, TRAINING) and not within(module, TRAINING_HOME):
        return "the training stack stays in training"
    if within(module, PURE + EDGES) and within(name, FRONT):
        return "the command line and the tick use the parts, never the other way round"
    return None


def violations(texts: dict[str, str]) -> list[str]:
    """Every break of the rule in these modules, as lines to read."""
    modules = set(texts)
    broken = []
    for module, text in texts.items():
        for name, typing_only in imports(text, modules):
            if reason := breaks(module, name, typing_only):
                broken.append(f"{module} imports {name}: {reason}")
        if within(module, PURE + VALUES) and opens_files(text):
            broken.append(f"{module} opens a file: a pure module does no I/O")
    return broken


def test_the_package_keeps_the_rule() -> None:
    texts = sources()
    assert {"oracle_batch.types", "oracle_batch.errors", "oracle_batch.broker.base"} <= set(texts)
    assert violations(texts) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("oracle_batch.brain.features", "import pandas as pd"),
        ("oracle_batch.brain.twin", "from pathlib import Path"),
        ("oracle_batch.brain.twin", "def f():\n    import os.path"),
        ("oracle_batch.brain.policy", "weights = open('w')"),
        ("oracle_batch.hands.risk", "from oracle_batch.broker import paper"),
        ("oracle_batch.hands.risk", "from oracle_batch.broker.paper import PaperBroker"),
        ("oracle_batch.hands.sync", "from oracle_batch import store"),
        ("oracle_batch.hands.sync", "from oracle_batch.clock import Clock"),
        ("oracle_batch.hands.sync", "from . import sizing"),
        ("oracle_batch.hands.plan", "from oracle_batch.config import TickSettings"),
        ("oracle_batch.hands.plan", "if TYPE_CHECKING:\n    from oracle_batch.broker.paper import PaperBroker"),
        ("oracle_batch.broker", "from oracle_batch.broker.paper import PaperBroker"),
        ("oracle_batch.broker.paper", "from twisted.internet import reactor"),
        ("oracle_batch.broker.paper", "from oracle_batch.tick import run"),
        ("oracle_batch.broker.ctrader.session", "from google import protobuf"),
        ("oracle_batch.broker.wire", "import ctrader_open_api"),
        ("oracle_batch.openapi.frames", "import ctrader_open_api"),
        ("oracle_batch.openapi.messages", "import twisted"),
        ("oracle_batch.tick", "from oracle_batch.openapi import messages"),
        ("oracle_batch.store", "from oracle_batch.cli import main"),
        ("oracle_batch.tick", "def f():\n    from torch import nn"),
    ],
)
def test_a_planted_violation_is_found(module: str, line: str) -> None:
    package = dict.fromkeys(("oracle_batch.broker.paper", "oracle_batch.store", "oracle_batch.hands.sizing"), "")
    assert len(violations(package | {module: line})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("oracle_batch.brain.features", "import numpy as np\nfrom oracle_batch.types import WINDOW"),
        ("oracle_batch.hands.sizing", "from oracle_batch.broker.base import SymbolSpec"),
        ("oracle_batch.hands.plan", "if TYPE_CHECKING:\n    from oracle_batch.config import TickSettings"),
        ("oracle_batch.broker.ctrader.session", "from twisted.internet.protocol import Protocol"),
        ("oracle_batch.openapi.messages", "from google.protobuf.message import Message"),
        ("oracle_batch.sim.server", "from oracle_batch.openapi.messages import api"),
        ("oracle_batch.training.fit", "import torch\nfrom hmmlearn import hmm"),
        ("oracle_batch.cli", "from oracle_batch.tick import run"),
    ],
)
def test_what_the_design_allows_is_no_violation(module: str, line: str) -> None:
    assert violations({module: line}) == []


def loaded(modules: list[str], suspects: tuple[str, ...]) -> list[str]:
    """Which of the suspects a fresh interpreter holds after importing the modules."""
    program = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        "print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, json.dumps(modules), json.dumps(suspects)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: list[str] = json.loads(child.stdout.splitlines()[-1])
    return found


def test_nothing_on_the_way_to_a_tick_loads_training_twisted_or_protobuf() -> None:
    way = [
        name
        for name in sources()
        if not within(name, (OPENAPI, *TWISTED_HOMES, TRAINING_HOME)) and "__main__" not in name
    ]
    assert "oracle_batch.errors" in way
    assert loaded(way, NOT_AFTER_A_TICK) == []


def test_pure_modules_bring_no_edge_along() -> None:
    pure = [name for name in sources() if within(name, PURE + VALUES)]
    edges = ("oracle_batch.store", "oracle_batch.config", "oracle_batch.clock", "pyarrow", "filelock", "asyncio", "ssl")
    assert loaded(pure, edges) == []


def test_what_a_fresh_interpreter_loads_is_seen() -> None:
    assert loaded(["oracle_batch.clock"], ("oracle_batch.clock", "torch")) == ["oracle_batch.clock"]
