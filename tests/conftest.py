"""What holds for every test."""

from __future__ import annotations

import compileall
import os
import signal
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

PACKAGE = Path(__file__).resolve().parents[1] / "oracle_batch"


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes that tests start byte code, as an installed program has: it costs time and memory to make."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(PACKAGE, quiet=2)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: now and then each test waits for something."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count no lines where the same ones are gone over and over again: it makes that half as long again."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)) or item.get_closest_marker("slow"):
            item.add_marker("no_cover")


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No coverage of the processes that the test starts: counting lines takes memory."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that started the suite in the background; children would inherit it and could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise, by `nohup`
