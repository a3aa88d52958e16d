"""What ends between bars: limits, breaks, pending closes; and what a guard makes of an interrupted tick."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from oracle_batch.broker import paper
from oracle_batch.broker.base import OpenIntent
from oracle_batch.errors import BrokerError, StateError
from tests.guard.acts import START, guarded, minute, prices, report, risk, scheduled, spoil
from tests.tick.fakes import Wrapped
from tests.tick.lab import T0, Lab, came_to, shaped, tree
from tests.tick.test_sync_scenarios import EURUSD, LABEL, NOOP, OPENED, opened, waiting
from tests.tick.test_tick_crash import KilledError

NEW_YORK = ["Sun 17:05-Fri 16:59"]


# pending closes


def test_a_pending_close_is_carried_out_by_the_first_guard_that_can(lab: Lab) -> None:
    opened(lab, "W W W W")
    scheduled(lab, "UTC", ["Mon 00:00-Mon 00:40", "Mon 01:00-Fri 22:00"])
    assert came_to(lab.tick(2), EURUSD)[:2] == ("CLOSE", "FAIL")
    guarded(lab, T0 + 2750)
    before = tree(lab.workspace.state)
    for late in (2790, 3000, 3590):
        assert guarded(lab, T0 + late).closes == ()
    assert tree(lab.workspace.state) == before, "a market that is closed by its schedule is not asked again"
    found = guarded(lab, T0 + 3630)
    assert [(one.model, one.ack, one.why) for one in found.closes] == [(EURUSD, "OK", "PENDING_CLOSE")]
    assert lab.positions() == []
    assert came_to(lab.tick(4), EURUSD)[0] == "NOOP"


# breaks


@pytest.mark.parametrize(
    ("before", "within"),
    [
        ("2024-03-08T21:28:30Z", "2024-03-08T21:29:30Z"),  # winter in New York: the market closes at 21:59 UTC
        ("2024-03-15T20:28:30Z", "2024-03-15T20:29:30Z"),  # summer: at 20:59 UTC
    ],
)
def test_positions_are_closed_before_the_weekend_by_the_clock_of_the_market(lab: Lab, before: str, within: str) -> None:
    opened(lab, "L1", sl_usd=0)
    start, count = int(lab.bars[EURUSD].time[0]), 70 * 96
    lab.put(EURUSD, shaped([0] * count, start, 900))
    scheduled(lab, "America/New_York", NEW_YORK)
    risk(lab, flat_before_break_min=30.0, max_daily_loss_pct=0.0, max_drawdown_pct=0.0)
    early, due = (datetime.fromisoformat(text).timestamp() for text in (before, within))
    assert guarded(lab, early).closes == ()
    found = guarded(lab, due)
    assert [(one.ack, one.why) for one in found.closes] == [("OK", "BREAK_AHEAD")]
    assert waiting(lab) == ("emergency", 1)


def test_the_daily_pause_is_no_break(lab: Lab) -> None:
    opened(lab, "L1")
    scheduled(lab, "UTC", ["Mon 00:00-Mon 01:00", "Mon 01:05-Fri 22:00"])
    risk(lab, flat_before_break_min=30.0)
    assert guarded(lab, T0 + 3300).closes == ()


def test_positions_are_closed_before_news(lab: Lab) -> None:
    opened(lab, "L1")
    lab.workspace.config.joinpath("news.csv").write_text(
        "time,currency,impact\n2024-01-08T00:50:00Z,USD,high\n2024-02-08T00:50:00Z,USD,high\n"
    )
    risk(lab, news_mode="flat_before", news_flat_min=10.0)
    assert guarded(lab, T0 + 2340).closes == ()
    assert [one.why for one in guarded(lab, T0 + 2400).closes] == ["NEWS"]


# limits


def test_at_90_percent_of_the_daily_limit_all_is_closed_and_the_account_pauses_until_the_reset(lab: Lab) -> None:
    """4 % of 10,000 are 400; at 360 lost it is over. One lot: 0.0001 is 10 USD; closing costs 3.50 and 2.00."""
    opened(lab, "L1", lot_weak=1.0)
    mine = lab.open_by_hand("EURUSD")
    prices(lab, 1.1, 1.0967, 1.0965, 1.0965)
    assert guarded(lab, minute(1)).level == "no_entries"  # 10,000 - 3.5 - 339, less costs: 348 are gone
    found = guarded(lab, minute(2))
    assert (found.level, [(one.ack, one.why) for one in found.closes]) == ("flatten", [("OK", "DAILY_LOSS")])
    assert [label for label, _, _ in lab.positions()] == [""], "others' positions are never closed"
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert anchors.pause is not None
    assert (anchors.pause.limit, anchors.pause.until) == ("daily", T0 + 86400)
    assert guarded(lab, minute(3)).closes == ()
    guarded(lab, T0 + 86400 + 30)
    after = lab.books().risk.anchors
    assert after is not None
    assert (after.pause, after.day_start) == (None, T0 + 86400)
    assert mine


def test_the_last_look_before_a_reset_is_kept(lab: Lab) -> None:
    opened(lab, "L1")
    guarded(lab, T0 + 7200)
    before = tree(lab.workspace.state)
    guarded(lab, T0 + 9000)
    assert tree(lab.workspace.state) == before
    guarded(lab, T0 + 86400 - 600)
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert anchors.last_seen.time == T0 + 86400 - 600
    guarded(lab, T0 + 86400 + 60)
    anchors = lab.books().risk.anchors
    assert anchors is not None
    assert (anchors.balance_source, anchors.equity_source) == ("observed", "observed")


# an interrupted tick


def killed_at_the_book(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Kill the tick that opens, right before or right after the broker has taken the order."""
    lab.add("EURUSD", "M15", "W L1 L1 L1")
    assert came_to(lab.tick(0), EURUSD) == NOOP
    real = paper.save_book

    def dies(*arguments: Any) -> None:
        if after:
            real(*arguments)
        raise KilledError

    monkeypatch.setattr(paper, "save_book", dies)
    with pytest.raises(KilledError):
        lab.tick(1)
    monkeypatch.setattr(paper, "save_book", real)


def test_an_entry_that_never_left_is_not_sent_by_a_guard_and_is_by_the_next_tick(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at_the_book(lab, monkeypatch, after=False)
    found = guarded(lab, START + 30)
    assert [(one.model, one.ack, one.reason) for one in found.recovered] == [(EURUSD, "FAIL", "NEVER_ARRIVED")]
    assert (lab.positions(), lab.deals()) == ([], [])
    assert came_to(lab.tick(1, late=45), EURUSD) == OPENED
    assert len(lab.deals()) == 1


def test_an_entry_that_came_too_late_stays_missed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_at_the_book(lab, monkeypatch, after=False)
    guarded(lab, START + 30)
    assert came_to(lab.tick(1, late=300), EURUSD)[1:] == ("SKIP", "LATE")
    assert came_to(lab.tick(2), EURUSD)[2] == "MISSED_ENTRY"


def test_a_fill_whose_answer_was_lost_is_booked_by_a_guard(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_at_the_book(lab, monkeypatch, after=True)
    found = guarded(lab, START + 30)
    assert [(one.ack, one.reason) for one in found.recovered] == [("OK", "RECOVERED")]
    assert lab.positions() == [(LABEL, 1, 100_000)]
    held = lab.books().models[EURUSD].position
    assert held is not None
    assert held.position_id == 1
    assert guarded(lab, START + 90).recovered == ()
    assert came_to(lab.tick(2), EURUSD) == NOOP
    assert [one for one in lab.deals() if one[1]] == []


def test_a_guard_never_enters(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.tick(0)
    for late in (1, 30, 59, 90):
        guarded(lab, START + late)
    assert lab.deals() == []
    assert [one for one in lab.journal() if isinstance(one, OpenIntent)] == []
    assert came_to(lab.tick(1), EURUSD) == OPENED


# idle


def test_an_idle_guard_writes_nothing(lab: Lab) -> None:
    opened(lab, "L1")
    guarded(lab, START + 30)
    before = tree(lab.workspace.home)
    for later in range(1, 14):
        assert guarded(lab, START + 30 + 60 * later) == guarded(lab, START + 30 + 60 * later)
    assert tree(lab.workspace.home) == before


def test_a_dry_run_writes_nothing_and_tells_what_it_would_do(lab: Lab) -> None:
    opened(lab, "L1", lot_weak=1.0)
    prices(lab, 1.1, 1.0960)
    before = tree(lab.workspace.home)
    found = guarded(lab, minute(1), dry_run=True)
    assert [(one.ack, one.why) for one in found.closes] == [(None, "DAILY_LOSS")]
    assert tree(lab.workspace.home) == before
    assert lab.positions() == [(LABEL, 1, 10_000_000)]


# several accounts


class Silent(Wrapped):
    """A broker that does not answer."""

    async def connect(self) -> None:
        raise BrokerError("no answer")


def test_one_account_that_fails_does_not_stop_the_others(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.accounts("first", "second")
    lab.add("EURUSD", "M15", "W L1 L1", lot_weak=1.0)
    lab.tick(0)
    lab.tick(1)
    prices(lab, 1.1, 1.0960)
    spoil(monkeypatch, Silent, "first")
    found = report(lab, minute(1))
    assert found.exit_code == 1
    assert found.accounts["first"].error == "no answer"
    assert [one.why for one in found.accounts["second"].closes] == ["DAILY_LOSS"]
    assert (len(lab.positions("first")), lab.positions("second")) == (1, [])


def test_the_only_accounts_failure_is_the_guards(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1")
    spoil(monkeypatch, Silent)
    with pytest.raises(BrokerError, match="no answer"):
        report(lab, minute(1))
    lab.workspace.executor_path("paper").write_text("{")
    spoil(monkeypatch, lambda broker: broker)
    with pytest.raises(StateError):
        report(lab, minute(1))
