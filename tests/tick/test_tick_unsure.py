"""A leg whose fate the broker does not tell is neither sent again nor given up; a decision half carried out stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from oracle_batch import guarding, verifying
from oracle_batch.broker.base import Ack, Broker, Deal, Gate, OpenIntent, PlacedOrder, Position, Request
from oracle_batch.desk import Desk
from oracle_batch.warmup import warm_up
from tests.stateful import truth
from tests.tick.fakes import Wrapped, install, uninstall
from tests.tick.lab import Lab, came_to, outcome
from tests.tick.test_tick_crash import KilledError

EURUSD = "EURUSD_M15"


class Silent(Wrapped):
    """Takes orders and never answers; ``reaches``: whether they arrive all the same."""

    reaches = True

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if self.reaches:
            await super().execute(intents, gate)
        return [Ack(intent.intent_id, "UNKNOWN", "NO_ANSWER") for intent in intents]


class Lost(Silent):
    reaches = False


class Hiding(Wrapped):
    """A broker with a grace: its lists show the order as working, and neither deals nor positions, ``looks`` times."""

    looks = 10**6
    absence_grace = 0.01

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner)
        self.asked = 0

    @property
    def absence_grace_s(self) -> float:
        return self.absence_grace

    @property
    def hidden(self) -> bool:
        return self.asked <= self.looks

    async def positions(self) -> list[Position]:
        return [] if self.hidden else await super().positions()

    async def orders(self, since: float) -> list[PlacedOrder]:
        self.asked += 1
        name = f"ob-{EURUSD}-{int(since) // 900 * 900}-1"
        return [PlacedOrder(1, name, "working", False, None)] if self.hidden else []

    async def deals(self, since: float) -> list[Deal]:
        return [] if self.hidden else await super().deals(since)


class HidingOnce(Hiding):
    looks = 1


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "home")
    made.add("EURUSD", "M15", "W L1 L1 W", sl_usd=10.0)
    made.tick(0)
    return made


def killed(lab: Lab, bar: int, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick whose process is gone right before a step of the desk."""

    def die(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Desk, step, die)
        with pytest.raises(KilledError):
            lab.tick(bar)


def opened(lab: Lab) -> list[tuple[str, bool]]:
    return [one for one in lab.deals() if not one[1]]


def test_an_entry_that_nobody_can_account_for_is_left_alone_and_asked_for_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Silent)
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "UNKNOWN", "NO_ANSWER")
    for late in (5.0, 9.0):
        made = install(monkeypatch, Hiding)
        report = lab.tick(1, late=late)
        assert came_to(report, EURUSD) == (None, "UNKNOWN", "NOT_ACCOUNTED_FOR")
        assert report.exit_code == 1
        assert (made[0].sent, made[0].asked) == ([], 2)
    uninstall(monkeypatch)
    assert came_to(lab.tick(1, late=12.0), EURUSD) == ("OPEN", "OK", "RECOVERED")
    assert len(opened(lab)) == 1
    assert lab.books().models[EURUSD].position is not None


def test_a_list_that_lags_behind_is_given_its_time_within_the_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Silent)
    lab.tick(1)
    made = install(monkeypatch, HidingOnce)
    assert came_to(lab.tick(1, late=5.0), EURUSD) == ("OPEN", "OK", "RECOVERED")
    assert (made[0].sent, made[0].asked) == ([], 2)
    assert len(opened(lab)) == 1


def test_an_entry_that_is_absent_by_proof_is_sent_once_more_under_its_id(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = install(monkeypatch, Lost)
    lab.tick(1)
    (first,) = made[0].sent or [f"ob-{EURUSD}-{lab.time(EURUSD, 1)}-1"]
    uninstall(monkeypatch)
    assert came_to(lab.tick(1, late=5.0), EURUSD) == ("OPEN", "OK", None)
    assert opened(lab) == [(first, False)]


def test_an_entry_that_is_absent_after_its_deadline_is_abandoned_on_record(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Lost)
    lab.tick(1)
    uninstall(monkeypatch)
    assert came_to(lab.tick(1, late=70.0), EURUSD) == ("OPEN", "SKIP", "LATE")
    assert opened(lab) == []
    reasons = [getattr(one, "reason", None) for one in lab.journal()]
    assert "NEVER_ARRIVED" in reasons
    assert came_to(lab.tick(2), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "MISSED_ENTRY")


@pytest.mark.parametrize("guarded", [False, True])
def test_a_revised_bar_does_not_change_a_decision_that_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 S2 S2 W", sl_usd=10.0)
    lab.tick(0)
    lab.tick(1)
    killed(lab, 2, "send", monkeypatch)
    if guarded:
        lab.clock.instant += 2
        report = guarding.run(guarding.Job(lab.workspace, lab.settings, lab.clock))
        assert report.exit_code == 0
    lab.say(EURUSD, 2, "L3")
    report = lab.tick(2, late=10.0)
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "OK", None)
    assert outcome(report, EURUSD).action == 5
    assert lab.positions() == [("oracle:EURUSD_M15", -1, 300_000)]
    assert lab.twin(EURUSD).state.last_action == 3
    assert lab.books().models[EURUSD].decisions_revised == 1
    assert [one.detail for one in lab.events("decision_revised")][:1] == [{"bar_time": lab.time(EURUSD, 2)}]
    # The next bar's edge is counted against the official bar's signal, as everywhere.
    assert came_to(lab.tick(3), EURUSD)[0] == "NOOP"


def test_a_bar_revised_after_its_fill_is_counted_although_the_twin_was_not_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(lab, 1, "conclude", monkeypatch)
    lab.say(EURUSD, 1, "S1")
    assert came_to(lab.tick(1, late=5.0), EURUSD) == ("OPEN", "OK", "RECOVERED")
    assert lab.books().models[EURUSD].decisions_revised == 1
    assert lab.positions() == [("oracle:EURUSD_M15", 1, 100_000)]


def test_a_part_that_was_closed_before_the_books_knew_the_position_is_counted_when_the_rest_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither run wrote its books, so that only the journal says since when the position was there."""
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L3 W W")
    lab.tick(0)
    killed(lab, 1, "unwritten", monkeypatch)
    (held,) = lab.account()["positions"]
    lab.clock.instant += 5
    lab.close_by_hand(held["position_id"], held["volume_cents"] // 5)
    killed(lab, 2, "conclude", monkeypatch)
    assert lab.positions() == []
    assert lab.books().models[EURUSD].position is None
    assert came_to(lab.tick(2, late=10.0), EURUSD) == ("CLOSE", "OK", "RECOVERED")
    truth.legs_are_accounted_for(lab, "paper")


def test_a_change_of_strength_says_that_it_stays_on_its_side(tmp_path: Path) -> None:
    """So that the broker lets it follow our own close alone."""
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 L3 S2 W")
    for bar in range(4):
        lab.tick(bar)
    entered = [one for one in lab.journal() if isinstance(one, OpenIntent)]
    assert [(one.direction, one.same_side) for one in entered] == [(1, False), (1, True), (-1, False)]


def test_a_leg_of_a_model_whose_books_are_damaged_is_asked_for_when_they_are_repaired(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(lab, 1, "conclude", monkeypatch)
    path = lab.workspace.executor_path("paper")
    whole = json.loads(path.read_bytes())
    path.write_text(json.dumps({**whole, "models": {EURUSD: {**whole["models"][EURUSD], "last_bar": "never"}}}))
    for late in (5.0, 9.0):
        assert f"models.{EURUSD}" in str(outcome(lab.tick(1, late=late), EURUSD).error)
    assert verifying.verify(lab.workspace, "paper").open == [f"ob-{EURUSD}-{lab.time(EURUSD, 1)}-1"]
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "models": whole["models"]}))
    assert came_to(lab.tick(1, late=20.0), EURUSD) == ("OPEN", "OK", "RECOVERED")
    truth.books_agree(lab, "paper")
    truth.legs_are_accounted_for(lab, "paper")


@pytest.mark.parametrize(
    ("late", "came"), [(10.0, ("CLOSE_OPEN", "OK", None)), (100.0, ("CLOSE_OPEN", "SKIP", "LATE"))]
)
def test_a_decision_that_is_on_its_way_is_carried_out_though_its_bar_was_warmed_up_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: float, came: tuple[str, str, str | None]
) -> None:
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 S2 S2")
    lab.tick(0)
    lab.tick(1)
    killed(lab, 2, "send", monkeypatch)
    warmed = warm_up(lab.workspace, lab.settings, lab.clock, "EURUSD", lambda *_: nullcontext(Mock()))
    assert (warmed, lab.twin(EURUSD).warmed_to) == ({}, lab.time(EURUSD, 2))
    assert came_to(lab.tick(2, late=late), EURUSD) == came
    assert lab.positions() == ([("oracle:EURUSD_M15", -1, 300_000)] if late == 10 else [])
    truth.legs_are_accounted_for(lab, "paper")


def test_a_decision_that_is_on_its_way_outlives_a_run_that_cannot_use_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 S2 S2")
    lab.tick(0)
    lab.tick(1)
    killed(lab, 2, "send", monkeypatch)
    twin = lab.workspace.twin_path(EURUSD)
    whole = twin.read_bytes()
    twin.write_bytes(whole[:40])
    for late in (4.0, 6.0):
        assert outcome(lab.tick(2, late=late), EURUSD).error
    twin.write_bytes(whole)
    lab.say(EURUSD, 2, "L3")
    report = lab.tick(2, late=10.0)
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "OK", None)
    assert outcome(report, EURUSD).action == 5
    truth.legs_are_accounted_for(lab, "paper")
