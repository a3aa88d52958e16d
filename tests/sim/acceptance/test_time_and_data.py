"""FAILURE_MODES, time and data: rows 44 to 50."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.sim import handlers_history
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.process import Plan
from tests.sim.acceptance.world import World
from tests.tick.lab import T0, WORDS, shaped

NAME = "EURUSD_M15"
EACH = {"times": 0}
NO_POLL = "[tick]\nbar_poll_s = 0.3\n"


def ready(world: World, script: str = "W L1 W W", *, config: str = "", **options: Any) -> None:
    world.lab.add("EURUSD", "M15", script)
    world.start(config=config, **options)
    world.play(0)


def test_row_44_a_clock_that_is_off_warns_and_beyond_two_seconds_refuses_to_open(world: World) -> None:
    ready(world, "W L1 W L1 W L1 W")
    world.simulator.faults({"fault": "skew_clock", "seconds": 2.2})
    result = world.tick(1)
    assert world.came_to(result) == ("OPEN", "OK", None)
    assert "clock" in result.err
    world.simulator.faults({"fault": "skew_clock", "seconds": 30})
    assert world.came_to(world.tick(2)) == ("CLOSE", "OK", None), "closes never wait for a clock"
    result = world.tick(3)
    assert world.came_to(result)[1:] == ("SKIP", "CLOCK_SKEW")
    assert "clock" in result.err
    world.simulator.faults({"fault": "skew_clock", "seconds": 0})
    world.play(4)
    assert world.came_to(world.tick(5)) == ("OPEN", "OK", None)
    world.agree()


@pytest.mark.parametrize("offset", [-3 * 3600, -2 * 3600])
def test_row_45_the_grid_of_long_bars_is_the_brokers(world: World, offset: int) -> None:
    """H4 bars that start at 21:00 or 22:00, in winter and in summer."""
    name = world.lab.add("EURUSD", "H4", "W L1 W")
    actions = [0] * 1010 + [WORDS[word] for word in ["W", "L1", "W"]] + [0] * 3
    world.lab.put(name, shaped(actions, T0 + offset - 1010 * 14400, 14400))
    world.start(start=T0 + offset)
    seen = []
    for bar in range(3):
        world.simulator.advance(T0 + offset + (bar + 1) * 14400 + 1)
        result = world.cli("tick", "--json")
        assert result.code == 0, result.text
        seen.append((result.document["models"][name]["bar_time"], world.came_to(result, name)[0]))
    times = [T0 + offset + bar * 14400 for bar in range(3)]
    assert seen == list(zip(times, ["NOOP", "OPEN", "CLOSE"], strict=True))
    world.agree()


def test_row_46_a_weekend_and_maintenance_are_skipped_cleanly(world: World) -> None:
    ready(world, config=NO_POLL)
    world.lab.drop(NAME, *range(3, 7))
    world.play(1, 2)
    for hour in (24, 48):
        world.simulator.advance(T0 + 5 * 86400 + hour * 3600)
        result = world.cli("tick", "--json")
        assert result.code == 0, result.text
        assert len(world.received("NewOrderReq")) == 1
    busy = {"fault": "refuse", "on": "ApplicationAuthReq", "code": "SERVER_IS_UNDER_MAINTENANCE", **EACH}
    world.simulator.faults(busy)
    began = time.monotonic()
    result = world.cli("tick", "--json")
    assert result.code == 69
    assert "maintenance" in result.err
    assert time.monotonic() - began < 40
    world.simulator.faults()
    assert world.cli("tick", "--json").code == 0
    world.agree()


def test_row_47_a_bar_that_comes_late_is_polled_for(world: World) -> None:
    ready(world)
    world.simulator.faults({"fault": "withhold_bars", "symbol": "EURUSD", "timeframe": "M15", "seconds": 1.5})
    began = time.monotonic()
    result = world.tick(1)
    assert 1.2 < time.monotonic() - began < 40
    assert world.came_to(result) == ("OPEN", "OK", None)
    state = world.simulator.state()["requests"]
    assert state["max_historical_per_second"] <= 5
    world.agree()


def test_row_47_a_bar_that_never_comes_is_given_up_and_replayed_when_it_turns_up(world: World) -> None:
    real_time = [0.0]
    ready(world, "W L1 L1 W", config=NO_POLL, monotonic=lambda: real_time[0])
    world.simulator.faults({"fault": "withhold_bars", "symbol": "EURUSD", "timeframe": "M15", "seconds": 2.5})
    result = world.tick(1)
    assert (result.code, world.came_to(result)) == (0, (None, None, None))
    real_time[0] += 3.0
    result = world.tick(2)
    assert world.came_to(result)[0] == "WAIT_SYNC"
    assert world.deals() == [], "its edge is missed, and stays missed"
    world.play(3)
    world.agree()


def test_row_48_an_interval_without_ticks_has_no_bar_no_signal_and_no_error(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1 W W")
    world.lab.drop(NAME, 1)
    world.start(config=NO_POLL)
    world.play(0)
    result = world.tick(1)
    assert (result.code, result.document["models"]) == (0, {})
    assert world.tick(2).code == 0
    assert world.deals() == []


@pytest.mark.parametrize("late", [1.0, 450.0, 899.0])
def test_row_49_the_forming_bar_is_never_taken_for_closed(world: World, late: float) -> None:
    ready(world, "W W L1 W")
    result = world.tick(1, late=late)
    assert result.code == 0
    assert world.lab.window(NAME).bars.time[-1] == world.lab.time(NAME, 1)
    assert world.lab.twin(NAME).state.bar_time == world.lab.time(NAME, 1)
    assert world.deals() == []


def test_row_50_gaps_repeated_bars_and_short_pages_make_one_ordered_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.lab.add("EURUSD", "M15", "W L1 W")
    bars = world.lab.bars[name]
    gaps = np.isin(np.arange(len(bars)), np.r_[100:140, 500, 777:800])
    world.lab.put(name, bars[~gaps])
    monkeypatch.setattr(handlers_history, "PAGE_BARS", 300)
    answered = bars_twice(monkeypatch)
    world.start(config=NO_POLL)
    world.play(0, 1)
    assert answered
    window = world.lab.window(name).bars
    steps = np.diff(window.time)
    assert (steps > 0).all(), "ordered, each once"
    mine = world.lab.bars[name]
    known = mine[(mine.time >= window.time[0]) & (mine.time <= window.time[-1])]
    assert window.time.tolist() == known.time.tolist(), "complete"
    for column in FIELDS[1:]:
        assert np.allclose(getattr(window, column), getattr(known, column), atol=1e-9)
    assert world.deals() == [("ob-EURUSD_M15-1704672900-1", False)]


def bars_twice(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every answer hold some bars twice and out of order, as the real server was seen to do."""
    answered: list[int] = []
    once = Exchange.trendbars

    def twice(self: Exchange, *arguments: Any, **options: Any) -> Bars:
        bars = once(self, *arguments, **options)
        rows = np.r_[np.arange(len(bars)), np.arange(len(bars))[-3:-1], np.arange(len(bars))[:2]]
        answered.append(len(bars))
        return Bars(*(getattr(bars, column)[rows] for column in FIELDS))

    monkeypatch.setattr(Exchange, "trendbars", twice)
    return answered


def test_row_50_a_revised_bar_replaces_the_stored_one(world: World) -> None:
    ready(world, "W L1 L1 W")
    world.play(1)
    first = world.lab.time(NAME, 0)
    revision = {"fault": "revise_bars", "symbol": "EURUSD", "timeframe": "M15", "time": first, "add": {"close": 1e-5}}
    world.simulator.faults(revision)
    assert world.tick(2).code == 0
    assert [one for one in world.journal() if getattr(one, "name", "") == "bar_revised"]
    window = world.lab.window(NAME).bars
    row = int(np.searchsorted(window.time, first))
    assert window.close[row] == pytest.approx(world.lab.bars[NAME].close[-7] + 1e-5, abs=1e-9)
    world.agree()


def test_a_gap_takes_the_position_out_at_the_first_price_after_it(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1 L1 L1", sl_usd=2)
    world.start(plan=Plan())
    world.play(0, 1)
    (held,) = world.simulator.state()["positions"]
    world.simulator.faults({"fault": "gap_prices", "symbol": "EURUSD", "distance": -0.02, "seconds": 1800})
    world.simulator.advance(world.lab.close_of(2) + 1)
    closing = [one for one in world.simulator.state()["deals"] if one["closing"]]
    assert [one["position_id"] for one in closing] == [held["position_id"]]
    assert closing[0]["price"] < held["stop_loss"] - 0.01
    result = world.cli("tick", "--json")
    assert result.code in (0, 1)
    assert world.positions() == []
    world.agree()
