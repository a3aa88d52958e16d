"""Fixtures for the bundle tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_MODELS = Path(__file__).parents[3] / "shared" / "models"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real samples, which a plain checkout does not have."""
    if not SHARED_MODELS.is_dir():
        pytest.skip("the real sample bundles are not here")
    return SHARED_MODELS
