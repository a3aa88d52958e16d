"""A small market, a small model, a small tape; all skipped where the training libraries are not installed."""

from __future__ import annotations

import pytest

for name in ("torch", "stable_baselines3", "gymnasium", "hmmlearn", "optuna"):
    pytest.importorskip(name)
