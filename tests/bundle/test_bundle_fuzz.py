"""Damage of any kind: the same model, or a BundleError. Nothing else, and not much memory or time."""

from __future__ import annotations

import contextlib
import functools
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle_batch.bundle.arrays import numpy_builders
from oracle_batch.bundle.check import check_bundle
from oracle_batch.bundle.inert import Allowed, deque_of
from oracle_batch.bundle.model import Model
from oracle_batch.bundle.problems import Problems
from oracle_batch.bundle.read import read_bundle
from oracle_batch.bundle.unpickle import unpickle
from oracle_batch.errors import BundleError
from tests.bundle.build import parts, zip_bytes
from tests.examples import examples

pytestmark = pytest.mark.no_cover

HMM, PPO = "EURUSD_M15_hmm.pkl", "EURUSD_M15_ppo.zip"
FUZZ = settings(max_examples=examples(75, 150), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(data: bytes) -> Model | None:
    problems = Problems("x.zip")
    reading = read_bundle(data, "EURUSD_M15", problems)
    if problems:
        with pytest.raises(BundleError) as caught:
            problems.raise_first()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
        return None
    return reading.model("0" * 64)


@functools.cache
def whole() -> tuple[bytes, Model]:
    data = parts(hidden=(8,), format_version="2.1").to_bytes()
    model = outcome(data)
    assert model is not None
    return data, model


def numbers(model: Model) -> bytes:
    regime, policy = model.regime, model.policy
    arrays = (regime.startprob, regime.transmat, regime.means, regime.whitening, regime.log_norm)
    return b"".join(np.asarray(array).tobytes() for array in (*arrays, *policy.weights, *policy.biases))


flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6)


def damaged(data: bytes, places: list[tuple[float, int]]) -> bytes:
    spoiled = bytearray(data)
    for place, value in places:
        spoiled[int(place * len(spoiled))] ^= value
    return bytes(spoiled)


@given(flips)
@FUZZ
def test_flipped_bytes_of_a_hashed_bundle_change_nothing_or_are_refused(places: list[tuple[float, int]]) -> None:
    data, model = whole()
    spoiled = outcome(damaged(data, places))
    # the comment carries no checksum of its own, so a flipped digit of a cost is only a different, valid bundle
    assert spoiled is None or numbers(spoiled) == numbers(model)


@given(st.floats(0, 1, exclude_max=True), st.binary(max_size=20))
@FUZZ
def test_truncated_bundles_are_refused(length: float, tail: bytes) -> None:
    data, _ = whole()
    assert outcome(data[: int(length * len(data))] + tail) is None


@given(st.sampled_from([HMM, PPO]), flips)
@FUZZ
def test_damage_behind_a_good_checksum(member: str, places: list[tuple[float, int]]) -> None:
    """As from a hostile author, who can compute a CRC: any model or a refusal, never another exception."""
    bundle = parts(hidden=(8,))
    bundle.raw[member] = damaged(bundle.members()[member], places)
    outcome(bundle.to_bytes())


@given(flips)
@FUZZ
def test_damage_inside_data_pkl(places: list[tuple[float, int]]) -> None:
    from oracle_batch.bundle.archive import Archive

    bundle = parts(hidden=(4,))
    torch = Archive(Archive(bundle.ppo_bytes()).read("policy.pth", 10**7))
    members = {name: torch.read(name, 10**7) for name in torch.names}
    members["archive/data.pkl"] = damaged(members["archive/data.pkl"], places)
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    outcome(bundle.to_bytes())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        ("format_version",),
        ("symbol",),
        ("symbol", "name"),
        ("symbol", "clean"),
        ("symbol", "timeframe"),
        ("training_config",),
        ("training_config", "point"),
        ("training_config", "digits"),
        ("training_config", "lot_sizes"),
        ("hmm_config", "n_states"),
        ("hmm_config", "decoding"),
        ("rl_config", "ema_period"),
        ("actions",),
        ("actions", "3"),
        ("sha256",),
        ("observation_pnl",),
    ]
)


@given(keys, json_values)
@FUZZ
def test_any_value_under_any_key(path: tuple[str, ...], value: Any) -> None:
    bundle = parts(hidden=(4,))
    members = bundle.members()
    holder = bundle.metadata
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    outcome(zip_bytes(members, comment=json.dumps(bundle.metadata).encode()[:65535]))


@given(st.sampled_from(["policy_class", "policy_kwargs", "observation_space", "action_space", "use_sde"]), json_values)
@FUZZ
def test_any_value_in_the_words_of_sb3(key: str, value: Any) -> None:
    bundle = parts(hidden=(4,))
    if isinstance(bundle.data[key], dict) and isinstance(value, dict):
        bundle.data[key].update(value)
    else:
        bundle.data[key] = value
    outcome(bundle.to_bytes())


opcodes = st.lists(
    st.sampled_from(
        [
            b"(", b"0", b"1", b"2", b"N", b"}", b"]", b")", b"a", b"e", b"s", b"u", b"t", b"l", b"d", b"b", b"R",
            b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"\x89", b"\x94", b"h\x00", b"h\x01", b"q\x00", b"K\x05",
            b"Q", b"\x93", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy.core.multiarray\nscalar\n", b"ccollections\ndeque\n", b"chmmlearn.hmm\nGaussianHMM\n",
            b"X\x02\x00\x00\x00f8", b"X\x01\x00\x00\x00<", b"C\x08" + b"\x01" * 8, b"J\xff\xff\xff\xff",
            b"\x8a\x08" + b"\xff" * 8, b"G" + b"\x7f\xf8" + b"\0" * 6, b"I01\n", b"L5L\n", b"S'x'\n", b"p3\n", b"g3\n",
        ]
    ),
    max_size=60,
)  # fmt: skip


@given(opcodes)
@settings(max_examples=examples(300, 600), deadline=None)
def test_random_programs_do_nothing_but_end(program: list[bytes]) -> None:
    allowed = Allowed(
        builders={**numpy_builders(), "collections.deque": deque_of},
        classes=frozenset(("hmmlearn.hmm.GaussianHMM",)),
        names=frozenset(("numpy.ndarray",)),
    )
    with contextlib.suppress(BundleError):
        unpickle(b"".join(program) + b".", allowed)


@pytest.mark.parametrize(
    "stream",
    [
        b"}" * 190_000 + b".",
        b"]" * 199_000 + b".",
        b"(" * 199_000,
        b"N\x94" * 99_000 + b".",
        b")" + b"2\x86" * 90_000 + b".",
        b"(K\x01" + b"2" * 198_000 + b"t.",
        b"\x8a\xff" + b"\x7f" * 255 + b".",
        b"\x8b" + (900_000).to_bytes(4, "little") + b"\x7f" * 900_000 + b".",
        b"r\x00\x00\x00\x7f.",
        b"Nr\x00\x00\x00\x7f.",
        b"p99999999999999999999\n.",
        b"Np99999999999999999999\n.",
    ],
)
def test_pickles_that_want_all_memory_get_little(tmp_path: Path, stream: bytes) -> None:
    bundle = parts(hidden=())
    bundle.raw[HMM] = stream
    path = bundle.write(tmp_path)
    tracemalloc.start()
    start = time.perf_counter()
    report = check_bundle(path)
    elapsed = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not report.ok
    assert peak < 64 * 1024 * 1024
    assert elapsed < 30
