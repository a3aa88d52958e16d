"""What is audited: a bundle over bars, and what its brain sees and says there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bars import Bars
from oracle_batch.brain import policy
from oracle_batch.bundle.model import Decoding, Model
from oracle_batch.training.backtest.lives import Life, Sight, live, observations, see
from oracle_batch.training.boundaries import Boundaries, boundaries_of
from oracle_batch.types import WINDOW

Float32 = NDArray[np.float32]
LEAST_BARS = 2 * WINDOW
"""Fewer bars say nothing about a model."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A bundle, its metadata, the bars, and the model's life over them from the 350th on."""

    model: Model
    metadata: Mapping[str, Any]
    bars: Bars
    sight: Sight
    life: Life
    boundaries: Boundaries

    def logits(self, sight: Sight | None = None) -> Float32:
        """Logits on each row, the twin being where it was: (T, 7). ``sight`` may show the market otherwise."""
        rows = observations(sight or self.sight, self.life)
        found: Float32 = policy.logits(policy.stack_policies([self.model.policy]), rows[None])[0]
        return found

    def part(self, name: str) -> NDArray[np.bool_]:
        """Rows of the ``train`` part, or of those ``after`` it; all False where that is not known."""
        until, since = self.boundaries.trained_until, self.boundaries.trained_from
        time = self.sight.time
        if until is None:
            return np.zeros(len(time), np.bool_)
        return (time <= until) & (time >= (since or 0)) if name == "train" else time > until


def look(model: Model, metadata: Mapping[str, Any], bars: Bars) -> Subject:
    """Let a model live through the bars.

    Raises:
        BarError: too few bars.
    """
    sight = see(model, bars)
    return Subject(model, metadata, bars, sight, live(sight), boundaries_of(metadata, bars))


def as_if(subject: Subject, decoding: Decoding, rows: int) -> Sight:
    """What the model would see of the last ``rows`` rows with another decoding."""
    bars = subject.bars[-(rows + WINDOW - 1) :]
    found = see(replace(subject.model, decoding=decoding), bars)
    return replace(found, model=subject.model)
