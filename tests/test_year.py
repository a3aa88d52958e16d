"""Weeks of real bars through the real hands: realised profit, commission, swap, balance and journal agree to the cent.

pytestmark = pytest.mark.no_cover

``python -m bench.year`` does the same for a whole year; here are the shipped models and bars, and, where there are more
models, a day of them.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench import reconcile, year
from oracle_batch.config.risk import RiskSettings
from oracle_batch.market.book import Book
from oracle_batch.store.executor import Executor
from tests.brain.markets import bundle

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FTMO = RiskSettings(preset="ftmo_2step", initial_balance=year.BALANCE)


def day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    """Durability has its own tests (tests/store); the log of thousands of ticks has no reader."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        logging.disable(logging.CRITICAL)
        yield
        logging.disable(logging.NOTSET)


def courses_of(models: Path, bars: Path, folder: Path, first: float, last: float) -> list[year.Course]:
    return year.place(models, bars, folder / "data", first, last)


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[year.Course], float, float]:
    """Two weeks with a daylight-saving change in New York between them, so that nights and days move apart."""
    folder, first, last = tmp_path_factory.mktemp("weeks"), day("2026-03-23"), day("2026-04-06")
    (folder / "models").mkdir()
    for name in ("EURUSD_M15", "GBPUSD_H1", "USDJPY_H1"):
        shutil.copy(bundle(name), folder / "models")
    return folder, courses_of(folder / "models", ROOT / "data", folder, first, last), first, last


@pytest.fixture(scope="module")
def free(weeks: tuple[Path, list[year.Course], float, float]) -> tuple[year.Result, Path]:
    """Every signal that can be followed is."""
    folder, courses, first, last = weeks
    home = folder / "free"
    return year.lived(home, courses, folder / "data", year.UNLIMITED, first, last), home


def test_two_weeks_add_up_to_the_cent(free: tuple[year.Result, Path]) -> None:
    result, _ = free
    sums = result.sums
    assert sums.balance - sums.initial == sums.profit + sums.swap - sums.commission == sums.journal
    assert sums.positions > 50
    assert sums.recomputed > 50
    assert 0 not in (sums.profit, sums.commission, sums.swap)


def test_two_weeks_under_a_preset_add_up_to_the_cent(weeks: tuple[Path, list[year.Course], float, float]) -> None:
    """With more money at stake the limits are met: positions are closed, the account pauses, and goes on."""
    folder, courses, first, last = weeks
    home = folder / "ftmo"
    shutil.copytree(folder / "models", home / "models")
    result = year.lived(home, courses, folder / "data", FTMO, first, last, scale=60.0, phase_after_days=2.0)
    sums = result.sums
    assert sums.balance - sums.initial == sums.journal
    assert sums.positions > 20
    assert result.events["account_paused"] >= 1
    assert result.events["day_reset"] >= 10


def test_a_cent_that_is_wrong_anywhere_is_found(
    free: tuple[year.Result, Path], weeks: tuple[Path, list[year.Course], float, float]
) -> None:
    _, home = free
    folder, courses, _, _ = weeks
    book = reconcile.read_book(home / "state" / "paper" / "paper.json")
    assert book is not None
    books = reconcile.read_books(home / "state" / "executor" / "paper.json", "paper")
    deals = reconcile.Deals()
    deals.take(book)
    one = year.Year(folder / "again", courses, folder / "data", year.UNLIMITED, 1.0)
    contracts = {deal.symbol: one.contract(deal.symbol) for deal in book.deals}
    prices, journal = year.prices_of(folder / "data"), home / "state" / "journal" / "paper"

    def check(book: Book, books: Executor, deals: reconcile.Deals) -> None:
        reconcile.reconcile(book, books, journal, deals, contracts, prices)

    check(book, books, deals)
    with pytest.raises(AssertionError):
        check(msgspec.structs.replace(book, balance=book.balance + 1), books, deals)
    for name, by in (("profit", 1), ("commission", 1), ("swap", -1), ("price", 0.00001)):
        number = next(key for key in sorted(deals.found) if deals.found[key].closing)
        wrong = reconcile.Deals(dict(deals.found))
        was = wrong.found[number]
        wrong.found[number] = msgspec.structs.replace(was, **{name: getattr(was, name) + by})
        shifted = book
        if name != "price":
            shifted = msgspec.structs.replace(book, balance=book.balance + (-by if name == "commission" else by))
        with pytest.raises(AssertionError):
            check(shifted, books, wrong)


def test_a_night_counts_for_a_position_that_is_there_after_it() -> None:
    """17:00 in New York is 22:00 UTC in winter and 21:00 in summer; Wednesday's counts three times, a weekend's not."""
    tuesday, wednesday = day("2026-01-13T22:00"), day("2026-01-14T22:00")
    assert list(reconcile.nights(tuesday - 1, tuesday)) == []
    assert list(reconcile.nights(tuesday - 1, tuesday + 1)) == [(tuesday, 1)]
    assert list(reconcile.nights(tuesday, wednesday + 1)) == [(wednesday, 3)]
    assert list(reconcile.nights(day("2026-03-06T22:00"), day("2026-03-09T22:00"))) == [(day("2026-03-09T21:00"), 1)]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="there are no further models")
def test_all_models_there_are_add_up_to_the_cent(tmp_path: Path) -> None:
    first, last = day("2025-07-15"), day("2025-07-16")
    courses = courses_of(SHARED / "models", SHARED / "data", tmp_path, first, last)
    assert len(courses) == len(list((SHARED / "models").glob("*.zip")))
    result = year.lived(tmp_path / "home", courses, tmp_path / "data", year.UNLIMITED, first, last)
    assert result.sums.positions > 50
    assert result.sums.recomputed > 20
