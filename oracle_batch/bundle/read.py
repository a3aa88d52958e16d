"""A bundle's bytes brought to one model: metadata, regime and policy, every reason against it noted on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from oracle_batch.bundle.archive import MEBIBYTE, Archive, refuse_unknown
from oracle_batch.bundle.files import MAX_BUNDLE_BYTES
from oracle_batch.bundle.hmm import read_hmm
from oracle_batch.bundle.metadata import Metadata, read_metadata
from oracle_batch.bundle.model import Model, PolicyNet, RegimeModel
from oracle_batch.bundle.policy import read_policy
from oracle_batch.bundle.problems import Problems, shorten
from oracle_batch.bundle.unpickle import MAX_PICKLE_BYTES
from oracle_batch.errors import BundleError

MAX_MEMBER_BYTES: Final = 64 * MEBIBYTE
HMM_SUFFIX: Final = "_hmm.pkl"
POLICY_SUFFIX: Final = "_ppo.zip"
RUNTIME_SUFFIX: Final = "_runtime.npz"
"""Format 2.1: arrays for other programs. It is hashed here, never opened."""
_LIMITS: Final = {HMM_SUFFIX: MAX_PICKLE_BYTES, POLICY_SUFFIX: MAX_MEMBER_BYTES, RUNTIME_SUFFIX: MAX_MEMBER_BYTES}


@dataclass(frozen=True, slots=True)
class Member:
    """A member that could be read: its unpacked size, the bytes it takes in the ZIP, and its SHA-256 in hex."""

    name: str
    bytes: int
    stored_bytes: int
    sha256: str


@dataclass(slots=True)
class Reading:
    """What could be read of a bundle; a part that was refused is None."""

    metadata: Metadata | None = None
    regime: RegimeModel | None = None
    covariance_type: str | None = None
    policy: PolicyNet | None = None
    members: list[Member] = field(default_factory=list)

    def model(self, sha256: str) -> Model:
        """The whole model; only for a reading without problems."""
        metadata = self.metadata
        assert metadata is not None
        assert self.regime is not None
        assert self.covariance_type is not None
        assert self.policy is not None
        return Model(
            model_id=metadata.model_id,
            symbol=metadata.symbol,
            broker_symbol=metadata.broker_symbol,
            timeframe=metadata.timeframe,
            sha256=sha256,
            format_version=metadata.format_version,
            decoding=metadata.decoding,
            covariance_type=self.covariance_type,
            observation_pnl=metadata.observation_pnl,
            features=metadata.features,
            costs=metadata.costs,
            regime=self.regime,
            policy=self.policy,
        )


def read_bundle(data: bytes, stem: str, problems: Problems) -> Reading:
    """Everything in a bundle's bytes, noting what is wrong on the way. ``stem`` is the file name without ``.zip``."""
    reading = Reading()
    with problems.collecting():
        if len(data) > MAX_BUNDLE_BYTES:
            raise BundleError(f"has more than {MAX_BUNDLE_BYTES} bytes; no bundle is that large")
        archive = Archive(data)
        reading.metadata = read_metadata(archive.comment, stem, problems)
        _read_members(archive, stem, reading, problems)
    return reading


def member_names(identifier: str, format_version: str | None) -> tuple[str, ...]:
    """The members that a bundle may have: HMM, policy and, from format 2.1 on, the runtime arrays."""
    suffixes = (HMM_SUFFIX, POLICY_SUFFIX) if format_version == "2.0" else tuple(_LIMITS)
    return tuple(identifier + suffix for suffix in suffixes)


def _read_members(archive: Archive, stem: str, reading: Reading, problems: Problems) -> None:
    metadata = reading.metadata
    identifier = metadata.model_id if metadata else stem
    known = member_names(identifier, metadata.format_version if metadata else None)
    hashes = metadata.member_hashes if metadata else {}
    n_states = metadata.n_states if metadata else None
    for error in refuse_unknown(archive.names, known):
        problems.add(error.field, error.message, error.fix)
    _check_hash_names(archive, hashes, problems)
    for name in known:
        suffix = name.removeprefix(identifier)
        if suffix == RUNTIME_SUFFIX and name not in archive.names:
            continue
        with problems.collecting():
            data = archive.read(name, _LIMITS[suffix])
            member = Member(name, len(data), archive.stored_bytes(name), hashlib.sha256(data).hexdigest())
            reading.members.append(member)
            if hashes.get(name, member.sha256) != member.sha256:
                problems.add(name, "is not the member that the metadata's sha256 describes", "copy the file again")
            if suffix == HMM_SUFFIX:
                reading.regime, reading.covariance_type = read_hmm(data, name, n_states, problems) or (None, None)
            elif suffix == POLICY_SUFFIX:
                reading.policy = read_policy(data, name, n_states, problems)


def _check_hash_names(archive: Archive, hashes: dict[str, str], problems: Problems) -> None:
    """Where hashes are given, they cover the archive's members and nothing else."""
    if not hashes:
        return
    for name in archive.names:
        if name not in hashes:
            problems.add(f"sha256.{name}", "is missing; where hashes are given every member has one")
    for name in hashes:
        if name not in archive.names:
            problems.add(shorten(name), "is missing from the archive, though the metadata's sha256 names it")
