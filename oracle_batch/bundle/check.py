"""What is in a bundle, and every reason why it is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from oracle_batch.bundle.files import read_file
from oracle_batch.bundle.model import FeatureParams, PolicyNet, TrainingCosts
from oracle_batch.bundle.problems import Problems
from oracle_batch.bundle.read import Member, Reading, read_bundle
from oracle_batch.errors import BundleError


class Refusal(msgspec.Struct, frozen=True):
    """One reason: the metadata key or member, what is wrong with it, and what to do."""

    field: str | None
    message: str
    fix: str | None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Net(msgspec.Struct, frozen=True):
    """The actor: layer widths from inputs to logits, the activation between them, and how many numbers it holds."""

    layers: tuple[int, ...]
    activation: str
    parameters: int

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.layers))} {self.activation}"


class BundleReport(msgspec.Struct, frozen=True):
    """A bundle described. Parts that could not be read are null; ``refused`` is empty when the bundle is good."""

    file: str
    ok: bool
    bytes: int | None
    sha256: str | None
    model_id: str | None
    format_version: str | None
    symbol: str | None
    broker_symbol: str | None
    timeframe: str | None
    n_states: int | None
    covariance_type: str | None
    decoding: str | None
    observation_pnl: str | None
    net: Net | None
    training_costs: TrainingCosts | None
    features: FeatureParams | None
    members: list[Member]
    refused: list[Refusal]


def check_bundle(path: Path) -> BundleReport:
    """Read a bundle from start to end and report. Never raises for what is in the file, nor for a missing one."""
    return check_bytes(path)[0]


def check_bytes(path: Path) -> tuple[BundleReport, bytes]:
    """The report, and the very bytes that it is about (empty when the file cannot be read)."""
    problems = Problems(path)
    try:
        data = read_file(path)
    except BundleError as error:
        problems.found.append(error)
        return _report(path, None, Reading(), problems), b""
    if path.suffix != ".zip":
        problems.add(None, "is not named .zip", "name it SYMBOL_TF.zip")
    reading = read_bundle(data, path.stem, problems)
    return _report(path, data, reading, problems), data


def _report(path: Path, data: bytes | None, reading: Reading, problems: Problems) -> BundleReport:
    metadata, regime = reading.metadata, reading.regime
    return BundleReport(
        file=str(path),
        ok=not problems,
        bytes=None if data is None else len(data),
        sha256=None if data is None else hashlib.sha256(data).hexdigest(),
        model_id=metadata.model_id if metadata else None,
        format_version=metadata.format_version if metadata else None,
        symbol=metadata.symbol if metadata else None,
        broker_symbol=metadata.broker_symbol if metadata else None,
        timeframe=metadata.timeframe if metadata else None,
        n_states=regime.n_states if regime else None,
        covariance_type=reading.covariance_type,
        decoding=metadata.decoding if metadata else None,
        observation_pnl=metadata.observation_pnl if metadata else None,
        net=describe_net(reading.policy) if reading.policy else None,
        training_costs=metadata.costs if metadata else None,
        features=metadata.features if metadata else None,
        members=reading.members,
        refused=[Refusal(error.field, error.message, error.fix) for error in problems.found],
    )


def describe_net(policy: PolicyNet) -> Net:
    """The shape of an actor in numbers."""
    parameters = sum(array.size for array in (*policy.weights, *policy.biases))
    return Net(policy.shape, policy.activation, parameters)
