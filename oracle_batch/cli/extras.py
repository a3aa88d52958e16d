"""Commands that need more than the trading install has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from oracle_batch.errors import UsageError

TRAINING: Final = ("torch", "stable_baselines3", "gymnasium", "hmmlearn", "pandas", "matplotlib", "optuna", "empyrical")


def needs_training() -> None:
    """Refuse where the extra ``train`` is not installed.

    Raises:
        UsageError: naming what is missing.
    """
    missing = [name for name in TRAINING if find_spec(name) is None]
    if missing:
        raise UsageError(f"needs {', '.join(missing)}", fix="pip install 'oracle-batch[train]'")
