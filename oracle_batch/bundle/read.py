"""A bundle's bytes brought to one model: metadata, regime and policy, every reason against it noted on the way."""

from __future__ import annotations

import hashlib
from typing import Final

from oracle_batch.bundle.archive import MAX_BUNDLE_BYTES, MEBIBYTE, Archive, refuse_unknown
from oracle_batch.bundle.hmm import read_hmm
from oracle_batch.bundle.metadata import Metadata, read_metadata
from oracle_batch.bundle.model import Model
from oracle_batch.bundle.policy import read_policy
from oracle_batch.bundle.problems import Problems
from oracle_batch.bundle.unpickle import MAX_PICKLE_BYTES

MAX_MEMBER_BYTES: Final = 64 * MEBIBYTE
_SUFFIX_LIMITS: Final = {"_hmm.pkl": MAX_PICKLE_BYTES, "_ppo.zip": MAX_MEMBER_BYTES, "_runtime.npz": MAX_MEMBER_BYTES}


def read_bundle(data: bytes, stem: str, sha256: str, problems: Problems) -> Model | None:
    """The model in a bundle's bytes; None after noting what is wrong. ``stem`` is the file name without ``.zip``."""
    before = len(problems.found)
    model: Model | None = None
    with problems.collecting():
        if len(data) > MAX_BUNDLE_BYTES:
            problems.add(None, f"has {len(data)} bytes, more than {MAX_BUNDLE_BYTES}", None)
            return None
        archive = Archive(data)
        metadata = read_metadata(archive.comment, stem, problems)
        model = _read_members(archive, metadata, metadata.model_id if metadata else stem, sha256, problems)
    return model if len(problems.found) == before else None


def member_names(identifier: str, format_version: str | None) -> tuple[str, ...]:
    """The members that a bundle may have: HMM, policy and, from format 2.1 on, the runtime arrays."""
    suffixes = list(_SUFFIX_LIMITS)
    return tuple(identifier + suffix for suffix in (suffixes[:2] if format_version == "2.0" else suffixes))


def _read_members(
    archive: Archive, metadata: Metadata | None, identifier: str, sha256: str, problems: Problems
) -> Model | None:
    known = member_names(identifier, metadata.format_version if metadata else None)
    for error in refuse_unknown(archive.names, known):
        problems.add(error.field, error.message, error.fix)
    hashes = metadata.member_hashes if metadata else {}
    _check_hash_names(archive, hashes, problems)
    n_states = metadata.n_states if metadata else None
    regime, net = None, None
    for name in known:
        suffix = name.removeprefix(identifier)
        if suffix == "_runtime.npz" and name not in archive.names:
            continue
        with problems.collecting():
            data = archive.read(name, _SUFFIX_LIMITS[suffix])
            if name in hashes and hashlib.sha256(data).hexdigest() != hashes[name]:
                problems.add(name, "is not the member that the metadata's sha256 describes", "copy the file again")
            if suffix == "_hmm.pkl":
                regime = read_hmm(data, name, n_states, problems)
            elif suffix == "_ppo.zip":
                net = read_policy(data, name, n_states, problems)
    if metadata is None or regime is None or net is None:
        return None
    return Model(
        model_id=metadata.model_id,
        symbol=metadata.symbol,
        broker_symbol=metadata.broker_symbol,
        timeframe=metadata.timeframe,
        sha256=sha256,
        format_version=metadata.format_version,
        decoding=metadata.decoding,
        covariance_type=regime[1],
        observation_pnl=metadata.observation_pnl,
        features=metadata.features,
        costs=metadata.costs,
        regime=regime[0],
        policy=net,
    )


def _check_hash_names(archive: Archive, hashes: dict[str, str], problems: Problems) -> None:
    """Where hashes are given, they cover the archive's members and nothing else."""
    if hashes and set(hashes) != set(archive.names):
        for name in archive.names:
            if name not in hashes:
                problems.add(f"sha256.{name}", "is missing; where hashes are given every member has one")
        for name in hashes:
            if name not in archive.names:
                problems.add(name, "is missing from the archive, though the metadata's sha256 names it")
