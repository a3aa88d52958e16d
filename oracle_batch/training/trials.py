"""Every trial is on record: who searches long finds something, and only the number of trials tells what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from oracle_batch.errors import DataError
from oracle_batch.training.checkpoint import identity_of
from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.parameters import TrainingParameters
from oracle_batch.training.prepare import Prepared
from oracle_batch.training.score import Score


class Trial(msgspec.Struct, frozen=True):
    """One fitted policy. ``kind``: a trial of a search, or a seed of a final training.

    ``daily`` are the changes of equity of the validation part's days, in account currency. ``identity`` is all that
    the result depends on; older records have none.
    """

    time: str
    model: str
    kind: Literal["trial", "seed"]
    seed: int
    bars_sha256: str
    parameters: dict[str, Any]
    steps: int
    validation: Score
    daily: list[float]
    identity: str = ""


_DECODER = msgspec.json.Decoder(Trial)


def trial_of(prepared: Prepared, policy: FittedPolicy, kind: Literal["trial", "seed"], now: str) -> Trial:
    """The record of a fitted policy; of its parameters only what is not the default."""
    return Trial(
        now,
        prepared.model_id,
        kind,
        policy.seed,
        prepared.history.sha256,
        unusual(prepared.parameters),
        policy.best.steps,
        policy.best.validation,
        policy.daily,
        identity_of(prepared.parameters, prepared.costs, prepared.history.sha256, policy.seed),
    )


def unusual(parameters: TrainingParameters) -> dict[str, Any]:
    """The parameters that differ from their defaults, by section."""
    given, usual = msgspec.to_builtins(parameters), msgspec.to_builtins(TrainingParameters())
    found: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, dict):
            value = {key: one for key, one in value.items() if one != usual[name][key]}
        if value and value != usual[name]:
            found[name] = value
    return found


class TrialLog:
    """``OUT/trials/MODEL.jsonl``: one JSON object a line, only ever added to."""

    def __init__(self, out: Path, model_id: str) -> None:
        self.path = out / "trials" / f"{model_id}.jsonl"

    def read(self) -> list[Trial]:
        """All trials of this model.

        Raises:
            DataError: a line is no trial.
        """
        if not self.path.is_file():
            return []
        try:
            return _DECODER.decode_lines(self.path.read_bytes())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = f"holds a line that is no trial: {error}"
            raise DataError(why, file=self.path, fix="repair it, or move it away") from None

    def add(self, trials: list[Trial]) -> None:
        """Append to the record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(msgspec.json.Encoder().encode_lines(trials))
