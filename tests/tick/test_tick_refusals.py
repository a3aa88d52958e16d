"""Why an order is not sent, or does not come to anything; and that nothing else suffers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from oracle_batch import desk as desk_module
from oracle_batch.broker.base import Ack, CloseIntent, Deal, Gate, Intent
from oracle_batch.errors import BrokerError, ConfigError
from tests.tick.fakes import RefusesCloses, Wrapped, install, uninstall
from tests.tick.lab import Lab, came_to, outcome
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, LABEL, MISSED, NOOP, OPENED, TURNED, held, opened, waiting

GBPUSD = "GBPUSD_M15"
UNKNOWN = ("OPEN", "UNKNOWN", "NO_ANSWER")


# not even sent


def test_a_late_tick_closes_and_does_not_open(lab: Lab) -> None:
    opened(lab, "S1 S1")
    assert came_to(lab.tick(2, late=60.5), EURUSD) == ("CLOSE_OPEN", "SKIP", "LATE")
    assert lab.positions() == []
    assert waiting(lab) == ("missed", -1)
    assert came_to(lab.tick(3), EURUSD) == MISSED


def test_the_deadline_counts_from_the_close_and_includes_its_last_second(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1")
    lab.tick(0)
    assert came_to(lab.tick(1, late=60.0), EURUSD) == OPENED


def test_the_deadline_may_differ_by_timeframe(lab: Lab) -> None:
    lab.rule(entry_deadline_s={"M15": 5, "H1": 500})
    lab.add("EURUSD", "M15", "W W W L1")
    lab.add("EURUSD", "H1", "L1")
    lab.play(EURUSD, 3)
    report = lab.tick(3, late=6)
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "LATE")
    assert came_to(report, "EURUSD_H1") == OPENED


def test_paused_before_the_tick_closes_and_does_not_open(lab: Lab) -> None:
    opened(lab, "S1 S1 W L1")
    lab.workspace.paused.touch()
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "PAUSED")
    assert lab.positions() == []
    lab.workspace.paused.unlink()
    assert lab.play(EURUSD, 6, first=3) == [MISSED, NOOP, OPENED]


def test_pause_during_the_tick_stops_entries_at_the_last_moment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class PausedOnTheWay(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            lab.workspace.paused.touch()
            return await super().execute(intents, gate)

    opened(lab, "S1 S1")
    install(monkeypatch, PausedOnTheWay)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "PAUSED")
    assert lab.positions() == []
    assert waiting(lab) == ("missed", -1)
    assert came_to(lab.tick(3), EURUSD) == MISSED


def test_a_clock_that_runs_past_the_deadline_during_the_tick_stops_entries(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            lab.clock.instant += 100
            return await super().execute(intents, gate)

    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    install(monkeypatch, Slow)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "LATE")
    assert report.exit_code == 0


def test_disabled_symbols_are_recorded_and_still_close(lab: Lab) -> None:
    opened(lab, "L1 S1 S1")
    lab.trade("EURUSD", enabled=False)
    assert lab.play(EURUSD, 5, first=2) == [NOOP, ("CLOSE_OPEN", "SKIP", "DISABLED"), MISSED]
    assert lab.positions() == []


def test_a_symbol_without_an_entry_gets_a_disabled_one_and_comments_stay(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "L1")
    text = '{\n  "_note": "mine",   \n  "USDJPY": {"enabled": true}\n}\n'
    lab.workspace.executor_symbols.write_text(text)
    assert came_to(lab.tick(0), EURUSD) == ("OPEN", "SKIP", "DISABLED")
    after = lab.workspace.executor_symbols.read_text()
    assert after.startswith(text.rstrip().removesuffix("}").rstrip())
    assert json.loads(after)["EURUSD"] == {
        "enabled": False,
        "lot_weak": 0.01,
        "lot_moderate": 0.03,
        "lot_strong": 0.05,
        "sl_usd": 10.0,
        "tp_usd": 0,
        "max_spread_pips": 3.0,
    }


def test_lots_follow_the_intensity_and_are_rounded_down_to_the_step(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "L1 L2 L3", lot_weak=0.029, lot_moderate=0.1999, lot_strong=1.239)
    volumes = []
    for bar in range(3):
        lab.tick(bar)
        volumes += [volume for _, _, volume in lab.positions()]
    assert volumes == [200_000, 1_900_000, 12_300_000]


@pytest.mark.parametrize(("lots", "reason"), [(0.009, "VOLUME_BELOW_MIN"), (1e6, "VOLUME_ABOVE_MAX")])
def test_lots_outside_the_limits_are_refused_never_bent(lab: Lab, lots: float, reason: str) -> None:
    lab.add("EURUSD", "M15", "W L1 L1", lot_weak=lots, lot_moderate=lots, lot_strong=lots)
    assert lab.play(EURUSD, 3) == [NOOP, ("OPEN", "SKIP", reason), MISSED]


def test_a_reversal_into_a_refused_volume_still_closes(lab: Lab) -> None:
    opened(lab, "S1", lot_weak=0.01)
    lab.trade("EURUSD", lot_weak=0.009)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "VOLUME_BELOW_MIN")
    assert lab.positions() == []


def test_a_symbol_that_the_broker_does_not_know_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class KnowsNothing(Wrapped):
        async def symbols(self, names: Sequence[str]) -> dict[str, Any]:
            return {}

    install(monkeypatch, KnowsNothing)
    lab.add("EURUSD", "M15", "W L1")
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", "UNKNOWN_SYMBOL")]


# sent and refused


def test_a_refused_close_opens_nothing_and_becomes_pending(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "S1 S1 S2")
    install(monkeypatch, RefusesCloses)
    report = lab.tick(2)
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "FAIL", "CLOSE_NOT_CONFIRMED")
    assert lab.positions() == [(LABEL, 1, 100_000)]
    pending = lab.books().models[EURUSD].pending_close
    assert pending is not None
    assert pending.position_id == held(lab)
    uninstall(monkeypatch)
    assert came_to(lab.tick(2, late=300), EURUSD)[:2] == ("CLOSE", "OK"), "the next run that can carries it out"
    assert lab.positions() == []
    assert lab.books().models[EURUSD].pending_close is None
    assert came_to(lab.tick(3), EURUSD) == MISSED
    assert came_to(lab.tick(4), EURUSD) == OPENED


def test_a_pending_close_is_dropped_when_a_newer_bar_wants_the_position(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(lab, "W L1 L1")
    install(monkeypatch, RefusesCloses)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "FAIL", "MARKET_CLOSED")
    uninstall(monkeypatch)
    assert came_to(lab.tick(3), EURUSD) == NOOP
    lab.tick(3, late=300)
    assert lab.positions() == [(LABEL, 1, 100_000)]
    assert lab.books().models[EURUSD].pending_close is None


def test_a_refused_entry_stays_missed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            return [Ack(leg.intent_id, "FAIL", "NOT_ENOUGH_MONEY") for leg in intents]

    lab.add("EURUSD", "M15", "W L1 L1 L2")
    lab.tick(0)
    install(monkeypatch, Poor)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == ("OPEN", "FAIL", "NOT_ENOUGH_MONEY")
    assert report.exit_code == 0
    uninstall(monkeypatch)
    assert lab.play(EURUSD, 4, first=2) == [MISSED, OPENED]


def test_not_enough_money_for_one_symbol_lets_the_others_trade(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1", lot_weak=90.0, lot_moderate=90.0, lot_strong=90.0)
    lab.add("GBPUSD", "M15", "W L1")
    lab.tick(0)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "FREE_MARGIN")
    assert came_to(report, GBPUSD) == OPENED


def test_flat_is_flat_when_the_stop_was_quicker_than_our_close(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The position is gone between reconcile and close: no error, and a stop's cause for the bars to come."""

    class StopsFirst(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            by_hand = [replace(leg, intent_id="x") for leg in intents if isinstance(leg, CloseIntent)]
            await self.inner.execute(by_hand, gate)
            return await super().execute(intents, gate)

        async def deals(self, since: float) -> list[Any]:
            found = await self.inner.deals(since)
            return [replace(deal, reason="stop_loss") if deal.closing else deal for deal in found]

    opened(lab, "S1 L2 L2")
    install(monkeypatch, StopsFirst)
    report = lab.tick(3)  # bar 2 fell into an outage; L2 is an edge against S1, so the close comes with an entry
    assert report.exit_code == 0
    assert [wire.wire for wire in lab.journal() if type(wire).__name__ == "Close"][-1].endswith("|SL")
    assert len(lab.deals()) == 3


# unknown


class Silent(Wrapped):
    """Sends, then loses the line: what the market did is not known."""

    async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
        await super().execute(intents, gate)
        raise BrokerError("the line dropped")


class Deaf(Wrapped):
    """Loses the line before anything arrives."""

    async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
        raise BrokerError("the line dropped")


@pytest.mark.parametrize("later", [5.0, 400.0])
def test_an_unknown_outcome_that_was_a_fill_is_adopted(lab: Lab, monkeypatch: pytest.MonkeyPatch, later: float) -> None:
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    install(monkeypatch, Silent)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == UNKNOWN
    assert report.exit_code == 1
    uninstall(monkeypatch)
    report = lab.tick(1, late=later)
    assert came_to(report, EURUSD) == ("OPEN", "OK", "RECOVERED")
    assert report.exit_code == 0
    assert held(lab) == 1
    assert came_to(lab.tick(2), EURUSD) == NOOP
    assert len(lab.deals()) == 1


def test_an_unknown_outcome_that_never_arrived_is_sent_once_within_the_deadline(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    install(monkeypatch, Deaf)
    assert came_to(lab.tick(1), EURUSD) == UNKNOWN
    assert came_to(lab.tick(1, late=10), EURUSD) == UNKNOWN
    uninstall(monkeypatch)
    assert came_to(lab.tick(1, late=30), EURUSD) == OPENED
    assert came_to(lab.tick(1, late=40), EURUSD) == (None, None, None)
    assert len(lab.deals()) == 1


class StillExecuting(Wrapped):
    """Shows an order that is neither filled nor ended, so many times."""

    looks = 99

    async def working(self, since: float) -> frozenset[str]:
        type(self).looks -= 1
        return frozenset() if self.looks < 0 else frozenset({f"ob-{EURUSD}-{self.bar}-1", "somebody-elses"})

    async def deals(self, since: float) -> list[Deal]:
        return [] if self.looks >= 0 else await super().deals(since)

    bar = 0


@pytest.mark.parametrize("looks", [2, 99])
def test_an_order_that_is_still_being_executed_is_waited_for_and_never_sent_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    made = install(monkeypatch, Silent)
    assert came_to(lab.tick(1), EURUSD) == UNKNOWN
    uninstall(monkeypatch)
    monkeypatch.setattr(desk_module, "SETTLE_EVERY_S", 0.001)
    monkeypatch.setattr(StillExecuting, "looks", looks)
    monkeypatch.setattr(StillExecuting, "bar", int(made[0].sent[0].rsplit("-", 2)[1]))
    again = install(monkeypatch, StillExecuting)
    if looks > desk_module.SETTLE_TRIES:
        with pytest.raises(BrokerError, match="still being executed"):
            lab.tick(1, late=10)
        assert again[0].sent == []
        uninstall(monkeypatch)
        assert came_to(lab.tick(1, late=20), EURUSD) == ("OPEN", "OK", "RECOVERED")
    else:
        assert came_to(lab.tick(1, late=10), EURUSD) == ("OPEN", "OK", "RECOVERED")
    assert len(lab.deals()) == 1


def test_an_entry_that_is_too_late_after_an_unknown_outcome_is_abandoned_on_record(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    install(monkeypatch, Deaf)
    lab.tick(1)
    uninstall(monkeypatch)
    report = lab.tick(1, late=90)
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "LATE")
    assert report.exit_code == 0
    assert lab.events("decision")[-1].detail["reason"] == "LATE"
    assert came_to(lab.tick(2), EURUSD) == MISSED
    assert lab.deals() == []


def test_a_reversal_of_which_only_the_close_arrived_is_finished_by_the_next_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HalfWay(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            await self.inner.execute([leg for leg in intents if isinstance(leg, CloseIntent)], gate)
            raise BrokerError("the line dropped")

    opened(lab, "S1 S1")
    install(monkeypatch, HalfWay)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "UNKNOWN", "NO_ANSWER")
    uninstall(monkeypatch)
    assert came_to(lab.tick(2, late=20), EURUSD) == OPENED
    assert lab.positions() == [(LABEL, -1, 100_000)]
    assert len(lab.deals()) == 3
    assert came_to(lab.tick(3), EURUSD) == NOOP


def test_an_unknown_close_is_asked_for_and_carried_out_by_the_next_bar(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(lab, "W W")
    install(monkeypatch, Deaf)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "UNKNOWN", "NO_ANSWER")
    uninstall(monkeypatch)
    assert came_to(lab.tick(3), EURUSD) == CLOSED
    assert waiting(lab) is None
    assert len(lab.deals()) == 2


def test_one_known_and_one_unknown_leg_are_each_booked_for_what_they_are(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LosesTheLast(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            return (await super().execute(intents, gate))[:-1]

    opened(lab, "S1 S1")
    install(monkeypatch, LosesTheLast)
    report = lab.tick(2)
    assert came_to(report, EURUSD) == ("CLOSE_OPEN", "UNKNOWN", "NO_ANSWER")
    assert report.exit_code == 1
    assert lab.books().models[EURUSD].position is None
    uninstall(monkeypatch)
    assert came_to(lab.tick(2, late=20), EURUSD) == ("CLOSE_OPEN", "OK", "RECOVERED")
    assert lab.positions() == [(LABEL, -1, 100_000)]
    assert came_to(lab.tick(3), EURUSD) == NOOP
    assert len(lab.deals()) == 3


def test_an_unforeseen_error_on_the_way_is_an_unknown_outcome_of_that_account_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            await super().execute(intents, gate)
            raise ZeroDivisionError("a bug")

    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    made = install(monkeypatch, Breaks, account="two")
    report = lab.tick(1)
    assert came_to(report, EURUSD, "one") == OPENED
    assert came_to(report, EURUSD, "two") == UNKNOWN
    assert report.exit_code == 1
    assert made[1].closed == 1
    uninstall(monkeypatch)
    assert came_to(lab.tick(1, late=9), EURUSD, "two") == ("OPEN", "OK", "RECOVERED")
    assert [len(lab.deals(name)) for name in ("one", "two")] == [1, 1]


# emergencies


def test_a_netted_account_takes_one_model_a_symbol(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Netted(Wrapped):
        async def account(self) -> Any:
            return replace(await super().account(), hedged=False)

    lab.add("EURUSD", "M15", "L1")
    made = install(monkeypatch, Netted)
    assert came_to(lab.tick(0), EURUSD) == OPENED
    lab.add("EURUSD", "H1", "L1")
    with pytest.raises(ConfigError, match="netted") as refusal:
        lab.tick(1)
    assert refusal.value.exit_code == 78
    assert [broker.closed for broker in made] == [1, 1]


def test_an_emergency_close_that_waits_for_the_market_outlives_a_signal_for_the_same_side(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(lab, "L1 L1 L1 L1 L1 L1 L2 W L1")
    path = lab.workspace.twin_path(EURUSD)
    twin = path.read_bytes()
    path.write_bytes(b"{")
    install(monkeypatch, RefusesCloses)
    report = lab.tick(5)
    assert came_to(report, EURUSD) == ("CLOSE", "FAIL", "MARKET_CLOSED")
    uninstall(monkeypatch)
    path.write_bytes(twin)
    assert came_to(lab.tick(6), EURUSD) == CLOSED
    assert lab.positions() == []
    assert waiting(lab) == ("emergency", 1)
    stays = ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")
    assert lab.play(EURUSD, 11, first=7) == [stays, stays, NOOP, OPENED]


def test_a_model_that_cannot_decide_is_closed_once_after_the_blind_bars(lab: Lab) -> None:
    opened(lab, "L1 L1 L1 L1 L1 L1")
    lab.workspace.twin_path(EURUSD).write_bytes(b"{")
    for bar in (2, 3, 4):
        report = lab.tick(bar)
        assert came_to(report, EURUSD) == (None, None, None)
        assert report.exit_code == 1
        assert len(lab.positions()) == 1
    report = lab.tick(5)
    assert came_to(report, EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert outcome(report, EURUSD).error is not None
    assert lab.positions() == []
    assert waiting(lab) == ("emergency", 1)
    assert len(lab.deals()) == 2
    lab.tick(6)
    assert len(lab.deals()) == 2


def test_a_reversal_reports_turned(lab: Lab) -> None:
    opened(lab, "S3")
    assert came_to(lab.tick(2), EURUSD) == TURNED


def test_a_pending_close_of_a_blind_model_is_one_leg(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1 L1 L1 L1 L1 L1")
    lab.workspace.twin_path(EURUSD).write_bytes(b"{")
    install(monkeypatch, RefusesCloses)
    assert came_to(lab.tick(5), EURUSD) == ("CLOSE", "FAIL", "MARKET_CLOSED")
    made = install(monkeypatch, Wrapped)
    assert came_to(lab.tick(6), EURUSD) == ("CLOSE", "OK", "EMERGENCY")
    assert len(made[0].sent) == 1
    assert lab.losses(EURUSD) == 1
    assert len(lab.deals()) == 2
