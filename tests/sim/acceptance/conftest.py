from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.acceptance.world import World, each_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A workspace; ``start`` puts the simulator behind it."""
    yield from each_world(tmp_path / "home", monkeypatch)
