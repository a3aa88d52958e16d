"""Files that cannot be written any more stop the account or the model that they are of, and hide nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.errors import StateError
from oracle_batch.store import appending, files
from oracle_batch.store.files import state_error
from tests.stateful import truth
from tests.tick.lab import Lab, came_to, outcome
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED, TURNED

NOTHING = (None, None, None)


@contextmanager
def refused(account: str, place: str) -> Iterator[None]:
    """The first or second append to an account's journal in a run is refused, or its books are."""
    real_append, real_write = appending.append, files._write_new
    seen: list[Path] = []

    def append(path: Path, *rest: Any) -> int:
        if path.parent.name == account:
            seen.append(path)
            if len(seen) == {"intents": 1, "answers": 2}.get(place):
                raise state_error(OSError(errno.EPERM, ""), path, "append")
        return real_append(path, *rest)

    def write(temp: Path, data: bytes) -> None:
        if place == "books" and temp.name.startswith(f".{account}.json") and temp.parent.name == "executor":
            raise OSError(errno.EDQUOT, "")
        real_write(temp, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appending, "append", append)
        patch.setattr(files, "_write_new", write)
        yield


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "home")
    made.accounts("one", "two")
    made.limit(allow_opposite_across_accounts=True)
    made.add("EURUSD", "M15", "W L1 S1 S1")
    for bar, expected in enumerate([NOOP, OPENED]):
        assert came_to(made.tick(bar), EURUSD) == expected
    return made


@pytest.mark.parametrize("place", ["intents", "answers", "books"])
@pytest.mark.parametrize(("broken", "sound"), [("two", "one"), ("one", "two")])
def test_files_of_one_account_that_are_refused_stop_that_account_alone(
    lab: Lab, broken: str, sound: str, place: str
) -> None:
    with refused(broken, place):
        report = lab.tick(2)
    assert came_to(report, EURUSD, sound) == TURNED
    assert broken in str(report.accounts[broken].error)
    assert (report.exit_code, report.accounts[broken].exit_code) == (1, 65)
    assert len(lab.deals(broken)) == (1 if place == "intents" else 3), "no intent, no order"
    after = lab.tick(2, late=20)
    assert after.exit_code == 0
    assert came_to(after, EURUSD, sound) == NOTHING
    assert lab.deals("one") == lab.deals("two")
    for account in ("one", "two"):
        truth.books_agree(lab, account)
        truth.legs_are_accounted_for(lab, account)


def test_an_entry_against_an_account_whose_close_could_not_be_put_on_record_is_given_up(lab: Lab) -> None:
    lab.limit(allow_opposite_across_accounts=False)
    with refused("two", "intents"):
        report = lab.tick(2)
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "SKIP", "OPPOSITE_ACROSS_ACCOUNTS")
    assert lab.positions("one") == []
    assert len(lab.positions("two")) == 1


@pytest.mark.parametrize("place", ["intents", "answers", "books"])
def test_where_it_is_the_only_account_the_run_says_so(lab: Lab, place: str) -> None:
    lab.accounts("one")
    with refused("one", place), pytest.raises(StateError, match="one"):
        lab.tick(2)
    assert lab.tick(2, late=20).exit_code == 0
    truth.books_agree(lab, "one")


@pytest.mark.parametrize("folder", ["bars", "twin"])
def test_a_model_whose_files_are_refused_after_its_orders_still_tells_of_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    real = files._write_new

    def write(temp: Path, data: bytes) -> None:
        if temp.parent.name == folder and temp.name.startswith(f".{EURUSD}"):
            raise OSError(errno.ENOSPC, "")
        real(temp, data)

    monkeypatch.setattr(files, "_write_new", write)
    report = lab.tick(2)
    assert came_to(report, EURUSD) == TURNED
    last = lab.books("one").models[EURUSD].last
    assert last is not None
    for told in (outcome(report, EURUSD), last):
        assert "cannot write: No space left on device (free some disk space and run again)" in str(told.error)
        assert (told.decision, told.ack) == TURNED[:2]
    assert report.exit_code == 1
    monkeypatch.undo()
    lab.tick(3)
    assert lab.twin(EURUSD).state.bar_time == lab.time(EURUSD, 3)
