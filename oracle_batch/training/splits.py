"""Train, validation and test: three parts of a history in the order of time, none of which sees another.

Each part stands alone: its own first 350 bars fill the window and warm the twin up from flat, unscored. So no bar of
one part is looked at in another, not even as the history of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.errors import DataError
from oracle_batch.training.parameters import SplitParameters
from oracle_batch.types import utc

PartName = Literal["train", "validation", "test"]
PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
MIN_SCORED: Final = 50
"""Scored bars below which a part says nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows ``start`` to ``stop`` (exclusive) of a history; the first ``warmup`` of them are unscored."""

    name: PartName
    start: int
    stop: int
    warmup: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, bars: Bars) -> Bars:
        """The part's bars."""
        return bars[self.start : self.stop]

    def scored(self, bars: Bars) -> Bars:
        """Those of them that are scored."""
        return bars[self.start + self.warmup : self.stop]


def split(bars: Bars, parameters: SplitParameters, *, file: object = None) -> tuple[Part, Part, Part]:
    """The three parts of a history.

    Raises:
        DataError: a part would be too short to score anything.
    """
    count = len(bars)
    ends = np.round(np.cumsum([getattr(parameters, name) for name in PARTS]) * count).astype(int).tolist()
    starts = [0, *ends[:-1]]
    parts = tuple(
        Part(name, start, min(stop, count), parameters.warmup_bars)
        for name, start, stop in zip(PARTS, starts, ends, strict=True)
    )
    for part in parts:
        wanted = part.warmup + MIN_SCORED
        if len(part) < wanted:
            share = getattr(parameters, part.name)
            raise DataError(
                f"{count} bars leave {len(part)} for {part.name}, at least {wanted} are needed",
                file=file,
                field=f"split.{part.name}",
                fix=f"give at least {int(np.ceil((wanted + 1) / share))} bars",
            )
    refuse_overlap(parts, bars, file=file)
    return parts[0], parts[1], parts[2]


def refuse_overlap(parts: Sequence[Part], bars: Bars, *, file: object = None) -> None:
    """Each part must begin after the one before it has ended.

    Raises:
        DataError: naming both parts and the instant.
    """
    for before, after in pairwise(parts):
        if after.start < before.stop:
            raise DataError(
                f"{after.name} begins at {utc(bars.time[after.start])}, before {before.name} ends: overlapping splits",
                file=file,
                field=f"split.{after.name}",
                fix="let the parts follow each other",
            )
