"""docs/reason-codes.md explains every code that the program can give, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from oracle_batch.broker.base import AckStatus
from oracle_batch.hands.books import AckWord, Decision
from oracle_batch.hands.currencies import MONEY
from oracle_batch.hands.texts import CAUSE_WORD, CLOSED_WORD
from oracle_batch.types import ACTIONS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reason-codes.md").read_text(encoding="utf-8")
OUTSIDE = {"cli", "bundle", "brain", "config", "store", "sim", "openapi", "training"}
"""Rooms without a hand in an order, and those that speak the broker's language."""
BROKERS = {"spec_table.py", "currencies.py", "refusals.py", "pending.py"}
"""Files with names of the broker's own; docs/ctrader.md tells its errors."""
CODE = re.compile(r"[A-Z]{2,}(_[A-Z]+)*")
WORDS = {
    *get_args(AckStatus), *get_args(AckWord), *get_args(Decision), *CAUSE_WORD.values(), *CLOSED_WORD.values(),
    *(action.name for action in ACTIONS), "ACK", "SIGNAL", "CLOSED", "SLIP", "OPENED", "FLAT", "LONG", "SHORT",
} - {"MANUAL", "EMERGENCY", "OPERATOR"}  # fmt: skip
"""What an order's life is told with beside codes."""
NAMES = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL", "SC_CLK_TCK"}
OTHER = {"AMOUNT", "WITHDRAW", "BUY", "SELL", "MODEL", "SYMBOL", "TICKET", "EURUSD", "UTC", "ALL", *MONEY}


def told() -> set[str]:
    return set(rows())


def rows() -> list[str]:
    """Every code in the first column, as often as it stands there."""
    cells = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", PAGE, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([A-Z_]+)`", cell)]


def used() -> dict[str, str]:
    """Every text in the code that looks like a code, with a file that has it."""
    found = {}
    for path in (ROOT / "oracle_batch").rglob("*.py"):
        room = path.relative_to(ROOT / "oracle_batch").parts[0]
        if room in OUTSIDE or path.name in BROKERS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found[node.value] = path.name
    return {
        name: file
        for name, file in found.items()
        if name not in WORDS | NAMES | OTHER and not name.startswith("ORACLE_")
    }


def test_every_code_of_the_program_is_explained() -> None:
    assert {name: file for name, file in used().items() if name not in told()} == {}


def test_every_code_that_is_explained_is_used() -> None:
    refusals = (ROOT / "oracle_batch" / "broker" / "ctrader" / "refusals.py").read_text(encoding="utf-8")
    assert {code for code in told() - used().keys() if f'"{code}"' not in refusals} == set()


def test_a_code_is_explained_once_and_says_what_to_do() -> None:
    assert len(rows()) == len(told())
    for row in [line for line in PAGE.splitlines() if re.match(r"\| `[A-Z_]+`[,` A-Z_]* \|", line)]:
        assert len([cell for cell in row.split(" | ") if cell.strip(" |")]) == 3, row
