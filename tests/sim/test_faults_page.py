"""docs/faults.md has an example of every fault, and each of them is taken."""

from __future__ import annotations

import json
import re
from pathlib import Path

from oracle_batch.sim import faults

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)`: .* \| `(\{.*\})` \|$", PAGE, re.MULTILINE)


def test_every_fault_is_documented_with_an_example_that_is_taken() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(faults._BY_TAG)
    for name, example in ROWS:
        (fault,) = faults.parse_script([json.loads(example)], "docs/faults.md")
        assert fault.__struct_config__.tag == name


def test_the_keys_of_an_aim_are_all_explained() -> None:
    keys = set(faults.Aimed.__struct_fields__) - {"on", "direction"}
    assert set(re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)) == keys
