"""Compiled copies: the same model, faster; never trusted blindly, never needed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from oracle_batch.bundle import compiled, packed
from oracle_batch.bundle.compiled import load_model, load_models, pack, unpack
from oracle_batch.bundle.model import Model
from oracle_batch.errors import BundleError, StateError
from tests.bundle.build import COVARIANCE_TYPES, make_bundle, parts


def assert_same(one: Model, other: Model) -> None:
    for field in fields(Model):
        if field.name not in ("regime", "policy"):
            assert getattr(one, field.name) == getattr(other, field.name)
    for field in fields(one.regime):
        assert np.array_equal(getattr(one.regime, field.name), getattr(other.regime, field.name))
    assert one.policy.activation == other.policy.activation
    for mine, theirs in zip(
        (*one.policy.weights, *one.policy.biases), (*other.policy.weights, *other.policy.biases), strict=True
    ):
        assert mine.dtype == theirs.dtype == np.float32
        assert np.array_equal(mine, theirs)


@pytest.fixture
def never_compile(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def refuse(*_: object) -> Model:
        raise AssertionError("the bundle was read again")

    monkeypatch.setattr(compiled, "_compile", refuse)
    return monkeypatch


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("hidden", [(), (3,), (64, 32)])
def test_a_cached_model_is_the_same_model(
    tmp_path: Path, covariance_type: str, hidden: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    path = make_bundle(
        tmp_path, covariance_type=covariance_type, hidden=hidden, activation="relu", n_states=4, decoding="filter"
    )
    first = load_model(path, tmp_path / "compiled")
    request.getfixturevalue("never_compile")
    second = load_model(path, tmp_path / "compiled")
    assert_same(first, second)
    assert second.policy.shape == (13, *hidden, 7)


def test_the_cache_is_a_plain_npz_named_by_the_bundles_hash(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    load_model(path, tmp_path / "compiled")
    (cached,) = (tmp_path / "compiled").iterdir()
    assert cached.name == hashlib.sha256(path.read_bytes()).hexdigest() + ".npz"
    assert cached.stat().st_mode & 0o777 == 0o600
    with np.load(cached, allow_pickle=False) as archive:
        assert archive["model"].dtype == np.uint8


def test_dry_runs_read_the_cache_and_write_nothing(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    load_model(path, tmp_path / "compiled", write_cache=False)
    load_model(path, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["EURUSD_M15.zip"]


def test_a_changed_bundle_is_never_answered_from_the_old_cache(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    old = load_model(path, tmp_path / "compiled")
    make_bundle(tmp_path, seed=8)
    new = load_model(path, tmp_path / "compiled")
    assert new.sha256 != old.sha256
    assert not np.array_equal(new.regime.means, old.regime.means)


def test_a_renamed_bundle_is_refused_even_when_it_is_cached(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    load_model(path, tmp_path / "compiled")
    with pytest.raises(BundleError, match="the file is named 'GBPUSD_M15'"):
        load_model(path.rename(tmp_path / "GBPUSD_M15.zip"), tmp_path / "compiled")


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 100, None])
def test_a_corrupt_cache_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    path, cache = make_bundle(tmp_path), tmp_path / "compiled"
    good = load_model(path, cache)
    (cached,) = cache.iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert_same(load_model(path, cache), good)
    assert unpack(cached.read_bytes(), good.sha256)


def test_another_bundles_cache_is_not_used(tmp_path: Path) -> None:
    path, cache = make_bundle(tmp_path), tmp_path / "compiled"
    good = load_model(path, cache)
    other = load_model(make_bundle(tmp_path, symbol="GBPUSD", seed=4), None)
    (cached,) = cache.iterdir()
    cached.write_bytes(pack(other))
    assert_same(load_model(path, cache), good)


def test_another_version_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_bundle(tmp_path)
    model = load_model(path, None)
    data = pack(model)
    monkeypatch.setattr(packed, "CACHE_VERSION", 999)
    with pytest.raises(StateError):
        unpack(data, model.sha256)


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    model = load_model(make_bundle(tmp_path, hidden=(), n_states=1), None)
    data = bytearray(pack(model))
    for place in range(len(data)):
        data[place] ^= 0x41
        with contextlib.suppress(StateError):
            assert_same(unpack(bytes(data), model.sha256), model)
        data[place] ^= 0x41


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o620])
def test_a_cache_that_others_can_write_is_not_trusted(tmp_path: Path, mode: int) -> None:
    path, cache = make_bundle(tmp_path), tmp_path / "compiled"
    load_model(path, cache)
    (cached,) = cache.iterdir()
    planted = parts(seed=6)
    bad = load_model(planted.write(tmp_path / "EURUSD_M15.zip"), None)
    make_bundle(tmp_path)
    fake = pack(bad).replace(bad.sha256.encode(), cached.stem.encode())
    cached.write_bytes(fake)
    cached.chmod(mode)
    assert_same(load_model(path, cache), load_model(path, None))
    assert cached.stat().st_mode & 0o777 == 0o600


def test_a_cache_folder_that_others_can_write_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = make_bundle(tmp_path), tmp_path / "compiled"
    load_model(path, cache)
    cache.chmod(0o777)
    calls = []
    original = compiled._compile
    monkeypatch.setattr(compiled, "_compile", lambda *args: calls.append(1) or original(*args))
    load_model(path, cache)
    assert calls


def test_a_link_in_the_cache_is_not_followed(tmp_path: Path) -> None:
    path, cache = make_bundle(tmp_path), tmp_path / "compiled"
    load_model(path, cache)
    (cached,) = cache.iterdir()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(cached, elsewhere)
    cached.symlink_to(elsewhere)
    load_model(path, cache)
    assert not cached.is_symlink()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocker = tmp_path / "compiled"
    blocker.write_text("a file where the folder should be")
    assert load_model(make_bundle(tmp_path), blocker).model_id == "EURUSD_M15"


def test_one_bad_bundle_never_stops_the_others(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    make_bundle(tmp_path, symbol="GBPUSD", timeframe="H1")
    (tmp_path / "USDJPY_M15.zip").write_bytes(b"not a zip")
    (tmp_path / "notes.txt").write_text("passed over")
    (tmp_path / ".hidden.zip").write_text("passed over")
    models, refused = load_models(tmp_path, tmp_path / "compiled")
    assert list(models) == ["EURUSD_M15", "GBPUSD_H1"]
    assert list(refused) == ["USDJPY_M15"]
    assert "USDJPY_M15.zip: is not a ZIP file" in str(refused["USDJPY_M15"])
    assert load_models(tmp_path / "absent", None) == ({}, {})


def test_arrays_are_ready_for_arithmetic(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    load_model(path, tmp_path / "compiled")
    model = load_model(path, tmp_path / "compiled")
    for array in (*model.policy.weights, *model.policy.biases, model.regime.means, model.regime.whitening):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.dtype.isnative


def test_twenty_cached_models_load_in_no_time(tmp_path: Path) -> None:
    for number in range(20):
        make_bundle(tmp_path, symbol=f"SYM{number}", seed=number)
    load_models(tmp_path, tmp_path / "compiled")
    best = 1.0
    for _ in range(10):
        start = time.process_time()  # the machine may have other things to do
        models, refused = load_models(tmp_path, tmp_path / "compiled")
        best = min(best, time.process_time() - start)
    assert len(models) == 20
    assert not refused
    assert best < 0.03


def test_what_pack_writes_numpy_reads(tmp_path: Path) -> None:
    model = load_model(make_bundle(tmp_path), None)
    with np.load(io.BytesIO(pack(model)), allow_pickle=False) as archive:
        assert archive.files == ["model"]
