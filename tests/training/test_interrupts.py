"""Ctrl-C is seen wherever it falls."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oracle_batch.training.desk import train_one
from oracle_batch.training.fleet import Fleet
from oracle_batch.training.interrupts import interruptible
from tests.training.test_train import HISTORY, order


class Finaliser:
    """Somebody presses Ctrl-C while Python puts this away, and Python drops what comes of it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """The handler that Python starts with, whatever the tests before have left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_a_press_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_press_that_python_drops_is_seen_by_the_next_check() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interruptible() as check:  # noqa: PT012 - what is reached is the point
        check()
        Finaliser()
        reached.append("dropped")
        check()
        reached.append("not seen")
    assert reached == ["dropped"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_press_that_python_drops_after_the_last_check_is_seen_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        Finaliser()


def test_a_press_before_is_not_remembered() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    with interruptible() as check:
        check()


def test_what_a_shell_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible() as check:
        signal.raise_signal(signal.SIGINT)
        check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_thread_changes_nothing() -> None:
    found: list[object] = []

    def work() -> None:
        with interruptible() as check:
            check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


class Dropped:
    """A progress bar on one of whose steps Ctrl-C is pressed where Python drops it."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Dropped]:
        yield self

    def advance(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            Finaliser()


@pytest.mark.parametrize("at", [3, 6])  # 6 of 6: there is no next round, but a next seed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_training_ends_after_the_round_in_which_a_press_was_dropped(
    at: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Dropped(at)
    with pytest.raises(KeyboardInterrupt):
        train_one(HISTORY, order(tmp_path), progress, Fleet())
    assert progress.steps == at
    assert f"interrupted; {at * 512} steps are saved, --resume goes on from there" in caplog.text
    assert (tmp_path / ".training" / "EURUSD_M15" / "seed-4.npz").exists()
