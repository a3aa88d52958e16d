"""Which bars a tick processes: several timeframes, gaps, catching up, and bars that the feed revises (§3.6, §8)."""

from __future__ import annotations

import numpy as np
import pytest

from oracle_batch.bars import FIELDS, PRICE_FIELDS, Bars
from oracle_batch.brain.decide import Replay, replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_models
from oracle_batch.types import ACTIONS, WINDOW
from tests.tick.lab import WORDS, Lab, came_to, outcome
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, MISSED, NOOP, OPENED, TURNED, opened

H1 = "EURUSD_H1"
NOTHING = (None, None, None)


def replayed(lab: Lab, name: str, bar: int, first: int) -> Replay:
    """The model alone over the feed's bars, from flat, from the ``first``-th stored bar on."""
    models, _ = load_models(lab.workspace.models, lab.workspace.compiled, write_cache=False)
    bars = lab.bars[name]
    bars = bars[bars.time <= lab.time(name, bar)][first:]
    return replay(models[name], bars, FLAT, len(bars) - WINDOW + 1)


def assert_twin_is_a_replay(lab: Lab, name: str, bar: int, first: int = 0) -> None:
    states = replayed(lab, name, bar, first).twins
    twin = lab.twin(name)
    assert twin.state == states[-1]
    kept = [state for state in twin.history if state.bar_time]
    assert kept == states[-1 - len(kept) : -1]


# timeframes


def test_only_models_whose_bar_closed_are_processed(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 W W")
    lab.add("EURUSD", "H1", "L1 L1")
    for bar in range(3):
        assert set(lab.tick(bar).accounts["paper"].models) == ({EURUSD, H1} if bar == 0 else {EURUSD})
    report = lab.tick(3)
    assert set(report.accounts["paper"].models) == {EURUSD, H1}
    assert came_to(report, EURUSD) == CLOSED
    assert came_to(report, H1) == OPENED
    assert set(lab.tick(4).accounts["paper"].models) == {EURUSD}


def test_nothing_is_due_on_a_weekend_and_the_exit_code_is_0(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1", after=0)
    lab.play(EURUSD, 2)
    for hours in (1, 20, 48):
        report = lab.at(lab.close_of(1) + hours * 3600)
        assert report.accounts["paper"].models == {}
        assert report.exit_code == 0
    assert len(lab.positions()) == 1


def test_an_interval_without_a_bar_is_no_signal_and_no_error(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S3 S1")
    lab.drop(EURUSD, 2)
    lab.play(EURUSD, 2)
    report = lab.tick(2)
    assert report.accounts["paper"].models == {}
    assert report.exit_code == 0
    assert came_to(lab.tick(3), EURUSD) == TURNED


def test_the_forming_bar_is_never_used(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1")
    lab.tick(0)
    report = lab.tick(1, late=899.9)
    assert outcome(report, EURUSD).bar_time == lab.time(EURUSD, 1)


def test_a_clock_that_went_back_does_nothing(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W W W")
    lab.play(EURUSD, 3)
    assert lab.tick(1).accounts["paper"].models == {}


def test_fewer_than_350_bars_are_no_signal(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 L1")
    lab.script(EURUSD, "W L1 L1 L1 S1", warm=WINDOW - 3)
    for bar in range(2):
        report = lab.tick(bar)
        assert came_to(report, EURUSD) == (None, None, "WARMING_UP")
        assert report.exit_code == 0
        assert not lab.workspace.twin_path(EURUSD).exists()
    assert came_to(lab.tick(2), EURUSD) == OPENED, "the 350th bar of a window is the first decided one"
    assert came_to(lab.tick(3), EURUSD) == NOOP


# catching up


def test_missed_bars_are_replayed_silently_and_only_the_newest_trades(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 L3 S2 W")
    lab.tick(0)
    assert came_to(lab.tick(4), EURUSD) == OPENED
    assert [client for client, _ in lab.deals()] == [f"ob-{EURUSD}-{lab.time(EURUSD, 4)}-1"]
    assert [one.bar_time for one in lab.journal() if type(one).__name__ == "Signal"] == [
        lab.time(EURUSD, 0),
        lab.time(EURUSD, 4),
    ]
    assert_twin_is_a_replay(lab, EURUSD, 4)


@pytest.mark.parametrize("gap", [2, 17, 300, 652, 900, 999])
def test_a_gap_within_the_stored_bars_is_replayed_from_where_the_twin_stood(lab: Lab, gap: int) -> None:
    words = ["W", "L1", "L1", "S2", "S3", "L3", "W", "S1"]
    script = " ".join(words[(bar * bar + bar // 7) % 8] for bar in range(gap + 2))
    lab.add("EURUSD", "M15", script)
    lab.tick(0)
    lab.tick(gap)
    assert_twin_is_a_replay(lab, EURUSD, gap)
    assert lab.events("auto_warmup")[1:] == []
    assert len(lab.window(EURUSD).bars) == min(1000, 401 + gap)


def test_a_gap_beyond_the_stored_bars_warms_up_by_itself(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 " + "L1 " * 1100 + "S1")
    lab.play(EURUSD, 2)
    report = lab.tick(1102)
    assert report.exit_code == 0
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "OK", None)
    assert lab.events("auto_warmup")[-1].detail == {"bars": 1000, "behind_since": lab.time(EURUSD, 1)}
    assert_twin_is_a_replay(lab, EURUSD, 1102, first=1103 + 400 - 1000)


def test_a_gap_beyond_the_stored_bars_without_auto_warmup_needs_the_operator(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 " + "L1 " * 1100)
    lab.play(EURUSD, 2)
    lab.rule(auto_warmup=False, max_blind_bars=5000)
    twin = lab.workspace.twin_path(EURUSD).read_bytes()
    report = lab.tick(1100)
    assert came_to(report, EURUSD) == (None, None, "NEEDS_WARMUP")
    assert f"oracle-batch warmup {EURUSD}" in str(outcome(report, EURUSD).error)
    assert report.exit_code == 1
    assert lab.workspace.twin_path(EURUSD).read_bytes() == twin
    assert len(lab.positions()) == 1


def test_a_held_position_without_a_twin_is_closed_after_the_blind_bars(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 " + "L1 " * 1100)
    lab.play(EURUSD, 2)
    lab.rule(auto_warmup=False)
    report = lab.tick(1100)
    assert came_to(report, EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert report.exit_code == 1
    lab.rule(auto_warmup=True)
    assert came_to(lab.tick(1101), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")


def test_without_a_twin_the_first_tick_warms_up_or_says_so(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "L1")
    lab.rule(auto_warmup=False)
    assert came_to(lab.tick(0), EURUSD) == (None, None, "NEEDS_WARMUP")
    lab.rule(auto_warmup=True)
    assert came_to(lab.tick(0), EURUSD) == OPENED


# revised bars


def test_a_revised_last_bar_recomputes_the_twin_and_the_edge(lab: Lab) -> None:
    """Bar 1 said L1 and was entered. Officially it said S1; S1 on bar 2 is then no edge, and the long is closed."""
    opened(lab, "S1 S1 W")
    lab.say(EURUSD, 1, "S1")
    assert came_to(lab.tick(2), EURUSD) == CLOSED
    assert_twin_is_a_replay(lab, EURUSD, 2)
    when = lab.time(EURUSD, 1)
    assert [event.detail for event in lab.events("bar_revised")] == [{"bar_time": when}]
    (recomputed,) = lab.events("twin_recomputed")
    assert recomputed.detail["bar_time"] == when
    assert (recomputed.detail["was"]["signal"], recomputed.detail["is"]["signal"]) == ("LONG_WEAK", "SHORT_WEAK")
    assert [event.detail for event in lab.events("decision_revised")] == [{"bar_time": when}]
    assert lab.books().models[EURUSD].decisions_revised == 1
    assert came_to(lab.tick(3), EURUSD) == MISSED
    assert lab.books().models[EURUSD].decisions_revised == 1


def test_a_revision_that_leaves_the_signal_alone_is_no_revised_decision(lab: Lab) -> None:
    opened(lab, "L1 W")
    row = int(np.searchsorted(lab.bars[EURUSD].time, lab.time(EURUSD, 1)))
    lab.change(EURUSD, 1, volume=float(lab.bars[EURUSD].volume[row]) + 1, high=1.10061)
    assert came_to(lab.tick(2), EURUSD) == NOOP
    assert_twin_is_a_replay(lab, EURUSD, 2)
    assert len(lab.events("bar_revised")) == 1
    assert lab.events("decision_revised") == []
    assert lab.books().models[EURUSD].decisions_revised == 0


@pytest.mark.parametrize("age", [2, 7, 15, 16])
def test_an_older_revised_bar_is_recomputed_within_the_remembered_states(lab: Lab, age: int) -> None:
    """``age`` bars before the newest stored one counts 1; every pull asks for 16 of them again."""
    lab.add("EURUSD", "M15", "W L1 " + "S1 L2 W S3 L1 " * 5)
    lab.play(EURUSD, 20)
    lab.say(EURUSD, 20 - age, "S2")
    lab.tick(20)
    assert len(lab.events("bar_revised")) == 1
    assert lab.events("twin_rebuilt") == []
    assert_twin_is_a_replay(lab, EURUSD, 20)


def test_every_decision_that_a_revision_changed_is_counted(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 L1 L1 L1 L1 W")
    lab.play(EURUSD, 6)
    lab.say(EURUSD, 2, "S1")
    lab.say(EURUSD, 4, "W")
    lab.tick(6)
    assert [event.detail["bar_time"] for event in lab.events("decision_revised")] == [
        lab.time(EURUSD, 2),
        lab.time(EURUSD, 4),
    ]
    assert lab.books().models[EURUSD].decisions_revised == 2
    assert_twin_is_a_replay(lab, EURUSD, 6)


def test_a_revision_before_the_remembered_states_rebuilds_the_twin(lab: Lab) -> None:
    """A twin that was warmed up a moment ago remembers nothing from before its first bar."""
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.script(EURUSD, "W L1 L1 S1", warm=WINDOW)
    lab.tick(0)
    lab.say(EURUSD, -3, "L2")
    assert came_to(lab.tick(1), EURUSD) == OPENED
    assert len(lab.events("twin_rebuilt")) == 1
    assert_twin_is_a_replay(lab, EURUSD, 1)


def test_a_bar_that_turns_up_later_is_replayed_into_its_place(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 S1 S2")
    whole = lab.bars[EURUSD]
    lab.drop(EURUSD, 2)
    lab.tick(0)
    lab.tick(1)
    assert came_to(lab.tick(3), EURUSD) == TURNED
    lab.put(EURUSD, whole)
    assert came_to(lab.tick(4), EURUSD) == TURNED
    assert [event.detail for event in lab.events("bar_revised")] == [{"bar_time": lab.time(EURUSD, 2)}]
    assert lab.events("decision_revised") == []
    assert_twin_is_a_replay(lab, EURUSD, 4)
    assert lab.window(EURUSD).bars.time[-4:].tolist() == [lab.time(EURUSD, bar) for bar in range(1, 5)]


def test_a_bar_that_the_feed_takes_back_leaves_the_window(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 S1 S2")
    lab.play(EURUSD, 4)
    lab.drop(EURUSD, 2)
    lab.tick(4)
    assert_twin_is_a_replay(lab, EURUSD, 4)


def test_another_scale_is_refused_and_the_others_trade(lab: Lab) -> None:
    opened(lab, "S1 S1")
    lab.add("GBPUSD", "M15", "W W W L1")
    bars, files = lab.bars[EURUSD], (lab.workspace.bars_path(EURUSD), lab.workspace.twin_path(EURUSD))
    before = [path.read_bytes() for path in files]
    prices = [getattr(bars, name) * 100 for name in PRICE_FIELDS]
    lab.put(EURUSD, Bars(bars.time, *prices, bars.volume))
    report = lab.tick(3)
    assert "another scale or feed" in str(outcome(report, EURUSD).error)
    assert came_to(report, EURUSD) == NOTHING
    assert report.exit_code == 1
    assert [path.read_bytes() for path in files] == before
    assert came_to(report, "GBPUSD_M15") == OPENED


def test_a_shifted_grid_is_refused(lab: Lab) -> None:
    name = lab.add("EURUSD", "H4", "W L1 S1")
    assert came_to(lab.tick(1, timeframe="H4"), name) == OPENED
    bars = lab.bars[name]
    lab.put(name, Bars(bars.time + 7200, *(getattr(bars, field) for field in FIELDS[1:])))
    report = lab.tick(2, timeframe="H4", late=7200)
    assert "shifted grid" in str(outcome(report, name).error)
    assert report.exit_code == 1


def test_words_are_the_actions() -> None:
    names = {"W": "WAIT", "L2": "LONG_MODERATE", "S3": "SHORT_STRONG"}
    assert all(ACTIONS[WORDS[word]].name == name for word, name in names.items())
