"""Killed anywhere, the same command again comes to the same deals and books; so does a tick in between (DESIGN §5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.operating.closing import close
from oracle_batch.operating.orphans import adopt, close_orphan
from tests.operating.acts import job
from tests.operating.test_close import WAITS
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP, opened
from tests.tick.test_tick_crash import KilledError, Killer

GBPUSD = "GBPUSD_M15"
WRITES = ["append", "save_book", "append", "append", "replace_all"]
"""Intents; the account; answers; what is handed on; the books."""


def scene(folder: Path) -> Lab:
    """Two models hold a position, and somebody else a third; then it is five minutes later."""
    lab = Lab(folder)
    lab.add("GBPUSD", "M15", "W S2 S2 S2 S2")
    opened(lab, "L1 L2 S1")
    lab.open_by_hand("EURUSD", -1, "other")
    lab.clock.instant = lab.close_of(1) + 300
    return lab


def result(lab: Lab) -> dict[str, Any]:
    """All that a crash must not change. How an answer came to be known is no part of it."""
    books = json.loads(lab.workspace.executor_path("paper").read_bytes())["models"]
    for one in books.values():
        one["last"] = one["last"] and {**one["last"], "reason": None}
    names = ("label", "direction", "volume_cents", "price", "closing", "profit")
    deals = [{name: deal[name] for name in names} for deal in lab.account()["deals"]]
    return {"deals": sorted(deals, key=str), "positions": lab.positions(), "books": books}


def killed(lab: Lab, killer: Killer, moment: int | None, command: Any) -> str | None:
    """Run a command, killed at a moment; gives the moment's name, or None when it came through."""
    killer.moment, killer.passed = moment, []
    try:
        command(lab)
    except KilledError as death:
        return str(death)
    finally:
        killer.moment = None
    return None


def close_all(lab: Lab) -> None:
    assert close(job(lab), None).errors == {}


def test_a_close_writes_what_the_moments_below_are_named_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, killer = scene(tmp_path / "home"), Killer(monkeypatch)
    assert killed(lab, killer, None, close_all) is None
    assert killer.passed == [f"{when} {name}" for name in WRITES for when in ("before", "after")]


@pytest.mark.parametrize("moment", range(2 * len(WRITES)))
def test_a_close_that_was_killed_is_finished_by_the_same_command(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = scene(tmp_path / "calm")
    mine = calm.copy(tmp_path / "mine")
    close_all(calm)
    killer = Killer(monkeypatch)
    assert killed(mine, killer, moment, close_all)
    mine.clock.instant += 1
    close_all(mine)
    assert result(mine) == result(calm)
    assert [label for label, _, _ in mine.positions()] == ["other"]
    for bar in (2, 3, 4):
        assert came_to(mine.tick(bar), EURUSD) == came_to(calm.tick(bar), EURUSD)
        assert result(mine)["positions"] == result(calm)["positions"]


@pytest.mark.parametrize("moment", range(2 * len(WRITES)))
def test_a_close_that_was_killed_is_settled_by_the_next_tick(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reached the broker is booked as the operator's; what did not, never happened."""
    lab = scene(tmp_path / "home")
    killed(lab, Killer(monkeypatch), moment, close_all)
    arrived = "oracle:EURUSD_M15" not in [label for label, _, _ in lab.positions()]
    assert came_to(lab.tick(2), EURUSD) == (WAITS if arrived else NOOP)
    deals = lab.deals()
    assert len(deals) == len(set(deals))


@pytest.mark.parametrize("moment", range(2 * len(WRITES)))
def test_closing_an_orphan_that_was_killed_is_finished_by_the_same_command_and_enters_no_books(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = scene(tmp_path / "home")
    before = set(lab.books().models)
    killed(lab, Killer(monkeypatch), moment, lambda one: close_orphan(job(one), 3))
    again = close_orphan(job(lab), 3)
    assert again.exit_code == 0
    assert sorted(label for label, _, _ in lab.positions()) == ["oracle:EURUSD_M15", "oracle:GBPUSD_M15"]
    assert set(lab.books().models) == before
    assert [closing for _, closing in lab.deals()].count(True) == 1


@pytest.mark.parametrize("next_run", ["command", "tick"])
@pytest.mark.parametrize("moment", range(6))
def test_an_adoption_that_was_killed_is_finished(
    moment: int, next_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is in the journal it holds; before that it never happened."""
    lab = scene(tmp_path / "home")
    close(job(lab), EURUSD)
    killer = Killer(monkeypatch)
    assert killed(lab, killer, moment, lambda one: adopt(job(one), 3, EURUSD, 2))
    if next_run == "command":
        adopt(job(lab), 3, EURUSD, 2)
    else:
        lab.tick(1, late=400)
    held = lab.books().models[EURUSD].position
    if moment == 0 and next_run == "tick":
        assert held is None
    else:
        assert held is not None
        assert (held.position_id, held.direction, held.intensity) == (3, -1, 2)
