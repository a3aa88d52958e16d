"""What an operator asks for is done or not done, wherever the command dies; asked again, it is done (row 54 too)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from oracle_batch import cli, verifying
from oracle_batch.config import load_executor_symbols
from oracle_batch.hands.anchors import LimitPause
from oracle_batch.store import executor
from tests.stateful.killing import Guillotine
from tests.tick.lab import Lab, came_to, scripted
from tests.tick.test_sync_scenarios import EURUSD

pytestmark = pytest.mark.no_cover


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    made = Lab(tmp_path / "home")
    made.add("EURUSD", "M15", "W L1 S1 W")
    made.tick(0)
    made.tick(1)
    return made


def command(lab: Lab, *arguments: str) -> int:
    return cli.run(["--home", str(lab.workspace.home), "--log-level", "error", *arguments])


def deaths(lab: Lab, killer: Guillotine, *arguments: str) -> Iterator[tuple[Lab, str]]:
    """The workspace after the command died at each of its calls in turn, whole and torn."""
    for share in (0.0, 0.5):
        for at in range(200):
            mine = lab.copy(lab.workspace.home.parent / f"{arguments[0]}-{at}-{share}")
            there = [one.replace("HOME", str(mine.workspace.home)) for one in arguments]
            place = killer.run(lambda mine=mine, there=there: command(mine, *there), at, share)  # type: ignore[misc]
            if place is None:
                break
            yield mine, place
        assert at > 0, "the command writes nothing"


def is_paused(lab: Lab) -> bool:
    return lab.workspace.is_paused()


def is_enabled(lab: Lab) -> bool:
    entry = load_executor_symbols(lab.workspace.executor_symbols).find(EURUSD, "EURUSD", "EURUSD")
    assert entry is not None
    return entry.enabled


@pytest.mark.parametrize(
    ("words", "state", "before"),
    [
        (["pause"], is_paused, None),
        (["resume"], is_paused, "pause"),
        (["disable", "EURUSD"], is_enabled, None),
        (["enable", "EURUSD"], is_enabled, "disable"),
    ],
)
def test_a_switch_is_where_it_was_or_where_it_was_put(
    lab: Lab, words: list[str], state: Callable[[Lab], bool], before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        assert command(lab, before, *words[1:]) == 0
    was = state(lab)
    for mine, place in deaths(lab, Guillotine(monkeypatch), *words):
        assert state(mine) in (True, False), place
        assert mine.tick(1, late=90).exit_code == 0, place
        assert command(mine, *words) == 0, place
        assert state(mine) != was, place
        assert mine.tick(2).exit_code == 0, place


def test_a_reset_of_limits_is_done_or_not_done_and_done_by_the_next_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = lab.books()
    assert books.risk.anchors is not None
    pause = LimitPause("maximum", lab.clock.now(), None)
    risk = replace(books.risk, anchors=replace(books.risk.anchors, pause=pause))
    lab.workspace.executor_path("paper").write_bytes(executor.encode(replace(books, risk=risk)))
    now = ["--now", str(lab.close_of(1) + 60)]
    for mine, place in deaths(lab, Guillotine(monkeypatch), "risk", "reset", *now):
        assert limit_pause(mine) in (pause, None), place
        assert mine.tick(1, late=90).exit_code == 0, place
        assert command(mine, "risk", "reset", "--now", str(lab.close_of(1) + 120)) == 0, place
        assert limit_pause(mine) is None, place
        assert verifying.verify(mine.workspace, "paper").problems == [], place
        assert came_to(mine.tick(2), EURUSD) == ("CLOSE_OPEN", "OK", None), place


def limit_pause(lab: Lab) -> LimitPause | None:
    anchors = lab.books().risk.anchors
    assert anchors is not None
    return anchors.pause


def test_money_is_moved_once_or_not_at_all(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = lab.account()["balance"], set()
    now = ["--now", str(lab.close_of(1) + 60)]
    for mine, place in deaths(lab, Guillotine(monkeypatch), "paper", "deposit", "100", *now):
        moved = mine.account()["balance"] - before
        seen.add(moved)
        assert came_to(mine.tick(2), EURUSD) == ("CLOSE_OPEN", "OK", None), place
        assert sum(one.detail["amount"] for one in mine.events("cash_flow")) == moved, place
        assert verifying.verify(mine.workspace, "paper").problems == [], place
    assert seen == {0, 10_000}


def test_row_54_a_bundle_whose_replacement_died_trades_by_the_old_twin_or_not_at_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bar 2 reverses: whichever bundle is there, its own twin decides, or nothing is sent."""
    other = scripted("EURUSD")
    other.policy["action_net.bias"] = other.policy["action_net.bias"] + 1
    file = other.write(lab.workspace.home.parent)
    old = lab.workspace.bundle_path(EURUSD).read_bytes()
    seen = set()
    for mine, place in deaths(lab, Guillotine(monkeypatch), "models", "add", str(file), "--replace"):
        is_old = mine.workspace.bundle_path(EURUSD).read_bytes() == old
        seen.add(is_old)
        report = mine.tick(2)
        if is_old:
            assert came_to(report, EURUSD) == ("CLOSE_OPEN", "OK", None), place
        else:
            assert (came_to(report, EURUSD), len(mine.deals())) == ((None, None, "NEEDS_WARMUP"), 1), place
    assert True in seen
    assert command(lab, "models", "add", str(file), "--replace") == 0
    assert came_to(lab.tick(2), EURUSD) == (None, None, "NEEDS_WARMUP")
    assert len(lab.deals()) == 1


def test_row_54_a_warm_up_that_died_left_the_old_twin_or_the_new_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = scripted("EURUSD")
    other.policy["action_net.bias"] = other.policy["action_net.bias"] + 1
    file = other.write(lab.workspace.home.parent)
    assert command(lab, "models", "add", str(file), "--replace") == 0
    now = str(lab.close_of(1) + 30)
    for mine, place in deaths(lab, Guillotine(monkeypatch), "warmup", EURUSD, "--now", now):
        half = mine.copy(mine.workspace.home.parent / f"half-{mine.workspace.home.name}")
        decision = came_to(half.tick(2), EURUSD)
        assert decision in ((None, None, "NEEDS_WARMUP"), ("CLOSE_OPEN", "OK", None)), place
        assert len(half.deals()) == (1 if decision[0] is None else 3), place
        assert command(mine, "warmup", EURUSD, "--now", now) == 0, place
        assert came_to(mine.tick(2), EURUSD) == ("CLOSE_OPEN", "OK", None), place
