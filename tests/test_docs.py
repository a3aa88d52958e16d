"""The documents name what exists, cover what they promise, and keep their form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oracle_batch.market.spec_file import SymbolSettings, load_settings
from oracle_batch.market.specs import Contracts

ROOT = Path(__file__).parents[1]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("data/*.md"), *ROOT.glob("models/*.md")])
SEEDS = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
OURS = re.compile(r"`((?:oracle_batch|tests|config|docs|models|data|requirements|tools)/[\w./-]*)`")
RUNTIME = ("config/symbols.json",)
"""Named in the documents, made by the operator."""


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_path_and_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in set(OURS.findall(text)) - set(RUNTIME):
        assert (ROOT / name).exists(), name
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_no_page_speaks_of_somebodys_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/work/|/root/|/home/\w|\.\./shared|localhost:\d|pypi\.", text)


@pytest.mark.parametrize("page", DECISIONS, ids=ids(DECISIONS))
def test_a_decision_is_one_page_of_context_choice_consequence(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"# (\d{4}) \S.*", lines[0])
    assert lines[0][2:6] == page.name[:4]
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Choice", "## Consequence"]
    assert len(lines) <= 60


def test_decisions_are_numbered_without_gaps() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize(
    "wish",
    [
        "WebSocket", "polls", "~45 indicators", "80–100 features", "65 features", "smart order routing", "GUI",
        "ProfitDLL", "NT8", "TimesNet", "XGBoost", "Supabase", "TradingState", "VPM", "order book", "swap file",
        "gc.collect", "Poetry", "YAML", "pydantic", "SQLite", "Redis", "chrony", "MockConnector", "OAuth2", "pandas",
        "drift report", "threads", "synthetic", "WDO", "dashboard", "CircularBuffer", "heartbeat",
    ],
)  # fmt: skip
def test_no_wish_of_the_seeds_is_passed_over(wish: str) -> None:
    assert wish.casefold() in SEEDS.casefold()


def test_the_seeds_tables_are_whole() -> None:
    for line in SEEDS.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            assert len(cells) in (3, 4), line


def test_the_page_about_contracts_tells_every_key_and_its_example_is_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "symbols.md").read_text(encoding="utf-8")
    rows = " ".join(re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == set(SymbolSettings.__struct_fields__)
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "symbols.json"
    file.write_text(example, encoding="utf-8")
    entries = load_settings(file)
    assert list(entries) == ["XAUUSD", "MYINDEX"]
    contract = Contracts(entries, (), "USD", file).find("XAUUSD")
    assert contract is not None
    assert (contract.spread, contract.spec.lot_size_cents) == (0.25, 10_000)
