"""Armed ticks: what is at hand before the close, what the stream decides at it, and what goes wrong in between (§8)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch import live
from oracle_batch.store.records import Close
from oracle_batch.world import Job
from tests.sim.acceptance.armed import (
    LEAD_S,
    NAME,
    ArmedTick,
    close_by_hand,
    cut,
    events,
    started,
    wait_for,
)
from tests.sim.acceptance.world import PATIENCE_S, World


def test_the_streamed_bar_is_traded_and_only_then_is_anything_asked(world: World) -> None:
    started(world)
    before = len(world.simulator.state()["received"])
    tick = ArmedTick(world, 1)
    prepared = len(world.simulator.state()["received"])
    result = tick.close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    kinds = [one["type"] for one in world.simulator.state()["received"]]
    assert prepared > before
    asked = [kind for kind in kinds[prepared:] if kind != "HeartbeatEvent"]
    assert asked[0] == "NewOrderReq", "something was asked between the trigger and the order"
    assert "GetTrendbarsReq" in asked, "the official bar was looked at"
    assert not events(world, "not_streamed")
    assert not events(world, "bar_revised")
    assert result.document["timing_ms"]["trigger_to_last_order"] < 5000
    world.agree()


def test_armed_ticks_come_to_the_same_as_cold_ones(world: World) -> None:
    started(world, "W L1 L1 S2 W L3")
    came = [world.came_to(ArmedTick(world, bar).close()) for bar in range(1, 6)]
    assert came == [
        ("OPEN", "OK", None),
        ("NOOP", None, None),
        ("CLOSE_OPEN", "OK", None),
        ("CLOSE", "OK", None),
        ("OPEN", "OK", None),
    ]
    world.agree()
    assert not events(world, "armed_in_vain")


def test_models_of_several_timeframes_that_close_together_are_decided_together(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W W W W L1 W")
    world.lab.add("GBPUSD", "H1", "W S1 W")
    world.start(("EURUSD", "GBPUSD"))
    world.play(0, 3)
    result = ArmedTick(world, 4).close()
    assert world.came_to(result) == ("OPEN", "OK", None)
    assert "GBPUSD_H1" not in result.document["models"], "its bar does not close now"
    world.play(5, 6)
    result = ArmedTick(world, 7).close()
    assert world.came_to(result, "GBPUSD_H1") == ("OPEN", "OK", None)
    assert not events(world, "not_streamed")


def test_what_the_stream_does_not_have_is_pulled(world: World) -> None:
    started(world)
    world.simulator.faults({"fault": "refuse", "on": "SubscribeLiveTrendbarReq", "code": "UNSUPPORTED_MESSAGE"})
    result = ArmedTick(world, 1).close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert [one.model for one in events(world, "not_streamed")] == [NAME]
    world.agree()


def test_a_model_without_a_stream_keeps_nobody_waiting(world: World) -> None:
    world.lab.add("GBPUSD", "M15", "W S1 W W")
    started(world, symbols=("EURUSD", "GBPUSD"))
    deaf = {"symbolId": world.simulator.where["symbols"]["GBPUSD"]}
    world.simulator.faults(
        {"fault": "refuse", "on": "SubscribeLiveTrendbarReq", "where": deaf, "code": "UNSUPPORTED_MESSAGE"}
    )
    tick = ArmedTick(world, 1)
    before = len(world.simulator.state()["received"])
    result = tick.close()
    assert [world.came_to(result, name) for name in (NAME, "GBPUSD_M15")] == [("OPEN", "OK", None)] * 2
    kinds = [one["type"] for one in world.simulator.state()["received"][before:]]
    assert kinds.index("NewOrderReq") < kinds.index("GetTrendbarsReq") < len(kinds) - kinds[::-1].index("NewOrderReq")


def test_no_bar_for_the_interval_is_no_bar(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W W L1 W W")
    world.lab.drop(NAME, 1)
    world.start(config="[tick]\nbar_poll_s = 0.2\n")
    world.play(0)
    result = ArmedTick(world, 1).close()
    assert (result.code, result.document["models"]) == (0, {})
    assert world.came_to(ArmedTick(world, 2).close()) == ("OPEN", "OK", None)


def test_a_line_that_drops_while_armed_is_mended_in_time(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    world.simulator.call(lambda: cut(world))
    tick.until_mended()
    before = len(world.simulator.state()["received"])
    result = tick.close()
    assert world.simulator.state()["received"][before]["type"] == "NewOrderReq", "armed anew"
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    (event,) = events(world, "line_lost")
    assert event.detail == {"account": "demo", "mended": True}
    world.agree()


def test_without_a_line_at_the_trigger_the_run_goes_by_the_files(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    world.simulator.faults({"fault": "refuse", "on": "ReconcileReq", "times": 1, "code": "UNSUPPORTED_MESSAGE"})
    world.simulator.call(lambda: cut(world))
    tick.until_said("UNSUPPORTED_MESSAGE")
    result = tick.close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    assert events(world, "line_lost")[0].detail["mended"] is False
    assert len(events(world, "armed_in_vain")) == 1
    world.agree()


def test_an_official_bar_that_differs_is_journalled_and_so_is_what_it_changes(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    low = 1.1
    wait = {"fault": "revise_bars", "symbol": "EURUSD", "timeframe": "M15", "time": world.lab.time(NAME, 1)}
    world.simulator.faults(wait | {"add": {"close": low - 1.1001}})
    result = tick.close()
    assert result.document["models"][NAME]["decision"] == "OPEN"
    assert [one.detail["bar_time"] for one in events(world, "bar_revised")] == [world.lab.time(NAME, 1)]
    assert len(events(world, "decision_revised")) == 1
    assert world.books().models[NAME].decisions_revised == 1
    assert world.lab.twin(NAME).state.last_action == 0, "the twin follows the official bar"
    assert len(world.positions()) == 1, "orders that were sent stand"


def test_a_pause_that_comes_while_armed_stops_entries_and_no_exit(world: World) -> None:
    started(world, "W L1 W L1 W")
    tick = ArmedTick(world, 1)
    assert world.cli("pause", clock=False).code == 0
    assert world.came_to(tick.close()) == ("OPEN", "SKIP", "PAUSED")
    assert world.cli("resume", "--yes", clock=False).code == 0
    world.play(2, 3)
    assert len(world.positions()) == 1
    tick = ArmedTick(world, 4)
    assert world.cli("pause", clock=False).code == 0
    assert world.came_to(tick.close()) == ("CLOSE", "OK", None)


def test_a_wake_up_after_the_close_goes_by_the_files(world: World) -> None:
    started(world)
    world.simulator.advance(world.lab.close_of(1) + 3)
    result = world.cli("tick", "--json", "--arm", "20")
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    (event,) = events(world, "armed_late")
    assert event.detail["late_s"] == 3.0


def test_an_armed_tick_holds_the_lock_for_its_whole_life(world: World) -> None:
    started(world)
    tick = ArmedTick(world, 1)
    second = subprocess.run(
        [sys.executable, "-m", "oracle_batch", "--home", str(world.workspace.home), "tick"],
        check=False, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert second.returncode == 75
    assert world.came_to(tick.close()) == ("OPEN", "OK", None)


def test_a_position_that_ends_while_armed_is_seen_before_the_trigger(world: World) -> None:
    started(world, "W L1 L1 L1 W")
    assert world.came_to(ArmedTick(world, 1).close()) == ("OPEN", "OK", None)
    tick = ArmedTick(world, 2)
    close_by_hand(world, world.simulator.exchange.account_ids[0], world.position_id)
    tick.until_mended()
    result = tick.close()
    assert result.code == 0
    assert world.came_to(result)[0] == "WAIT_SYNC"
    assert events(world, "account_changed")
    world.agree()


def test_an_end_while_armed_is_on_record_also_where_the_draft_is_carried_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft is made after the end was seen, and carried out as it is: it has the end to tell."""
    started(world, "W L1 L1 S1 W")
    assert world.came_to(ArmedTick(world, 1).close()) == ("OPEN", "OK", None)
    drafts = drafts_by_instant(monkeypatch)
    tick = ArmedTick(world, 3)
    close_by_hand(world, world.simulator.exchange.account_ids[0], world.position_id)
    tick.until_mended()
    for tenth in range(5, 10):  # the bars may come after the clock's first word
        instant = tick.instant + tenth / 10
        world.simulator.advance(instant)
        tick.until(lambda instant=instant: instant in drafts)  # type: ignore[misc]
    result = tick.close()
    assert (result.code, world.came_to(result)) == (0, ("OPEN", "OK", None))
    draft = drafts[instant]
    assert draft is not None
    assert draft.desks[0].acks, "the draft was not carried out"
    world.agree()
    assert len([one for one in world.journal() if isinstance(one, Close)]) == 1


def drafts_by_instant(monkeypatch: pytest.MonkeyPatch) -> dict[float, live.Draft | None]:
    made: dict[float, live.Draft | None] = {}
    real = live._shortly

    async def shortly(job: Job, ready: live.Ready) -> None:
        instant = job.clock.now()
        await real(job, ready)
        made[instant] = ready.draft

    monkeypatch.setattr(live, "_shortly", shortly)
    return made


def test_told_to_end_while_armed_it_sends_nothing_and_says_so(world: World) -> None:
    started(world)
    world.simulator.advance(world.lab.close_of(1) - LEAD_S)
    command = [sys.executable, "-m", "oracle_batch", "--home", str(world.workspace.home)]
    with subprocess.Popen(
        [*command, "tick", "--json", "--arm", "20", "--clock", world.clock],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    ) as child:  # fmt: skip
        assert child.stderr is not None
        wait_for(child.stderr.readline, "armed for")
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 143
    assert json.loads(out)["models"] == {}
    assert world.received("NewOrderReq") == []
    assert len(events(world, "stopped_while_armed")) == 1
    assert world.came_to(world.tick(1)) == ("OPEN", "OK", None), "the lock is free, and the next run acts"


def test_a_trace_shows_the_stages_and_each_order(world: World) -> None:
    started(world, "W L1 S1 W")
    path = world.workspace.home / "trace.json"
    world.simulator.advance(world.lab.close_of(1) + 1)
    assert world.cli("tick", "--json", "--trace", str(path)).code == 0
    names = spans(path)
    assert {"start", "gather", "decide", "plan", "journal", "send", "commit", "fsync"} <= set(names)
    assert f"ob-{NAME}-{world.lab.time(NAME, 1)}-1 filled" in names
    assert "wait" not in names

    result = ArmedTick(world, 2, options=("--trace", str(path))).close()
    assert world.came_to(result) == ("CLOSE_OPEN", "OK", None)
    names = spans(path)
    assert {"start", "gather", "wait", "decide", "plan", "journal", "send", "commit", "fsync"} <= set(names)
    assert {f"ob-{NAME}-{world.lab.time(NAME, 2)}-{leg} filled" for leg in (0, 1)} <= set(names)


def spans(path: Path) -> list[str]:
    """The names in a trace, all of whose times are sound and whose spans lie within each other on every row."""
    document = json.loads(path.read_text())
    rows: dict[int, list[tuple[float, float]]] = {}
    found = [event for event in document["traceEvents"] if event["ph"] == "X"]
    named = {event["tid"] for event in document["traceEvents"] if event["ph"] == "M"}
    for event in found:
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        assert event["tid"] in named
        rows.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for row in rows.values():
        open_until: list[float] = []
        for began, ended in sorted(row, key=lambda one: (one[0], -one[1])):
            while open_until and open_until[-1] <= began + 0.002:
                open_until.pop()
            assert not open_until or ended <= open_until[-1] + 0.002
            open_until.append(ended)
    return [event["name"] for event in found]


def test_a_trace_that_cannot_be_written_is_told_before_anything_is_done(world: World) -> None:
    started(world)
    world.simulator.advance(world.lab.close_of(1) + 1)
    result = world.cli("tick", "--trace", str(world.workspace.home / "nowhere" / "trace.json"))
    assert result.code == 65
    assert "--trace" in result.err
    assert world.received("NewOrderReq") == []
