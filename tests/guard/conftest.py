"""Fixtures for the guard's scenarios."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tick.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "home")


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability has its own tests (tests/store); here it would only be waited for."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
