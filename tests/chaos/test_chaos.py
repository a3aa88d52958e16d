"""The campaigns in small, each run. They have a process of their own: no threads, and nothing that measures it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ptrace import elsewhere

ROOT = Path(__file__).parents[2]
POINTS = 4
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(elsewhere(), reason="system calls are stopped on Linux x86-64 only"),
]


def chaos(*arguments: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_whatever_dies_or_fails_the_next_runs_come_to_what_an_undisturbed_run_comes_to() -> None:
    found = chaos("--per", str(POINTS), "--seed", "5")
    assert found["orders"] == 20
    assert [one["points"] for one in found["campaigns"].values()] == [POINTS] * 10
    assert found["campaigns"]["kill"]["of"] > 900
    assert found["campaigns"]["armed"]["of"] > 900
    assert found["kills"] > 6 * POINTS
    assert found["recoveries"] >= 9 * POINTS
    assert (found["duplicates"], found["lost"], found["violations"]) == (0, 0, 0)


def test_planted_bugs_are_caught() -> None:
    found = chaos("--planted")["planted"]
    assert found["resend"]["duplicates"] > 0
    for name in ("unrecorded", "early", "unsynced", "forgetful"):
        assert found[name]["violations"] > 0, name
