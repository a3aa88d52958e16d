"""The resident in virtual time: what it starts, and when, whatever happens to clock, settings and models meanwhile."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from apscheduler.executors.debug import DebugExecutor

from oracle_batch import heartbeat, scheduler
from oracle_batch.children import Children
from oracle_batch.clock import FrozenClock
from oracle_batch.config import load_settings
from oracle_batch.errors import ConfigError
from oracle_batch.scheduler import CATCH_UP_S, GUARD_CLEARANCE_S, InStep, Resident
from oracle_batch.store.workspace import Workspace
from oracle_batch.timetable import Watched
from tests.test_waking import SATURDAY, closed, workspace

EIGHT = 1784880000.0  # 2026-07-24 08:00Z, a Friday
HOUR = 3600.0


def watched(found: Workspace, arm_s: float | None = None) -> Watched:
    if arm_s is not None:
        found.config_file.write_text(f"[tick]\narm_s = {arm_s}\n")
    return Watched(found, lambda: load_settings(found.config_file), found.config_file)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], float, str]]:
    """What the resident starts, instead of starting it."""
    started: list[tuple[list[str], float, str]] = []

    def run(self: Children, line: Sequence[str], timeout_s: float, what: str) -> int:
        started.append((list(line), timeout_s, what))
        return 0

    monkeypatch.setattr(Children, "run", run)
    return started


class Lived:
    """A resident that is turned by hand, on a clock that is set by hand. A child takes no time."""

    def __init__(self, resident: Resident, clock: FrozenClock, runs: list[tuple[list[str], float, str]]) -> None:
        self._resident, self._clock, self._runs = resident, clock, runs
        self._steps = InStep()
        self._alarms = resident._set_alarms(self._steps)
        self._steps.start()
        self.started: list[tuple[str, str]] = []

    def go_on(self, seconds: float) -> list[tuple[str, str]]:
        """Live so long; what was started, and when."""
        end, found = self._clock.instant + seconds, []
        while True:
            before = len(self._runs)
            wait = self._resident._turn(self._steps, self._alarms)
            moment = datetime.fromtimestamp(self._clock.instant, UTC).strftime("%a %H:%M:%S")
            found += [(what, moment) for _, _, what in self._runs[before:]]
            if self._clock.instant >= end:
                return found
            self._clock.instant += min(max(wait, 1e-6), scheduler.LOOK_S, end - self._clock.instant)

    def step(self, seconds: float) -> None:
        """Set the clock: a step, or a machine that slept."""
        self._clock.instant += seconds


@contextmanager
def alive(found: Watched, runs: list[Any], start: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lived]:
    """A resident from ``start`` on."""
    clock = FrozenClock(start)

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(clock.instant, tz)

    with monkeypatch.context() as patch:
        patch.setattr("apscheduler.schedulers.base.datetime", Moment)
        patch.setattr(scheduler, "datetime", Moment)
        patch.setattr(scheduler, "SystemClock", lambda: clock)
        patch.setattr(scheduler, "ThreadPoolExecutor", lambda workers: DebugExecutor())
        yield Lived(Resident(found._workspace, found, [], None), clock, runs)


def ticks(started: Sequence[tuple[str, str]]) -> list[str]:
    return [moment for what, moment in started if what == "tick"]


# what is started


@pytest.mark.parametrize(("arm_s", "names", "told"), [
    (20.0, ["EURUSD_M15"], ["--arm", "20"]), (90.0, ["EURUSD_M1", "EURUSD_H1"], ["--arm", "30"]),
    (0.0, ["EURUSD_M15"], []),
])  # fmt: skip
def test_a_tick_is_told_how_long_to_wait(
    arm_s: float, names: list[str], told: list[str], tmp_path: Path, runs: list[Any]
) -> None:
    found = workspace(tmp_path, *names)
    Resident(found, watched(found, arm_s), [], None).tick()
    ((line, timeout_s, what),) = runs
    assert what == "tick"
    assert line[line.index("tick") + 1 :] == told
    assert 120 + min(arm_s, 30) < timeout_s < 300, "its own deadline comes first"


@pytest.mark.parametrize(("until_tick", "runs_for"), [(3.0, None), (30.0, 25.0), (600.0, 50.0)])
def test_a_guard_is_over_before_the_next_tick(
    until_tick: float, runs_for: float | None, tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(tmp_path, "EURUSD_M15")
    resident = Resident(found, watched(found), [], None)
    monkeypatch.setattr(scheduler.Timetable, "next_tick", lambda self, after: after + until_tick)
    resident.guard()
    assert [what for _, _, what in runs] == ([] if runs_for is None else ["guard"])
    assert runs_for is None or runs[0][1] == pytest.approx(runs_for)


def test_what_ran_is_in_the_heartbeat(tmp_path: Path, runs: list[Any]) -> None:
    found = workspace(tmp_path, "EURUSD_M15")
    resident = Resident(found, watched(found), [], None)
    assert heartbeat.read(found.heartbeat) is None
    resident.tick()
    resident.tick()
    beat = heartbeat.read(found.heartbeat)
    assert beat is not None
    assert (beat.process, beat.ticks, beat.guards, beat.running) == (os.getpid(), 2, 0, None)
    assert beat.last_tick is not None
    assert beat.last_tick.exit_code == 0
    assert beat.next_tick is not None
    assert beat.next_tick > beat.beat_at
    assert not list(found.state.glob(".heart*")), "no temp file is left"


def test_a_heartbeat_that_cannot_be_written_is_told_once(
    tmp_path: Path, runs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    found = workspace(tmp_path, "EURUSD_M15")
    found.heartbeat.mkdir()
    Resident(found, watched(found), [], None).tick()
    told = [one.getMessage().split(":")[0] for one in caplog.records if one.levelno >= logging.WARNING]
    assert told == ["no heartbeat, ticks are woken all the same"]
    assert len(runs) == 1


# when it is started


def test_an_hour_of_two_timeframes(tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = watched(workspace(tmp_path, "EURUSD_M15", "GBPUSD_H1", "USDJPY_H1"))
    with alive(found, runs, EIGHT + 60, monkeypatch) as lived:
        started = lived.go_on(HOUR)
    assert ticks(started) == [
        "Fri 08:01:00", "Fri 08:14:40", "Fri 08:29:40", "Fri 08:44:40", "Fri 08:59:40",
    ]  # fmt: skip
    guards = [moment for what, moment in started if what == "guard"]
    assert guards == [f"Fri {8 + minute // 60:02}:{minute % 60:02}:20" for minute in range(1, 61)]
    timeouts = {timeout_s for _, timeout_s, what in runs if what == "guard"}
    assert timeouts == {50.0, 20.0 - GUARD_CLEARANCE_S}


def test_at_its_start_it_catches_up_unless_a_tick_is_near(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = watched(workspace(tmp_path, "EURUSD_M15"))
    with alive(found, runs, EIGHT + 2, monkeypatch) as lived:
        assert lived.go_on(10) == [("tick", "Fri 08:00:02")]
        assert "--arm" not in runs[0][0]
    with alive(found, runs, EIGHT + 880 - CATCH_UP_S + 1, monkeypatch) as lived:
        assert ticks(lived.go_on(100)) == ["Fri 08:14:40"]


def test_the_weekend_has_hardly_any(tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    evening = SATURDAY - 17 * HOUR  # Friday 19:00Z; markets end at 20:59Z, and are looked at for an hour longer
    home = closed(tmp_path, evening, "EURUSD_M15")
    monkeypatch.setattr(scheduler, "LOOK_S", HOUR)
    with alive(watched(home), runs, evening + 10, monkeypatch) as lived:
        started = lived.go_on(8 * HOUR)
    assert len(set(ticks(started))) == len(ticks(started)) == 1 + 4 * 3
    assert ticks(started)[-1] == "Fri 21:59:40"
    guards = Counter(moment[:6] for what, moment in started if what == "guard")
    assert guards == dict.fromkeys(("Fri 19", "Fri 20", "Fri 21"), 60) | dict.fromkeys(
        ("Fri 22", "Fri 23", "Sat 00", "Sat 01", "Sat 02"), 1
    )


def test_a_machine_that_slept_runs_one_late_tick_and_goes_on(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with alive(watched(workspace(tmp_path, "EURUSD_M15")), runs, EIGHT + 850, monkeypatch) as lived:
        lived.go_on(10)
        lived.step(2 * HOUR)
        assert lived.go_on(10) == [("tick", "Fri 10:14:20"), ("guard", "Fri 10:14:20")]
        assert ticks(lived.go_on(20 * 60)) == ["Fri 10:14:40", "Fri 10:29:40"]


@pytest.mark.parametrize(("back_s", "again"), [(0.6, []), (25.0, []), (HOUR, ["Fri 07:29:40", "Fri 07:44:40"])])
def test_a_clock_that_is_set_back_is_followed_and_by_moments_repeats_nothing(
    back_s: float, again: list[str], tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with alive(watched(workspace(tmp_path, "EURUSD_M15")), runs, EIGHT + 850, monkeypatch) as lived:
        assert ticks(lived.go_on(30.1)) == ["Fri 08:14:40"]
        lived.step(-back_s)
        assert ticks(lived.go_on(60 + 30 * 60)) == (again or ["Fri 08:29:40", "Fri 08:44:40"])
        if again:  # the hour comes again, also the instant that it woke at before
            assert ticks(lived.go_on(15 * 60))[-1:] == ["Fri 07:59:40"]
            assert ticks(lived.go_on(15 * 60))[-1:] == ["Fri 08:14:40"]


def test_a_model_that_comes_is_woken_for_at_once_and_an_emptied_folder_goes_on_as_before(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "oracle_batch")
    home = workspace(tmp_path, "EURUSD_H1")
    with alive(watched(home), runs, EIGHT + 100, monkeypatch) as lived:
        lived.go_on(10)
        workspace(tmp_path, "EURUSD_M15")
        assert ticks(lived.go_on(14 * 60)) == ["Fri 08:14:40"]
        assert "now waking a tick for each close of M15, H1; the next one at 08:14:40Z" in caplog.text
        beat = heartbeat.read(home.heartbeat)
        assert beat is not None
        assert beat.next_tick == EIGHT + 1780
        for path in home.models.iterdir():
            path.unlink()
        assert ticks(lived.go_on(15 * 60)) == ["Fri 08:29:40"]
        assert caplog.text.count("no model bundle here") == 1, "it is said once"
        workspace(tmp_path, "EURUSD_H1")
        assert ticks(lived.go_on(15 * 60)) == []
        assert "the bundles are usable again" in caplog.text


def test_settings_that_become_wrong_are_told_once_and_the_good_ones_stand(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "oracle_batch")
    home = workspace(tmp_path, "EURUSD_M15")
    with alive(watched(home, 20.0), runs, EIGHT + 100, monkeypatch) as lived:
        home.config_file.write_text("[tick]\narm_s = -1\n")
        assert ticks(lived.go_on(14 * 60)) == ["Fri 08:01:40", "Fri 08:14:40"]
        wrong = [one.getMessage() for one in caplog.records if "woken as before" in one.getMessage()]
        assert len(wrong) == 1
        assert str(home.config_file) in wrong[0]
        assert "arm_s" in wrong[0]
        home.config_file.write_text("[tick]\narm_s = 45\n")
        assert ticks(lived.go_on(15 * 60)) == ["Fri 08:29:15"]
        assert [line[-2:] for line, _, what in runs if what == "tick"][-1] == ["--arm", "45"]
        assert "the settings are usable again" in caplog.text
        home.config_file.unlink()
        assert ticks(lived.go_on(15 * 60)) == ["Fri 08:44:40"], "a missing file means the defaults"


def test_hours_that_are_nonsense_close_nothing(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = closed(tmp_path, SATURDAY - HOUR, "EURUSD_M15")
    home.market_hours.write_text(home.market_hours.read_text().replace("America/New_York", "Nowhere/Land"))
    with alive(watched(home), runs, SATURDAY + 100, monkeypatch) as lived:
        assert ticks(lived.go_on(HOUR / 2))[1:] == ["Sat 12:14:40", "Sat 12:29:40"]


def test_no_bundle_no_trigger(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model bundle"):
        watched(workspace(tmp_path, "notes", "EURUSD_M7"))
