"""Every reason code has a scenario: here those that nothing else brings about in a whole tick, and the table of all."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from oracle_batch.broker.base import Quote, Wish
from oracle_batch.config.rules import LowProfit, StoplossGuard
from oracle_batch.hands.protection import Terms
from oracle_batch.hands.refusal import Code
from tests.tick.fakes import Wrapped, install
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED, TURNED
from tests.tick.test_tick_entries import news, refusal

ROOT = Path(__file__).parents[2]


# what the broker does not tell


class NoTerms(Wrapped):
    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return {}


class NoRate(Wrapped):
    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return {name: replace(one, rate=float("nan")) for name, one in (await self.inner.terms(names)).items()}


class NoQuotes(Wrapped):
    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        return {}


class NoMargins(Wrapped):
    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        return [None] * len(wishes)


@pytest.mark.parametrize(
    ("spoil", "rules", "entry", "code"),
    [
        (NoTerms, {}, {}, "UNKNOWN_TERMS"),
        (NoQuotes, {}, {}, "UNKNOWN_QUOTE"),
        (NoMargins, {}, {}, "UNKNOWN_MARGIN"),
        (NoRate, {}, {"sl_usd": 10.0}, "NO_RATE"),
        (NoRate, {}, {}, "UNKNOWN_POSSIBLE_LOSS"),
        (
            NoRate,
            {"max_daily_loss_pct": 0.0, "max_drawdown_pct": 0.0, "max_symbol_exposure": 1e6},
            {},
            "UNKNOWN_EXPOSURE",
        ),
    ],
)
def test_what_nobody_knows_refuses_the_entry(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Any], Any],
    rules: dict[str, Any],
    entry: dict[str, Any],
    code: str,
) -> None:
    lab.limit(**rules)
    lab.add("EURUSD", "M15", "W L1", **entry)
    lab.tick(0)
    install(monkeypatch, spoil)
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", code)
    assert lab.positions() == []


def test_an_open_risk_that_nobody_can_compute_refuses_every_entry(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The position has a stop, but what a price move costs is not known: it may be near, it may be far."""
    lab.add("EURUSD", "M15", "W L1 L1", sl_usd=10.0)
    lab.add("GBPUSD", "M15", "W W L1")
    lab.play(EURUSD, 2)
    install(monkeypatch, NoRate)
    assert came_to(lab.tick(2), "GBPUSD_M15") == ("OPEN", "SKIP", "RISK_UNKNOWN")


def test_an_account_that_cannot_be_asked_may_hold_the_opposite(lab: Lab) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1")
    lab.tick(0)
    for path in (lab.workspace.paper_path("two"), lab.workspace.executor_path("two")):
        path.write_bytes(b"{")
    assert came_to(lab.tick(1), EURUSD, "one") == ("OPEN", "SKIP", "UNKNOWN_OTHER_ACCOUNTS")


# how trading went


def test_losses_in_a_row_of_whatever_models_rest_the_account(lab: Lab) -> None:
    """Each turn loses 11 points and 0.07 of commission."""
    lab.limit(max_consecutive_losses=0, max_consecutive_losses_account=4)
    lab.add("EURUSD", "M15", "W L1 S1 L1 S1 S1")
    lab.add("GBPUSD", "M15", "W L1 S1 S1 S1 L1")
    lab.play(EURUSD, 4)
    assert lab.books().risk.trades.account.losses == 3
    assert came_to(lab.tick(4), EURUSD) == TURNED
    assert came_to(lab.tick(5), "GBPUSD_M15") == ("CLOSE_OPEN", "SKIP", "CONSECUTIVE_LOSSES_ACCOUNT")


def stopped_twice(lab: Lab) -> None:
    """EURUSD is bought on bars 1 and 3; on bars 2 and 4 the market goes 20 pips below: both stops, of 2.00 at 1 USD."""
    lab.add("EURUSD", "M15", "W L1 W L1 W L1", sl_usd=1.0)
    for bar in (2, 4):
        lab.change(EURUSD, bar, low=1.098, close=1.098, high=1.1)
        lab.change(EURUSD, bar, open=1.1)
    assert lab.play(EURUSD, 5)[1::2] == [OPENED, OPENED]
    assert [one.reason for one in lab.books().risk.trades.trades] == ["stop_loss"] * 2


def test_two_stops_within_a_day_pause_all_entries(lab: Lab) -> None:
    lab.limit(stoploss_guard=StoplossGuard(trade_limit=2))
    stopped_twice(lab)
    assert came_to(lab.tick(5), EURUSD) == ("OPEN", "SKIP", "STOPLOSS_GUARD")
    assert refusal(lab)[1]["until"] == lab.close_of(4) + 720 * 60


def test_a_model_that_makes_too_little_pauses(lab: Lab) -> None:
    lab.limit(low_profit=LowProfit(trade_limit=2, required_profit=0.0))
    stopped_twice(lab)
    assert came_to(lab.tick(5), EURUSD) == ("OPEN", "SKIP", "LOW_PROFIT")


def test_a_guard_that_looks_further_back_than_anybody_remembers_refuses(lab: Lab) -> None:
    """Without guards trades are kept for a day, so a loss of three days before is not there when one is turned on."""
    lab.add("EURUSD", "M15", "W L1 W L1 W " + "W " * 290 + "L1 W L1")
    assert lab.play(EURUSD, 3) == [NOOP, OPENED, ("CLOSE", "OK", None)]
    for bar in (3, 4, 295, 296):
        lab.tick(bar)
    assert lab.books().risk.trades.dropped_until > 0
    lab.limit(low_profit=LowProfit(trade_limit=1, lookback_min=10_080.0, required_profit=-100.0))
    assert came_to(lab.tick(297), EURUSD) == ("OPEN", "SKIP", "UNKNOWN_TRADE_HISTORY")


def test_eighty_percent_of_the_days_requests_are_for_entries(lab: Lab) -> None:
    """Of five requests four: an opening, a closing, an opening; the next turn's close is the fourth."""
    lab.limit(max_trade_requests_day=5)
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    assert lab.play(EURUSD, 4) == [NOOP, OPENED, TURNED, ("CLOSE_OPEN", "SKIP", "TRADE_REQUESTS_DAY")]
    assert lab.positions() == []


# what all hold together


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"max_symbol_exposure_gross": 2000.0}, "EXPOSURE_SYMBOL_GROSS"),
        ({"max_currency_exposure_gross": 2000.0}, "EXPOSURE_CURRENCY_GROSS"),
    ],
)
def test_opposite_positions_count_together(lab: Lab, rules: dict[str, float], code: str) -> None:
    """A long and a short of 1,000 EUR are 1,100 USD each: within 2,000 by itself, not together."""
    lab.limit(**rules)
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.add("EURUSD", "M30", "S1")
    assert lab.play(EURUSD, 1) == [NOOP]
    report = lab.tick(1)
    assert came_to(report, EURUSD) == OPENED
    lab.script("EURUSD_M30", "W S1")
    report = lab.at(lab.close_of(1, "M30") + 1)
    assert came_to(report, "EURUSD_M30") == ("OPEN", "SKIP", code)


# bars, spreads, news


def test_a_spread_far_above_the_usual_one_refuses(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.7 pips twelve times; then 3 pips, more than three times as much."""

    class Wide(Wrapped):
        async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
            found = await self.inner.quotes(names)
            return {name: replace(one, ask=one.bid + 0.0003) for name, one in found.items()}

    lab.limit(max_spread_vs_median=3.0)
    lab.add("EURUSD", "M15", "W " * 13 + "L1 W L1")
    lab.play(EURUSD, 13)
    install(monkeypatch, Wide)
    assert came_to(lab.tick(13), EURUSD) == ("OPEN", "SKIP", "SPREAD_ABOVE_MEDIAN")
    assert refusal(lab)[1]["median_pips"] == 0.7


def test_a_calendar_that_ends_within_a_week_is_unknown(lab: Lab) -> None:
    lab.limit(news_mode="no_entry")
    lab.add("EURUSD", "M15", "W L1")
    news(lab, lab.close_of(1) - 27 * 86400)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", "NEWS_CALENDAR_ENDS")]


def test_on_the_day_of_a_payout_a_firms_account_takes_no_entry(lab: Lab) -> None:
    lab.limit(preset="ftmo_2step", initial_balance=10_000.0)
    lab.add("EURUSD", "M15", "W L1")
    lab.tick(0)
    lab.clock.instant += 60
    lab.paper().move_cash(-100.0, "withdrawal")
    assert came_to(lab.tick(1), EURUSD) == ("OPEN", "SKIP", "PAYOUT_TODAY")


# the table

_ENTRIES, _LIMITS, _HERE = "tick/test_tick_entries.py", "tick/test_tick_limits.py", "tick/test_tick_codes.py"
_TRADES, _TIME, _MARKET = "hands/test_rules_trades.py", "hands/test_rules_time.py", "hands/test_rules.py"
SCENARIOS: dict[str, str] = {
    "BLACKOUT": f"{_ENTRIES}::test_an_account_rule_refuses",
    "BREAK_AHEAD": "tick/test_tick_days.py::test_before_the_weekend_entries_end_and_positions_are_closed",
    "CONSECUTIVE_LOSSES_ACCOUNT": f"{_HERE}::test_losses_in_a_row_of_whatever_models_rest_the_account",
    "CONSECUTIVE_LOSSES_MODEL": f"{_ENTRIES}::test_five_losses_in_a_row_rest_the_model_for_a_day",
    "DAILY_LOSS": f"{_LIMITS}::test_at_90_percent_ours_are_closed_and_nobody_elses",
    "EXPOSURE_CURRENCY": f"{_ENTRIES}::test_an_account_rule_refuses",
    "EXPOSURE_CURRENCY_GROSS": f"{_HERE}::test_opposite_positions_count_together",
    "EXPOSURE_SYMBOL": f"{_ENTRIES}::test_an_account_rule_refuses",
    "EXPOSURE_SYMBOL_GROSS": f"{_HERE}::test_opposite_positions_count_together",
    "FREE_MARGIN": f"{_ENTRIES}::test_an_account_rule_refuses",
    "LIMIT_PAUSE": f"{_LIMITS}::test_the_maximum_pause_ends_by_hand_alone",
    "LOSS_BUDGET": f"{_LIMITS}::test_what_a_position_can_still_lose_at_its_stop_counts",
    "LOW_PROFIT": f"{_HERE}::test_a_model_that_makes_too_little_pauses",
    "MARKET_CLOSED": "tick/test_tick_days.py::test_a_close_that_meets_a_closed_market_is_made_when_it_opens",
    "MAXIMUM_LOSS": f"{_LIMITS}::test_the_maximum_pause_ends_by_hand_alone",
    "MAX_OPEN_POSITIONS": f"{_ENTRIES}::test_the_slots_are_given_out_by_priority",
    "MAX_STOP_PCT": f"{_ENTRIES}::test_what_cannot_be_protected_is_not_entered",
    "MAX_TRADES_DAY": f"{_ENTRIES}::test_trades_of_the_day_are_counted_over_runs",
    "NEWS": f"{_ENTRIES}::test_around_news_an_ordinary_close_waits_and_the_next_bar_carries_it_out",
    "NEWS_CALENDAR_ENDS": f"{_HERE}::test_a_calendar_that_ends_within_a_week_is_unknown",
    "NO_ATR": "hands/test_protection.py::test_without_a_true_range_a_multiple_of_it_is_refused",
    "NO_RATE": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "OPPOSITE_ACROSS_ACCOUNTS": f"{_ENTRIES}::test_no_account_trades_against_another",
    "PAYOUT_TODAY": f"{_HERE}::test_on_the_day_of_a_payout_a_firms_account_takes_no_entry",
    "PROFIT_TARGET": f"{_LIMITS}::test_the_profit_target_flattens_and_pauses_until_the_operator_says_so",
    "REQUIRE_STOP": f"{_ENTRIES}::test_what_cannot_be_protected_is_not_entered",
    "RISK_UNKNOWN": f"{_HERE}::test_an_open_risk_that_nobody_can_compute_refuses_every_entry",
    "SPREAD": f"{_ENTRIES}::test_a_wide_spread_refuses_the_entry_and_not_the_close",
    "SPREAD_ABOVE_MEDIAN": f"{_HERE}::test_a_spread_far_above_the_usual_one_refuses",
    "STALE_DATA": "tick/test_tick_quote_age.py::test_a_price_that_is_older_than_a_bar_is_stale",
    "STOPLOSS_GUARD": f"{_HERE}::test_two_stops_within_a_day_pause_all_entries",
    "STOP_TOO_CLOSE": f"{_ENTRIES}::test_what_cannot_be_protected_is_not_entered",
    "SYNTHETIC_DATA": f"{_MARKET}::test_a_live_account_trades_on_real_bars_alone",
    "TRADE_REQUESTS_DAY": f"{_HERE}::test_eighty_percent_of_the_days_requests_are_for_entries",
    "TRADING_HOURS": f"{_ENTRIES}::test_an_account_rule_refuses",
    "UNKNOWN_CURRENCIES": f"{_TIME}::test_what_is_unknown_refuses_entries_and_neither_defers_nor_causes_closes",
    "UNKNOWN_DATA_SOURCE": "tick/test_tick_source.py::test_bars_from_files_open_nothing_on_a_live_account",
    "UNKNOWN_EQUITY": f"{_TRADES}::test_a_target_without_its_numbers_is_unknown",
    "UNKNOWN_EXPOSURE": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "UNKNOWN_LOSS_BUDGET": "tick/test_tick_cash.py::"
    "test_a_balance_that_moved_unexplained_takes_no_entry_until_the_broker_tells",
    "UNKNOWN_MARGIN": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "UNKNOWN_NEWS": f"{_ENTRIES}::test_an_account_rule_refuses",
    "UNKNOWN_OTHER_ACCOUNTS": f"{_HERE}::test_an_account_that_cannot_be_asked_may_hold_the_opposite",
    "UNKNOWN_POSSIBLE_LOSS": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "UNKNOWN_QUOTE": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "UNKNOWN_SCHEDULE": f"{_ENTRIES}::test_an_account_rule_refuses",
    "UNKNOWN_SPREAD": f"{_MARKET}::test_a_broken_quote_leaves_no_number_that_json_cannot_say",
    "UNKNOWN_SPREAD_MEDIAN": f"{_ENTRIES}::test_an_account_rule_refuses",
    "UNKNOWN_TERMS": f"{_HERE}::test_what_nobody_knows_refuses_the_entry",
    "UNKNOWN_TRADE_HISTORY": f"{_HERE}::test_a_guard_that_looks_further_back_than_anybody_remembers_refuses",
    "VOLUME_ABOVE_MAX": "tick/test_tick_refusals.py::test_lots_outside_the_limits_are_refused_never_bent",
    "VOLUME_BELOW_MIN": f"{_ENTRIES}::test_what_cannot_be_protected_is_not_entered",
}
"""Where each code is brought about and asserted: in a whole tick, or, where no tick on paper can, at the rule."""


def test_every_code_has_a_scenario_and_every_scenario_says_its_code() -> None:
    """The scenario is a test, it is there, and the code stands in its body or in its table of cases."""
    assert set(SCENARIOS) == set(get_args(Code))
    for code, place in SCENARIOS.items():
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        found = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name]
        assert len(found) == 1, place
        said = {part.value for part in ast.walk(found[0]) if isinstance(part, ast.Constant)}
        assert code in said, f"{place} does not speak of {code}"
