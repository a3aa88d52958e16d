"""On paper a bar's price stands for as long as the bar does: no timeframe is refused as stale by itself."""

from __future__ import annotations

import pytest

from oracle_batch.broker.base import Quote
from oracle_batch.broker.paper import PaperBroker
from tests.tick.fakes import Wrapped, install
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, OPENED
from tests.tick.test_tick_entries import refusal


@pytest.mark.parametrize(("timeframe", "late"), [("M15", 1), ("M15", 800), ("H1", 3500), ("H4", 9000), ("D1", 40_000)])
@pytest.mark.parametrize("next_bar_known", [True, False])
def test_an_entry_within_its_deadline_is_not_stale(lab: Lab, timeframe: str, late: int, next_bar_known: bool) -> None:
    """The default of 120 s is far below these; the deadline is not what this is about."""
    lab.rule(entry_deadline_s=50_000)
    name = lab.add("EURUSD", timeframe, "W L1", after=3 if next_bar_known else 0)
    lab.tick(0, timeframe=timeframe)
    assert came_to(lab.tick(1, late=late, timeframe=timeframe), name) == OPENED


def test_a_price_that_is_older_than_a_bar_is_stale(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quote was made 1,100 s ago and stands for 900 s, so that it has been old for 200 s."""

    class Silent(Wrapped):
        async def quotes(self, names: list[str]) -> dict[str, Quote]:  # type: ignore[override]
            found = await self.inner.quotes(names)
            assert isinstance(self.inner, PaperBroker)
            return {name: Quote(one.bid, one.ask, lab.clock.now() - 1100) for name, one in found.items()}

    lab.add("EURUSD", "M15", "W L1")
    lab.tick(0)
    install(monkeypatch, Silent)
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", "STALE_DATA")
    code, numbers = refusal(lab)
    assert (code, numbers) == ("STALE_DATA", {"quote_age_s": 200.0, "limit_s": 120.0})
