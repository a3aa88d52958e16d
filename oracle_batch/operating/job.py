"""What every operator's command is asked to work on."""

from __future__ import annotations

from dataclasses import dataclass

from oracle_batch.clock import Clock
from oracle_batch.config import Settings
from oracle_batch.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Job:
    """Where a command works, on which accounts, and when."""

    workspace: Workspace
    settings: Settings
    clock: Clock
