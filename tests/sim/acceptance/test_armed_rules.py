"""What comes between while a tick is armed, and what a run without arming would have come to (DESIGN §8)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_model
from oracle_batch.store.records import Signal
from oracle_batch.types import STORED_BARS, WINDOW
from tests.sim.acceptance.armed import NAME, ArmedTick, count_of, events, started
from tests.sim.acceptance.world import PATIENCE_S, World, each_world
from tests.tick.lab import scripted

LOW = 1.1
"""The low of every scripted bar, where its close says WAIT."""


def test_a_broker_that_refuses_before_the_close_is_met_at_the_trigger(world: World) -> None:
    started(world)
    world.simulator.faults({"fault": "refuse", "on": "ReconcileReq", "code": "UNSUPPORTED_MESSAGE"})
    result = ArmedTick(world, 1, says="not armed: ").close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    (event,) = events(world, "not_armed")
    assert event.detail["close"] == world.lab.close_of(1)
    world.agree()


def test_a_deposit_while_armed_is_looked_at_before_the_trigger(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    (account,) = world.simulator.exchange.account_ids

    def deposit() -> None:
        server = world.simulator.server
        server.publish(server.exchange.cash(account, 5_000.0))

    world.simulator.call(deposit)
    tick.until_mended()
    result = tick.close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert [one.detail["mended"] for one in events(world, "account_changed")] == [True]
    world.agree()


def test_a_bar_that_the_stream_lacks_is_polled_for(world: World) -> None:
    started(world)
    late = {"fault": "withhold_bars", "symbol": "EURUSD", "timeframe": "M15", "live": True}
    world.simulator.faults(late | {"time": world.lab.time(NAME, 1), "seconds": 0.7})
    asked = count_of(world, "GetTrendbarsReq")
    result = ArmedTick(world, 1).close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert [one.model for one in events(world, "not_streamed")] == [NAME]
    assert count_of(world, "GetTrendbarsReq") > asked + 1
    world.agree()


def test_a_guard_meanwhile_leaves_it_alone_and_other_commands_wait_for_it(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    line = [sys.executable, "-m", "oracle_batch", "--home", str(world.workspace.home)]
    guard = subprocess.run([*line, "guard"], check=False, capture_output=True, timeout=PATIENCE_S)
    assert guard.returncode == 75
    with subprocess.Popen([*line, "disable", "EURUSD"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as disable:
        with pytest.raises(subprocess.TimeoutExpired):
            disable.wait(1.5)
        assert world.came_to(tick.close()) == ("OPEN", "OK", None), "its settings are those of its start"
        disable.communicate(timeout=PATIENCE_S)
    assert disable.returncode == 0
    assert world.came_to(world.play(2)) == ("CLOSE", "OK", None), "a disabled symbol is still closed on its signal"


def test_a_bundle_that_is_replaced_while_armed_counts_from_the_next_tick_on(world: World) -> None:
    started(world, "W L1 S1 W")
    tick = ArmedTick(world, 1)
    scripted("EURUSD", "M15", costs={"spread_points": 9}).write(world.workspace.models)
    result = tick.close()
    assert world.deals() == [(f"ob-{NAME}-{world.lab.time(NAME, 1)}-1", False)], (
        "decided by the bundle it was armed with"
    )
    assert result.code == 1
    assert "made by another bundle" in result.document["models"][NAME]["error"], "the twin is the old bundle's"
    assert world.tick(2).code == 1
    assert len(world.deals()) == 1, "nothing is done on a mixed state"


# the same as without arming


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A second workspace with a simulator of its own."""
    yield from each_world(tmp_path / "other", monkeypatch)


SCRIPTS = ("W L1 L1 S2 W L3 S1", "W S1 L1 L2 L2 W S3")


@pytest.mark.parametrize("script", SCRIPTS)
def test_armed_and_cold_lives_and_the_replay_agree_also_after_a_revised_bar(
    world: World, other: World, script: str
) -> None:
    revised, words = 3, script.split()
    lives = {}
    for one, armed in ((other, False), (world, True)):
        started(one, script)
        said = {"fault": "revise_bars", "symbol": "EURUSD", "timeframe": "M15", "time": one.lab.time(NAME, revised)}
        one.simulator.faults(
            said | {"add": {"close": LOW - float(one.lab.bars[NAME].close[-len(words) - 3 + revised])}}
        )
        for bar in range(1, len(words)):
            result = ArmedTick(one, bar).close() if armed else one.tick(bar)
            assert result.code == 0, result.text
        one.agree()
        lives[armed] = one.lab.twin(NAME).state
        signals = [(record.model, record.bar_time) for record in one.journal() if isinstance(record, Signal)]
        assert len(signals) == len(set(signals)), "two decisions for one bar"
    assert [one.detail["bar_time"] for one in events(world, "bar_revised")] == [world.lab.time(NAME, revised)]
    assert not events(other, "bar_revised")
    assert not events(world, "armed_in_vain")
    assert lives[True] == lives[False]
    official = world.lab.window(NAME).bars
    assert official.equals(other.lab.window(NAME).bars)
    model = load_model(world.workspace.bundle_path(NAME), None)
    count = min(len(official), STORED_BARS) - WINDOW + 1
    assert replay(model, official, FLAT, count).twins[-1].last_action == lives[True].last_action
    assert world.positions() == other.positions()
