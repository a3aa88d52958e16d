"""What was tried before this model was chosen, as far as it is on record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from oracle_batch.training.honesty.chance import sharpe_rows
from oracle_batch.training.honesty.overfitting import BLOCKS, probability_of_overfitting
from oracle_batch.training.trials import Trial, TrialLog

LEAST_SEEDS: Final = 5


@dataclass(frozen=True, slots=True)
class Trials:
    """``count`` are all trials. ``sharpes`` are annual Sharpe ratios on the validation part, of those that were made
    from the same bars as the last one; ``overfitting`` as by CSCV, None where they do not differ.

    ``seeds`` are count, median, lowest and highest Sharpe ratio of the seeds of the final training.
    """

    count: int = 0
    sharpes: tuple[float, ...] = ()
    overfitting: float | None = None
    seeds: dict[str, float] | None = None


def trials_beside(bundle: Path, model_id: str) -> Trials:
    """The trials recorded in ``trials/`` beside a bundle; none where there is no record.

    Raises:
        DataError: a line of the record is no trial.
    """
    return trials_of(TrialLog(bundle.parent, model_id).read())


def trials_of(found: list[Trial]) -> Trials:
    """What a record of trials says."""
    if not found:
        return Trials()
    days = len(found[-1].daily)
    same = [np.array(one.daily) for one in found if _on_the_same_days(one, found[-1])]
    different = np.unique(np.stack(same, axis=1), axis=1)
    overfitting = None
    if different.shape[1] >= 2 and days >= 2 * BLOCKS:
        overfitting = probability_of_overfitting(different)
    seeds = [float(sharpe_rows(np.array(one.daily))) for one in final_seeds(found) if len(one.daily) > 1]
    return Trials(
        len(found),
        tuple(float(sharpe_rows(one)) for one in same if days > 1),
        overfitting,
        {
            "count": float(len(seeds)),
            "median_sharpe": float(np.median(seeds)),
            "lowest_sharpe": min(seeds),
            "highest_sharpe": max(seeds),
        }
        if seeds
        else None,
    )


def _on_the_same_days(one: Trial, other: Trial) -> bool:
    return one.bars_sha256 == other.bars_sha256 and len(one.daily) == len(other.daily)


def final_seeds(found: list[Trial]) -> list[Trial]:
    """The seeds of the training that was recorded last, each once; those of earlier ones are trials like any other."""

    def training(one: Trial) -> object:
        return one.kind == "seed", one.time, one.bars_sha256, one.parameters

    seeds = [one for one in found if one.kind == "seed"]
    return list({one.seed: one for one in seeds if training(one) == training(seeds[-1])}.values())
