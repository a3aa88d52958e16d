"""A small market, a small model, a small tape; all skipped where the training libraries are not installed."""

from __future__ import annotations

import pytest

for name in ("torch", "stable_baselines3", "gymnasium", "hmmlearn", "optuna"):
    pytest.importorskip(name)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report's plots are most of a small training's time; few tests look at them."""
    monkeypatch.setattr("oracle_batch.training.report.page", lambda *_: "a page")
