"""ZIP files from strangers: bombs, tricks with names, damage. Every one is a BundleError that names its member."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from oracle_batch.bundle.archive import Archive
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.files import MAX_BUNDLE_BYTES
from oracle_batch.errors import BundleError
from tests.bundle.build import Parts, make_bundle, parts, zip_bytes

HMM, PPO = "EURUSD_M15_hmm.pkl", "EURUSD_M15_ppo.zip"


def refusal(bundle: Parts | bytes, folder: Path) -> str:
    path = folder / "EURUSD_M15.zip"
    path.write_bytes(bundle if isinstance(bundle, bytes) else bundle.to_bytes())
    with pytest.raises(BundleError) as caught:
        load_model(path, None)
    assert str(caught.value).startswith(str(path))
    assert caught.value.fix
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/passwd", "a/../../b", "..\\evil", "C:evil", "C:\\evil", "a//b", "folder/", "x\nb", "\x1b[2J"],
)
@pytest.mark.parametrize("inner", [False, True])
def test_member_names_that_play_tricks_are_refused(tmp_path: Path, name: str, inner: bool) -> None:
    bundle = parts()
    (bundle.ppo_raw if inner else bundle.raw)[name] = b"x"
    text = refusal(bundle, tmp_path)
    assert "member name" in text
    assert ascii(name)[1:-1] in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["EURUSD_M15.zip"]


def test_a_name_cut_by_nul_is_refused(tmp_path: Path) -> None:
    data = parts(hidden=()).to_bytes().replace(HMM.encode(), b"EURUSD_M15_hm\0.pkl")
    assert "member name" in refusal(data, tmp_path)


def test_unknown_members_are_named(tmp_path: Path) -> None:
    bundle = parts()
    bundle.raw["setup.py"] = b"import os"
    assert "'setup.py'" in refusal(bundle, tmp_path)


def test_runtime_arrays_belong_to_format_2_1_only(tmp_path: Path) -> None:
    bundle = parts()
    bundle.raw["EURUSD_M15_runtime.npz"] = b"PK"
    assert "EURUSD_M15_runtime.npz" in refusal(bundle, tmp_path)


@pytest.mark.parametrize("member", [HMM, PPO])
def test_a_missing_member_is_named(tmp_path: Path, member: str) -> None:
    bundle = parts()
    bundle.raw[member] = None
    assert f"{member}: is missing" in refusal(bundle, tmp_path)


@pytest.mark.parametrize("member", ["data", "policy.pth"])
def test_a_missing_inner_member_is_named(tmp_path: Path, member: str) -> None:
    bundle = parts()
    bundle.ppo_raw[member] = None
    text = refusal(bundle, tmp_path)
    assert f"{PPO}: {member}" in text
    assert "is missing" in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    bundle = parts()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in [*bundle.members().items(), (HMM, b"second")]:
            archive.writestr(name, data)
        archive.comment = b"{}"
    text = refusal(out.getvalue(), tmp_path)
    assert HMM in text
    assert "twice" in text


@pytest.mark.parametrize("member", [HMM, PPO])
def test_a_zip_bomb_is_refused_without_unpacking_it(tmp_path: Path, member: str) -> None:
    bundle = parts()
    bundle.raw[member] = bytes(60 * 1024 * 1024)
    data = bundle.to_bytes()
    assert len(data) < 500_000
    tracemalloc.start()
    text = refusal(data, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert member in text
    assert "unpacks" in text
    assert peak < 8 * 1024 * 1024


def test_a_bomb_inside_the_inner_archive_is_refused(tmp_path: Path) -> None:
    bundle = parts()
    inner = zip_bytes({"data": json.dumps(bundle.data).encode(), "policy.pth": bytes(30 * 1024 * 1024)})
    bundle.raw[PPO] = inner
    text = refusal(bundle, tmp_path)
    assert f"{PPO}: policy.pth" in text
    assert "ZIP bomb" in text


@pytest.mark.parametrize("claimed", [10, 2**31, 2**32 - 2])
def test_the_size_in_a_header_is_not_believed(tmp_path: Path, claimed: int) -> None:
    data = bytearray(parts().to_bytes())
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, claimed)
    assert PPO in refusal(bytes(data), tmp_path)


def test_many_members_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    members = {f"m{number}": b"" for number in range(5000)}
    assert "more than 4096 members" in refusal(zip_bytes(members, compression=0), tmp_path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(parts().to_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1
    text = refusal(bytes(data), tmp_path)
    assert HMM in text
    assert "encrypted" in text


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_bounds_are_refused(tmp_path: Path, method: int) -> None:
    bundle = parts()
    data = zip_bytes(bundle.members(), comment=json.dumps(bundle.metadata).encode(), compression=method)
    assert f"{HMM}: uses compression method {method}" in refusal(data, tmp_path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = parts(hidden=()).to_bytes()
    for length in range(0, len(data), 97):
        refusal(data[:length], tmp_path)


def test_a_truncated_member_fails_its_checksum(tmp_path: Path) -> None:
    bundle = parts()
    whole = bundle.members()[HMM]
    data = bytearray(zip_bytes(bundle.members(), comment=json.dumps(bundle.metadata).encode(), compression=0))
    data[data.index(whole) + 100] ^= 1
    text = refusal(bytes(data), tmp_path)
    assert HMM in text
    assert "damaged" in text


def test_a_cut_policy_names_the_storage(tmp_path: Path) -> None:
    bundle = parts()
    archive = Archive(bundle.ppo_bytes())
    torch = Archive(archive.read("policy.pth", 10**7))
    members = {name: torch.read(name, 10**7) for name in torch.names}
    members["archive/data/0"] = members["archive/data/0"][:-4]
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    assert "archive/data/0: has 3580 bytes, not 3584" in refusal(bundle, tmp_path)
    del members["archive/data/0"]
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    assert "archive/data/0: is missing" in refusal(bundle, tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"hello world", b"\x80\x04N.", bytes(1000)]
)
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    refusal(data, tmp_path)


def test_a_zip64_directory_that_lies_is_refused(tmp_path: Path) -> None:
    data = parts(hidden=()).to_bytes()
    end = data.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 2**62, 1)
    refusal(data[:end] + locator + data[end : end + 8] + b"\xff" * 12 + data[end + 20 :], tmp_path)


def test_oversized_and_odd_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD_M15.zip"
    with path.open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleError, match="more than"):
        load_model(path, None)
    folder = tmp_path / "GBPUSD_M15.zip"
    folder.mkdir()
    with pytest.raises(BundleError, match="cannot be read"):
        load_model(folder, None)
    with pytest.raises(BundleError, match="No such file"):
        load_model(tmp_path / "absent.zip", None)


def test_a_fifo_does_not_hang_the_reader(tmp_path: Path) -> None:
    import os

    path = tmp_path / "EURUSD_M15.zip"
    os.mkfifo(path)
    with pytest.raises(BundleError, match="regular file"):
        load_model(path, None)


def test_a_changed_member_betrays_itself_by_its_hash(tmp_path: Path) -> None:
    bundle = parts(format_version="2.1")
    other = parts(format_version="2.1", seed=9)
    path = bundle.write(tmp_path)
    comment = zipfile.ZipFile(path).comment
    for name in (HMM, PPO, "EURUSD_M15_runtime.npz"):
        members = {**bundle.members(), name: other.members()[name] + (b"x" if name.endswith("npz") else b"")}
        text = refusal(zip_bytes(members, comment=comment), tmp_path)
        assert f"{name}: is not the member" in text


def test_hashes_cover_all_members_or_none(tmp_path: Path) -> None:
    bundle = parts(format_version="2.1")
    bundle.metadata["sha256"] = {HMM: "0" * 64, "ghost": "1" * 64, PPO: "XYZ"}
    text = refusal(bundle, tmp_path)
    assert f"sha256.{PPO}" in text
    bundle.metadata["sha256"] = {HMM: "0" * 64}
    assert "sha256.EURUSD_M15_ppo.zip: is missing" in refusal(bundle, tmp_path)


def test_the_file_name_is_the_model_id(tmp_path: Path) -> None:
    path = make_bundle(tmp_path).rename(tmp_path / "EURUSD_M5.zip")
    with pytest.raises(
        BundleError, match=r"says EURUSD_M15, but the file is named 'EURUSD_M5' \(name it EURUSD_M15.zip"
    ):
        load_model(path, None)
