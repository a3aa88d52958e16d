"""What can be told of a Parquet file by its two ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle_batch.errors import StateError
from oracle_batch.store import ends

WHOLE = (Path(__file__).parents[2] / "data" / "EURUSD_M15.parquet").read_bytes()


def test_a_whole_file_and_none_at_all_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD_M15.parquet"
    ends.check(path, "repair it")
    path.write_bytes(WHOLE)
    ends.check(path, "repair it")


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1PAR1", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE[1:], WHOLE[:4] + WHOLE[-8:], b"{}"]
)
def test_what_cannot_be_whole_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "EURUSD_M15.parquet"
    path.write_bytes(data)
    with pytest.raises(StateError, match="is no whole Parquet file") as refusal:
        ends.check(path, "repair it")
    assert (refusal.value.file, refusal.value.fix) == (str(path), "repair it")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot read: Is a directory"):
        ends.check(tmp_path, "repair it")
