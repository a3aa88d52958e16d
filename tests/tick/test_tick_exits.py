"""An ordinary close may wait for the spread, so long and no longer; other people's positions are told and left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from oracle_batch import exits
from oracle_batch.broker.base import Quote
from oracle_batch.clock import FrozenClock
from oracle_batch.errors import BrokerError
from tests.tick.fakes import Wrapped, install
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED, TURNED
from tests.tick.test_tick_limits import falling

NARROW_AFTER = 3
"""Answers until the spread is what it was."""


class Wide(Wrapped):
    """Ten pips of spread for a while."""

    asked = 0
    narrow_after: float = NARROW_AFTER

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        self.asked += 1
        found = await self.inner.quotes(names)
        if self.asked > self.narrow_after:
            return found
        return {name: Quote(one.bid, one.bid + 0.001, one.time) for name, one in found.items()}


class AlwaysWide(Wide):
    narrow_after = float("inf")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closes may wait although the clock is frozen."""
    monkeypatch.setattr(exits, "SystemClock", FrozenClock)
    monkeypatch.setattr(exits, "POLL_EVERY_S", 0.001)


def test_a_close_waits_until_the_spread_is_narrow_and_its_entry_with_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: None
) -> None:
    lab.rule(max_exit_spread_pips=1.0, exit_wait_s=30)
    lab.add("EURUSD", "M15", "W L1 S1")
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    (made,) = [install(monkeypatch, Wide)]
    assert came_to(lab.tick(2), EURUSD) == TURNED
    assert made[0].asked == NARROW_AFTER + 1
    assert made[0].sent == [f"ob-{EURUSD}-{lab.time(EURUSD, 2)}-{leg}" for leg in (0, 1)]


def test_its_time_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: None) -> None:
    lab.rule(max_exit_spread_pips=1.0, exit_wait_s=1)
    lab.add("EURUSD", "M15", "W L1 W")
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    install(monkeypatch, AlwaysWide)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", None)


def test_an_emergency_never_waits(lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: None) -> None:
    lab.rule(max_exit_spread_pips=1.0, exit_wait_s=600)
    falling(lab, 1.10009 - 0.0036)
    lab.play(EURUSD, 2)
    install(monkeypatch, AlwaysWide)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", "DAILY_LOSS")


def test_positions_of_others_count_are_told_and_stay(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.add("EURUSD", "M15", "W L1 S1")
    lab.tick(0)
    foreign = lab.open_by_hand("EURUSD", -1, label="somebody else")
    lab.limit(max_open_positions=1)
    report = lab.tick(1)
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "MAX_OPEN_POSITIONS")
    assert report.accounts["paper"].orphans == 1
    assert f"1 positions are not ours and stay untouched: {foreign}" in caplog.text
    lab.limit(max_open_positions=0)
    assert came_to(lab.tick(2), EURUSD) == OPENED
    assert [label for label, _, _ in lab.positions()] == ["somebody else", "oracle:EURUSD_M15"]


def test_nobody_else_waits_with_a_close(lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: None) -> None:
    """The other model's entry has left before the spread is asked for again."""

    class Ordered(AlwaysWide):
        async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
            self.sent.append("quotes")
            return await super().quotes(names)

    lab.rule(max_exit_spread_pips=1.0, exit_wait_s=0.05)
    lab.add("EURUSD", "M15", "W L1 W")
    lab.add("GBPUSD", "M15", "W W L1")
    lab.play(EURUSD, 2)
    (made,) = [install(monkeypatch, Ordered)]
    report = lab.tick(2)
    assert (came_to(report, EURUSD), came_to(report, "GBPUSD_M15")) == (("CLOSE", "OK", None), OPENED)
    sent = made[0].sent
    entry, close = f"ob-GBPUSD_M15-{lab.time(EURUSD, 2)}-1", f"ob-{EURUSD}-{lab.time(EURUSD, 2)}-0"
    assert sent.index(entry) < len(sent) - 1 - sent[::-1].index("quotes") < sent.index(close)


def test_a_close_does_not_wait_for_a_broker_that_tells_no_spread(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: None
) -> None:
    class FallsSilent(AlwaysWide):
        async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
            if self.asked:
                raise BrokerError("no quotes")
            return await super().quotes(names)

    lab.rule(max_exit_spread_pips=1.0, exit_wait_s=600)
    lab.add("EURUSD", "M15", "W L1 W")
    lab.play(EURUSD, 2)
    install(monkeypatch, FallsSilent)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", None)
