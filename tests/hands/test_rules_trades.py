"""Losses in a row, stops in a window, poor models, the day's counts and the target, with numbers worked by hand."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import CloseReason
from oracle_batch.config.rules import EntryRules, LowProfit, StoplossGuard
from oracle_batch.hands import rules_trades, trade_log
from oracle_batch.hands.refusal import Refusal
from oracle_batch.hands.trade_log import MAX_TRADES, ClosedTrade, DayCounts, Streak, TradeLog

T = 1_770_000_000.0
MINUTE = 60.0
KEEP = 86400.0


def trade(minute: float, net: float, reason: CloseReason = "order", model: str = "EURUSD_M15") -> ClosedTrade:
    return ClosedTrade(model, model.partition("_")[0], T + minute * MINUTE, net, reason)


def log_of(*trades: ClosedTrade, keep_s: float = KEEP) -> TradeLog:
    return reduce(lambda log, one: trade_log.recorded(log, one, keep_s), trades, TradeLog())


def code(refusal: Refusal | None) -> str | None:
    return refusal.code if refusal is not None else None


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from(["A_M15", "B_H1"]))),
    st.integers(0, 20),
    st.sampled_from([600.0, KEEP]),
)
def test_many_trades_are_recorded_as_one_by_one(made: list[tuple[int, float, str]], before: int, keep_s: float) -> None:
    trades = [trade(minute, net, model=model) for minute, net, model in made]
    log = log_of(*trades[:before], keep_s=keep_s)
    one_by_one = reduce(lambda log, one: trade_log.recorded(log, one, keep_s), trades[before:], log)
    assert trade_log.recorded_all(log, trades[before:], keep_s) == one_by_one


# Losses in a row

STREAK = EntryRules(max_consecutive_losses=3, max_consecutive_losses_account=5, cooldown_min=60)


def losing(log: TradeLog, model: str, minute: float) -> str | None:
    return code(rules_trades.consecutive_losses(STREAK, log, model, T + minute * MINUTE))


def test_a_model_rests_after_its_third_loss_and_only_for_the_cooldown() -> None:
    two = log_of(trade(0, -1), trade(10, -1))
    assert losing(two, "EURUSD_M15", 11) is None
    three = trade_log.recorded(two, trade(20, -0.01), KEEP)
    refusal = rules_trades.consecutive_losses(STREAK, three, "EURUSD_M15", T + 79.9 * MINUTE)
    assert refusal == Refusal("CONSECUTIVE_LOSSES_MODEL", {"losses": 3, "limit": 3, "until": T + 80 * MINUTE})
    assert losing(three, "EURUSD_M15", 80) is None
    assert losing(three, "GBPUSD_H1", 21) is None


def test_the_entry_after_a_rest_rests_again_when_it_loses_and_ends_the_streak_when_not() -> None:
    rested = log_of(trade(0, -1), trade(1, -1), trade(2, -1))
    assert losing(trade_log.recorded(rested, trade(100, -1), KEEP), "EURUSD_M15", 159) == "CONSECUTIVE_LOSSES_MODEL"
    won = trade_log.recorded(rested, trade(100, 0.0), KEEP)
    assert losing(won, "EURUSD_M15", 101) is None
    assert won.streak("EURUSD_M15") == Streak()


def test_five_losses_of_different_models_rest_the_account() -> None:
    names = ["A_M15", "B_M15", "C_M15", "D_M15", "E_M15"]
    log = log_of(*(trade(minute, -1, model=name) for minute, name in enumerate(names)))
    assert losing(log, "F_M15", 5) == "CONSECUTIVE_LOSSES_ACCOUNT"
    assert losing(trade_log.recorded(log, trade(5, 1, model="F_M15"), KEEP), "A_M15", 6) is None


def test_zero_turns_the_streaks_off() -> None:
    rules = EntryRules(max_consecutive_losses=0, max_consecutive_losses_account=0, cooldown_min=60)
    log = log_of(*(trade(minute, -1) for minute in range(20)))
    assert rules_trades.consecutive_losses(rules, log, "EURUSD_M15", T + 20 * MINUTE) is None


def test_the_defaults_are_five_and_ten() -> None:
    now = T + 20 * MINUTE
    five = log_of(*(trade(minute, -1) for minute in range(5)))
    assert code(rules_trades.consecutive_losses(EntryRules(), five, "EURUSD_M15", now)) == "CONSECUTIVE_LOSSES_MODEL"
    nine = log_of(*(trade(minute, -1, model=f"M{minute}_H1") for minute in range(9)))
    assert rules_trades.consecutive_losses(EntryRules(), nine, "EURUSD_M15", now) is None
    ten = trade_log.recorded(nine, trade(9, -1, model="M9_H1"), KEEP)
    assert code(rules_trades.consecutive_losses(EntryRules(), ten, "EURUSD_M15", now)) == "CONSECUTIVE_LOSSES_ACCOUNT"


# The guard on stops


def guarded(log: TradeLog, symbol: str, minute: float, **changes: Any) -> str | None:
    settings = {"trade_limit": 3, "lookback_min": 60, "stop_duration_min": 30} | changes
    rules = EntryRules(stoploss_guard=StoplossGuard(**settings))
    return code(rules_trades.stoploss_guard(rules, log, symbol, T + minute * MINUTE))


def test_three_stops_within_the_lookback_pause_every_symbol_from_the_last_of_them() -> None:
    log = log_of(trade(0, -5, "stop_loss"), trade(30, -5, "stop_loss", "GBPUSD_H1"), trade(59, -5, "stop_out"))
    assert guarded(log, "USDJPY", 59) == "STOPLOSS_GUARD"
    assert guarded(log, "USDJPY", 88.9) == "STOPLOSS_GUARD"
    assert guarded(log, "USDJPY", 89) is None


def test_stops_further_apart_than_the_lookback_do_not_count() -> None:
    log = log_of(trade(0, -5, "stop_loss"), trade(30, -5, "stop_loss"), trade(60, -5, "stop_loss"))
    assert guarded(log, "EURUSD", 60) is None


def test_a_pause_outlives_the_lookback_that_caused_it() -> None:
    log = log_of(*(trade(minute, -5, "stop_loss") for minute in (0, 1, 2)))
    assert guarded(log, "EURUSD", 100, stop_duration_min=120) == "STOPLOSS_GUARD"
    assert guarded(log, "EURUSD", 122, stop_duration_min=120) is None


def test_a_trailed_stop_in_profit_a_target_and_a_signal_are_no_stops() -> None:
    log = log_of(
        trade(0, -5, "stop_loss"), trade(1, 5, "stop_loss"), trade(2, 5, "take_profit"), trade(3, -5), trade(4, 0.0)
    )
    assert guarded(log, "EURUSD", 5, trade_limit=2) is None


def test_only_per_pair_pauses_the_symbol_of_the_stops() -> None:
    log = log_of(trade(0, -5, "stop_loss"), trade(1, -5, "stop_loss"), trade(2, -5, "stop_loss", "GBPUSD_H1"))
    assert guarded(log, "EURUSD", 3, trade_limit=2, only_per_pair=True) == "STOPLOSS_GUARD"
    assert guarded(log, "GBPUSD", 3, trade_limit=2, only_per_pair=True) is None
    assert guarded(log, "EURUSD", 3, trade_limit=3, only_per_pair=True) is None


def test_the_guards_are_off_by_default() -> None:
    log = log_of(*(trade(minute, -5, "stop_loss") for minute in range(20)))
    assert rules_trades.stoploss_guard(EntryRules(), log, "EURUSD", T + 20 * MINUTE) is None
    assert rules_trades.low_profit(EntryRules(), log, "EURUSD_M15", T + 20 * MINUTE) is None


def test_a_history_that_does_not_reach_back_is_unknown() -> None:
    log = log_of(trade(0, -5), trade(100, -5), keep_s=60 * MINUTE)
    assert log.dropped_until == T
    assert guarded(log, "EURUSD", 89.9) == "UNKNOWN_TRADE_HISTORY"
    assert guarded(log, "EURUSD", 90) is None


stops = st.lists(st.integers(0, 300), max_size=25)


@given(stops, st.integers(0, 400), st.integers(1, 4), st.integers(1, 90), st.integers(1, 90))
def test_the_guard_agrees_with_counting_at_each_stop(
    minutes: list[int], now: int, limit: int, lookback: int, duration: int
) -> None:
    past = sorted(minute for minute in minutes if minute <= now)
    log = log_of(*(trade(minute, -1, "stop_loss") for minute in past))
    expected = any(
        sum(stop - lookback < other <= stop for other in past) >= limit and now < stop + duration for stop in past
    )
    found = guarded(log, "EURUSD", now, trade_limit=limit, lookback_min=lookback, stop_duration_min=duration)
    assert (found == "STOPLOSS_GUARD") == expected


# Poor models


def poor(log: TradeLog, model: str, minute: float, **changes: Any) -> Refusal | None:
    settings = {"trade_limit": 3, "lookback_min": 60, "stop_duration_min": 30, "required_profit": 1.0} | changes
    return rules_trades.low_profit(EntryRules(low_profit=LowProfit(**settings)), log, model, T + minute * MINUTE)


def test_a_model_below_the_required_profit_pauses_alone() -> None:
    log = log_of(trade(0, 4), trade(10, -5), trade(20, 1.5), trade(20, -9, model="GBPUSD_H1"))
    # 4 − 5 + 1.5 = 0.5 < 1, paused until 20 + 30.
    assert poor(log, "EURUSD_M15", 49) == Refusal(
        "LOW_PROFIT", {"trades": 3, "profit": 0.5, "required": 1.0, "until": T + 50 * MINUTE}
    )
    assert poor(log, "EURUSD_M15", 50) is None
    assert poor(log, "GBPUSD_H1", 21) is None, "one trade says nothing yet"


def test_enough_profit_or_too_few_trades_in_the_lookback_is_fine() -> None:
    assert poor(log_of(trade(0, 4), trade(10, -5), trade(20, 2)), "EURUSD_M15", 21) is None
    assert poor(log_of(trade(0, -9), trade(59, -9), trade(60, -9)), "EURUSD_M15", 61) is None


def test_a_poor_moment_pauses_also_after_a_better_trade_has_come_in() -> None:
    log = log_of(trade(0, -1), trade(1, -1), trade(2, -1), trade(3, 90))
    assert code(poor(log, "EURUSD_M15", 4)) == "LOW_PROFIT"


# What is remembered


def test_old_and_too_many_trades_are_dropped_and_the_drop_is_remembered() -> None:
    log = log_of(*(trade(minute, 1) for minute in range(MAX_TRADES + 2)), keep_s=1e9)
    assert len(log.trades) == MAX_TRADES
    assert log.trades[0].time == T + 2 * MINUTE
    assert log.dropped_until == T + 1 * MINUTE


def test_a_trade_that_is_recorded_late_takes_its_place() -> None:
    log = log_of(trade(10, 1), trade(5, 2))
    assert [one.net for one in log.trades] == [2, 1]


def test_the_operators_reset_forgives_losses_but_not_the_counts_of_the_day() -> None:
    log = trade_log.counted(log_of(trade(0, -1), keep_s=0), T, trades=2, requests=7)
    assert trade_log.forgiven(log) == TradeLog(day=DayCounts(T, 2, 7))


def test_counts_belong_to_a_reset_day() -> None:
    log = trade_log.counted(TradeLog(), T, trades=1, requests=3)
    log = trade_log.counted(log, T, requests=2)
    assert trade_log.counts_on(log, T) == DayCounts(T, 1, 5)
    assert trade_log.counts_on(log, T + KEEP) == DayCounts(T + KEEP)
    assert trade_log.counted(log, T + KEEP, trades=1).day == DayCounts(T + KEEP, 1, 0)
    assert trade_log.counted(log, T - KEEP, trades=1).day == DayCounts(T, 2, 5), "the clock went back"


def test_the_memory_survives_a_file() -> None:
    log = trade_log.counted(log_of(trade(0, -1.1), trade(1, -2.2, "stop_loss")), T, trades=2, requests=5)
    assert msgspec.json.decode(msgspec.json.encode(log), type=TradeLog) == log


def test_the_history_that_rules_need_is_lookback_plus_pause() -> None:
    assert EntryRules().history_s == 86400
    guard = StoplossGuard(trade_limit=1, lookback_min=1440, stop_duration_min=720)
    assert EntryRules(stoploss_guard=guard).history_s == 129600
    assert (
        EntryRules(stoploss_guard=StoplossGuard(trade_limit=1, lookback_min=1, stop_duration_min=1)).history_s == 86400
    )


# The day's requests and the target


def test_amends_stop_at_four_fifths_of_the_days_requests() -> None:
    rules = EntryRules(max_trade_requests_day=2000)
    assert rules_trades.amend_refused(rules, 1599) is None
    assert rules_trades.amend_refused(rules, 1600) == Refusal(
        "TRADE_REQUESTS_DAY", {"requests": 1600, "limit": 2000, "share": 0.8}
    )
    assert rules_trades.amend_refused(EntryRules(), 10**6) is None


def test_the_target_counts_what_closing_will_cost() -> None:
    rules = EntryRules(profit_target_pct=10)
    assert rules_trades.profit_target(rules, 110_030.0, 40.0, 100_000.0) is None
    assert code(rules_trades.profit_target(rules, 110_040.0, 40.0, 100_000.0)) == "PROFIT_TARGET"


@pytest.mark.parametrize(
    ("equity", "costs", "initial"),
    [(None, 0, 1), (1, None, 1), (1, 0, None), (math.nan, 0, 1), (1, 0, 0)],
)
def test_a_target_without_its_numbers_is_unknown(
    equity: float | None, costs: float | None, initial: float | None
) -> None:
    found = rules_trades.profit_target(EntryRules(profit_target_pct=10), equity, costs, initial)
    assert code(found) == "UNKNOWN_EQUITY"
    assert rules_trades.profit_target(EntryRules(), equity, costs, initial) is None
