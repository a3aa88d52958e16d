"""docs/presets.md says what the files say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "oracle_batch" / "risk_presets").glob("*.toml"))
OF = {"initial": "the initial balance", "anchor": "the anchor"}
ANCHOR = {"balance": "balance at the reset", "higher": "balance or equity at the reset, the higher"}
TRAILS = {"never": "never", "eod_balance": "highest balance at a reset"}


def row(preset: str) -> list[str]:
    (line,) = re.findall(rf"^\| `{preset}` \| (.*) \|$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def test_every_preset_has_its_row() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_and_the_file_agree(path: Path) -> None:
    rules: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    daily, maximum, day = rules["daily"], rules["maximum"], rules["day"]
    assert row(path.stem) == [
        f"{daily['loss_pct']:g} % of {OF[daily['of']]}",
        ANCHOR[daily["anchor"]],
        f"{day['reset']} {day['zone']}",
        f"{maximum['loss_pct']:g} % of {OF[maximum['of']]}",
        TRAILS[maximum["trails"]],
        rules["verified"].isoformat(),
    ]
    (sources,) = re.findall(rf"^- `{path.stem}`: (.*)$", PAGE, re.MULTILINE)
    assert sources.split(", ") == rules["sources"]
    assert (rules["emergency"]["no_entries_pct"], rules["emergency"]["flatten_pct"]) == (80.0, 90.0)
