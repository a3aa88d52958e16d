"""Killed anywhere, a guard run again comes to the same account and books."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.guard.acts import guarded, minute, prices, stops, watched
from tests.tick.lab import Lab
from tests.tick.test_sync_scenarios import EURUSD, opened
from tests.tick.test_tick_crash import KilledError, Killer


def flattening(lab: Lab) -> None:
    """The loss of the day is at 90 % of its limit."""
    opened(lab, "L1", lot_weak=1.0)
    prices(lab, 1.1, 1.0960, 1.0960)


def trailing(lab: Lab) -> None:
    """The market has run away from the stop."""
    opened(lab, "L1")
    watched(lab, trailing_usd=2.0, breakeven_usd=1.0)
    prices(lab, 1.1, 1.1030, 1.1030)


def unprotected(lab: Lab) -> None:
    """The stop is gone, and the market is past it."""
    opened(lab, "L1")
    watched(lab)
    lab.protect(1, None)
    prices(lab, 1.1, 1.0970, 1.0970)


def result(lab: Lab) -> Any:
    """What must not depend on where a guard was killed. How often something was asked may."""
    books = lab.books()
    risk = replace(books.risk, anchors=None, trades=replace(books.risk.trades, day=type(books.risk.trades.day)()))
    deals = [(one["position_id"], one["closing"], one["price"], one["reason"]) for one in lab.account()["deals"]]
    models = {name: replace(one, last=None) for name, one in books.models.items()}
    pause = books.risk.anchors.pause if books.risk.anchors is not None else None
    return models, risk, deals, stops(lab), pause is not None and pause.limit


@pytest.mark.parametrize("scene", [flattening, trailing, unprotected])
def test_a_guard_killed_at_any_write_is_finished_by_the_next_one(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path / "home")
    scene(lab)
    whole = lab.copy(tmp_path / "whole")
    killer = Killer(monkeypatch)
    guarded(whole, minute(1))
    guarded(whole, minute(2))
    expected, moments = result(whole), len(killer.passed)
    assert moments >= 6
    for moment in range(moments):
        twin = lab.copy(tmp_path / f"killed-{moment}")
        killer.passed.clear()
        killer.moment = moment
        try:
            guarded(twin, minute(1))
        except KilledError:
            killer.moment = None
            guarded(twin, minute(1))
        killer.moment = None
        guarded(twin, minute(2))
        assert result(twin) == expected, f"killed {moment}: {killer.passed}"
        assert len(twin.account()["deals"]) <= 2, EURUSD
