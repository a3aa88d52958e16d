"""What the broker holds against what the books say, and several accounts beside each other."""

from __future__ import annotations

import pytest

from oracle_batch.errors import StateError
from tests.tick.lab import Lab, came_to, outcome
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, LABEL, NOOP, OPENED, TURNED, held, opened

GBPUSD = "GBPUSD_M15"
NOTHING = (None, None, None)


def test_a_second_run_of_the_same_bar_does_nothing_new(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1")
    for bar in range(3):
        lab.tick(bar)
        deals, state = lab.deals(), {path: path.read_bytes() for path in lab.workspace.state.rglob("*.json*")}
        report = lab.tick(bar, late=5)
        assert report.accounts["paper"].models == {}
        assert report.exit_code == 0
        assert lab.deals() == deals
        assert {path: path.read_bytes() for path in lab.workspace.state.rglob("*.json*")} == state


def test_books_that_were_lost_are_made_again_from_the_comment(lab: Lab) -> None:
    opened(lab, "L1 L2 W")
    lab.workspace.executor_path("paper").unlink()
    assert came_to(lab.tick(2), EURUSD) == NOOP
    position = lab.books().models[EURUSD].position
    assert position is not None
    assert (position.position_id, position.direction, position.intensity) == (1, 1, 1)
    assert [event.detail["position_id"] for event in lab.events("position_adopted")] == []
    assert lab.play(EURUSD, 5, first=3) == [TURNED, CLOSED]


def test_books_and_journal_that_were_lost_are_made_again_from_the_comment(lab: Lab) -> None:
    opened(lab, "L1 L2 W")
    lab.workspace.executor_path("paper").unlink()
    for path in lab.workspace.journal_folder("paper").iterdir():
        path.unlink()
    assert came_to(lab.tick(2), EURUSD) == NOOP
    assert len(lab.events("position_adopted")) == 1
    assert lab.play(EURUSD, 5, first=3) == [TURNED, CLOSED]


def test_a_position_of_unknown_intensity_stops_its_model_alone(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W W W L1")
    lab.add("GBPUSD", "M15", "W L1")
    lab.tick(0)
    stranger = lab.open_by_hand("EURUSD", label=LABEL, comment="moved by hand")
    report = lab.tick(1)
    error = outcome(report, EURUSD).error
    assert error is not None
    assert "intensity" in error
    assert "'moved by hand'" in error
    assert report.exit_code == 1
    assert came_to(report, GBPUSD) == OPENED
    assert came_to(lab.tick(2), EURUSD) == NOTHING
    lab.close_by_hand(stranger)
    assert came_to(lab.tick(3), EURUSD) == OPENED


def test_two_positions_with_one_label_stop_the_model_until_one_is_closed(lab: Lab) -> None:
    opened(lab, "L1 L1 L1 W")
    second = lab.open_by_hand("EURUSD", label=LABEL, comment="O|2.0|1|1|1|1000|0.0|0.00")
    for bar in (2, 3):
        report = lab.tick(bar)
        error = outcome(report, EURUSD).error
        assert error is not None
        assert f"(1, {second})" in error
        assert report.exit_code == 1
        assert held(lab) == 1, "the books keep the position that they know"
    lab.close_by_hand(second)
    report = lab.tick(4)
    assert came_to(report, EURUSD) == NOOP
    assert report.exit_code == 0
    assert came_to(lab.tick(5), EURUSD) == CLOSED


def test_orphans_are_counted_and_never_touched(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 W")
    lab.tick(0)
    lab.open_by_hand("EURUSD", -1, label="somebody else")
    lab.open_by_hand("EURUSD")
    for bar in range(1, 4):
        report = lab.tick(bar)
        assert report.accounts["paper"].orphans == 2
        assert report.exit_code == 0
    assert lab.positions() == [("somebody else", -1, 100_000), ("", 1, 100_000)]


def test_a_position_of_a_model_that_is_gone_is_closed_after_the_blind_bars(lab: Lab) -> None:
    opened(lab, "L1 L1 L1 L1 L1 L1")
    lab.add("GBPUSD", "M15", "W")
    lab.workspace.bundle_path(EURUSD).unlink()
    for bar in (2, 3, 4):
        report = lab.tick(bar)
        assert (
            "EURUSD_M15.zip: is gone, but its position is open (put it back, or: oracle-batch close EURUSD_M15"
            in str(outcome(report, EURUSD).error)
        )
        assert report.exit_code == 1
        assert outcome(report, GBPUSD).error is None
        assert len(lab.positions()) == 1
    assert came_to(lab.tick(5), EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert lab.positions() == []
    assert lab.tick(6).exit_code == 0


def test_a_label_that_names_no_model_is_never_touched(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    lab.tick(0)
    lab.open_by_hand("EURUSD", label="oracle:by hand")
    for bar in range(1, 8):
        lab.tick(min(bar, 3), late=bar * 900.0)
    assert len(lab.positions()) == 1


def test_bars_are_counted_for_the_blind_rule_not_hours(lab: Lab) -> None:
    """A weekend without bars closes nothing."""
    lab.add("EURUSD", "M15", "W L1", after=1)
    lab.play(EURUSD, 2)
    lab.workspace.twin_path(EURUSD).write_bytes(b"{")
    lab.at(lab.close_of(1) + 48 * 3600)
    assert len(lab.positions()) == 1


# several accounts


def test_every_account_acts_on_the_same_signals_with_its_own_books(lab: Lab) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 S1")
    for bar, expected in enumerate([NOOP, OPENED, TURNED]):
        report = lab.tick(bar)
        assert [came_to(report, EURUSD, name) for name in ("one", "two")] == [expected] * 2
    assert lab.deals("one") == lab.deals("two") != []
    assert report.to_json()["account"] == "one"
    assert list(report.to_json()["accounts"]) == ["one", "two"]


@pytest.mark.parametrize("spoilt", ["paper", "executor"])
def test_the_first_account_trades_when_the_second_cannot(lab: Lab, spoilt: str) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "L1 L2 L2")
    lab.tick(0)
    path = {
        "paper": lab.workspace.paper_path("two"),
        "executor": lab.workspace.executor_path("two"),
    }[spoilt]
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    broken = path.read_bytes()
    report = lab.tick(1)
    assert came_to(report, EURUSD) == TURNED
    assert str(path) in str(report.accounts["two"].error)
    assert report.exit_code == 1
    assert path.read_bytes() == broken
    path.write_bytes(whole)
    late = lab.tick(1, late=30)
    assert came_to(late, EURUSD) == NOTHING
    assert came_to(late, EURUSD, "two") == TURNED, "it acts on the stored signal, within the deadline"
    assert late.exit_code == 0
    assert lab.deals("one") == lab.deals("two")


@pytest.mark.parametrize(("late", "expected"), [(30, OPENED), (100, ("OPEN", "SKIP", "LATE"))])
def test_an_account_that_is_new_acts_on_the_stored_signal_within_the_deadline(
    lab: Lab, late: float, expected: tuple[str, ...]
) -> None:
    lab.accounts("one")
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.play(EURUSD, 2)
    lab.accounts("one", "two")
    report = lab.tick(1, late=late)
    assert came_to(report, EURUSD, "one") == NOTHING
    assert came_to(report, EURUSD, "two") == expected


def test_books_of_another_account_are_refused(lab: Lab) -> None:
    lab.accounts("one")
    opened(lab, "")
    lab.accounts("two")
    lab.workspace.executor_path("two").write_bytes(lab.workspace.executor_path("one").read_bytes())
    lab.workspace.executor_path("two").chmod(0o600)
    with pytest.raises(StateError, match="account 'one'") as refusal:
        lab.tick(2)
    assert refusal.value.exit_code == 65
