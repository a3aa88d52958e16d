"""``enable`` and ``disable``: one word in the operator's file, and no edge out of nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oracle_batch.errors import ConfigError, LockHeld
from oracle_batch.operating import switching
from oracle_batch.operating.resuming import resume
from oracle_batch.operating.switching import Switched, switch
from oracle_batch.store.lock import hold
from tests.operating.acts import job
from tests.tick.lab import Lab, came_to, tree
from tests.tick.test_sync_scenarios import EURUSD, MISSED, NOOP, OPENED, opened

SHIPPED = Path(__file__).parents[2] / "config" / "executor_symbols.json"


def turn(lab: Lab, target: str, *, enabled: bool) -> Switched:
    (one,) = switch(job(lab), target, enabled=enabled)
    return one


def entries(lab: Lab) -> dict[str, bool]:
    document = json.loads(lab.workspace.executor_symbols.read_text())
    return {key: entry.get("enabled", False) for key, entry in document.items() if not key.startswith("_")}


def test_enabling_turns_no_running_signal_into_an_edge(lab: Lab) -> None:
    """The signal came while the symbol was disabled: that entry was missed and stays missed."""
    lab.add("EURUSD", "M15", "W L1 L1 L1 L2", enabled=False)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", "DISABLED")]
    assert turn(lab, "EURUSD", enabled=True).changed
    assert lab.play(EURUSD, 5, first=2) == [MISSED, MISSED, OPENED]


def test_disabling_stops_entries_and_still_closes(lab: Lab) -> None:
    opened(lab, "S1 W")
    turn(lab, EURUSD, enabled=False)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "DISABLED")
    assert lab.positions() == []


def test_it_is_journalled_once_and_doing_it_again_writes_nothing(lab: Lab) -> None:
    opened(lab, "L1")
    assert turn(lab, "EURUSD", enabled=False).changed
    before = tree(lab.workspace.state / "journal"), tree(lab.workspace.config)
    assert not turn(lab, "EURUSD", enabled=False).changed
    assert (tree(lab.workspace.state / "journal"), tree(lab.workspace.config)) == before
    (event,) = lab.events("disabled")
    assert event.detail == {"entry": "EURUSD", "models": [EURUSD]}
    lab.tick(2)
    assert lab.books().models[EURUSD].position is not None, "the line is read over by the next run"


def test_nothing_else_in_the_file_changes(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    text = SHIPPED.read_text()
    lab.workspace.executor_symbols.write_text(text)
    turn(lab, "EURUSD", enabled=True)
    assert lab.workspace.executor_symbols.read_text() == text.replace('"enabled": false', '"enabled": true', 1)
    turn(lab, "EURUSD", enabled=False)
    assert lab.workspace.executor_symbols.read_text() == text


def test_a_model_gets_an_entry_of_its_own_as_a_copy_of_its_symbols(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    lab.add("EURUSD", "M30", "W", lot_weak=0.07)
    one = turn(lab, EURUSD, enabled=False)
    assert (one.key, one.models, one.apart) == (EURUSD, (EURUSD,), ())
    document = json.loads(lab.workspace.executor_symbols.read_text())
    assert document[EURUSD] == {**document["EURUSD"], "enabled": False}
    assert document["EURUSD"]["enabled"] is True
    again = turn(lab, "EURUSD", enabled=False)
    assert (again.models, again.apart) == (("EURUSD_M30",), (EURUSD,))


def test_a_symbol_without_an_entry_gets_one(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1")
    lab.workspace.executor_symbols.write_text('{\n  "_note": "mine"\n}\n')
    turn(lab, "EURUSD", enabled=True)
    assert entries(lab) == {"EURUSD": True}
    lab.workspace.executor_symbols.unlink()
    turn(lab, EURUSD, enabled=True)
    assert entries(lab) == {"EURUSD": False, EURUSD: True}


def test_an_entry_without_a_bundle_may_be_switched_in_advance(lab: Lab) -> None:
    lab.trade("XAUUSD", enabled=False)
    assert turn(lab, "XAUUSD", enabled=True).changed
    assert entries(lab) == {"XAUUSD": True}


def test_a_name_that_nobody_knows_changes_nothing(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    before = tree(lab.workspace.config)
    with pytest.raises(ConfigError, match="no model is or trades 'EURSUD'"):
        switch(job(lab), "EURSUD", enabled=True)
    assert tree(lab.workspace.config) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"EURUSD": {"lot_week": 1}}', "unknown key"),
        ('{"EURUSD": {"enabled": true, "enabled": true}}', "given twice"),
        ('{"EURUSD": {}, "EURUSD": {}}', "given twice"),
        ('{"EURUSD": {', "not valid JSON"),
    ],
)
def test_an_entry_that_cannot_be_read_is_left_to_the_operator(lab: Lab, text: str, why: str) -> None:
    lab.add("EURUSD", "M15", "W")
    lab.workspace.executor_symbols.write_text(text)
    for target in ("EURUSD", EURUSD):
        with pytest.raises(ConfigError, match=why):
            switch(job(lab), target, enabled=True)
    assert lab.workspace.executor_symbols.read_text() == text


def test_it_waits_for_the_lock(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("EURUSD", "M15", "W")
    monkeypatch.setattr(switching, "OPERATOR_TIMEOUT_S", 0.1)
    with hold(lab.workspace.lock), pytest.raises(LockHeld):
        switch(job(lab), "EURUSD", enabled=False)
    assert entries(lab) == {"EURUSD": True}


def test_resuming_tells_the_journal_since_when_it_was_paused(lab: Lab) -> None:
    opened(lab, "L1")
    lab.workspace.paused.write_text("1704673000\n")
    resume(job(lab))
    resume(job(lab))
    assert [event.detail for event in lab.events("resumed")] == [{"paused_at": 1704673000}]
    lab.workspace.paused.write_text("by hand")
    resume(job(lab))
    assert lab.events("resumed")[1].detail == {"paused_at": None}
    assert not lab.workspace.is_paused()
