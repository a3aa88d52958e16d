"""docs/exactly-once.md names the tests that show each failure mode of a crash, of files, of time, and of tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "exactly-once.md").read_text(encoding="utf-8")
SHOWN = {
    row: re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    for row, tests in re.findall(r"^\| *(\d*) *\| [^|]+ \| (`.*`) \|$", TEXT, re.MULTILINE)
}


def test_every_row_is_there() -> None:
    assert SHOWN.keys() == {*map(str, (*range(29, 44), 54, 57)), ""}


@pytest.mark.parametrize("row", SHOWN)
def test_a_row_is_shown(row: str) -> None:
    assert SHOWN[row]
    for file, name in SHOWN[row]:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{file}::{name} is gone"
