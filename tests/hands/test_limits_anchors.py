"""Anchors through resets, gaps, payouts and restarts; every number can be worked out by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from oracle_batch.hands.anchors import Anchors, History, paused, resumed, start
from oracle_batch.hands.limit_rules import DailyLimit, DayRule, LimitRules
from oracle_batch.hands.roll import roll
from tests.hands.limit_cases import FTMO_1, FTMO_2, OWN, THE5ERS, at, custom, history, money, prague, restarted

HUNDRED = 100_000_00


def opened(rules: LimitRules, now: float, balance: float = 100_000.0, equity: float | None = None) -> Anchors:
    """An account of 100,000 that is seen at ``now`` with all its deals since the reset (none)."""
    return start(rules, now, money(balance, equity), HUNDRED, history(now - 2 * 86400))[0]


def codes(events: tuple[object, ...]) -> list[str]:
    return [event.code for event in events]  # type: ignore[attr-defined]


# --- the first day


def test_a_new_account_measures_its_first_day_from_the_initial_balance() -> None:
    anchors, events = start(FTMO_2, prague("2026-11-20 10:00"), money(100_000), HUNDRED, history(0))
    assert (anchors.day, anchors.day_balance, anchors.balance_source) == ("2026-11-20", HUNDRED, "rebuilt")
    assert anchors.peak_eod_balance == anchors.peak_equity == HUNDRED
    assert events == ()


def test_an_account_that_lost_before_it_was_first_seen_today_gets_its_true_anchor_from_its_deals() -> None:
    now = prague("2026-11-20 15:00")
    deals = history(prague("2026-11-01 00:00"), [(now - 7200, -1500.0), (now - 3600, 200.0)])
    anchors, _ = start(FTMO_2, now, money(97_700), HUNDRED, deals)
    assert anchors.day_balance == 99_000_00


def test_without_deals_the_first_day_is_guessed_from_the_highest_number_known_and_says_so() -> None:
    anchors, events = start(FTMO_2, prague("2026-11-20 15:00"), money(97_700, 98_100), HUNDRED)
    assert (anchors.day_balance, anchors.balance_source) == (HUNDRED, "estimated")
    assert codes(events) == ["ANCHOR_ESTIMATED"]
    assert events[0].numbers["day_balance"] == HUNDRED


def test_a_history_that_starts_after_the_reset_rebuilds_nothing() -> None:
    now = prague("2026-11-20 15:00")
    anchors, _ = start(FTMO_2, now, money(97_700), HUNDRED, history(now - 3600, [(now - 60, -500.0)]))
    assert anchors.balance_source == "estimated"


def test_a_running_account_gets_its_peak_from_the_deals_of_the_days_before() -> None:
    now = prague("2026-11-20 12:00")
    deals = history(
        prague("2026-11-17 08:00"),
        [(prague("2026-11-17 15:00"), 4000.0), (prague("2026-11-18 15:00"), -1000.0), (now - 3600, 500.0)],
    )
    anchors, events = start(FTMO_1, now, money(103_500), HUNDRED, deals)
    assert anchors.peak_eod_balance == 104_000_00
    assert anchors.day_balance == 103_000_00
    assert codes(events) == ["PEAK_ESTIMATED"], "what was before the deals nobody knows"
    known, events = start(FTMO_1, now, money(103_500), HUNDRED, deals, known_peak=106_000_00)
    assert known.peak_eod_balance == 106_000_00
    assert events == ()


# --- one reset


def test_the_anchor_is_the_higher_of_the_last_state_before_and_the_first_after() -> None:
    anchors = opened(THE5ERS, at("2026-11-20 21:58"), 100_000, 101_200)  # 16:58 in New York
    after, events = roll(anchors, THE5ERS, at("2026-11-20 22:01"), money(100_900, 100_700))
    assert (after.day, after.day_balance, after.day_equity) == ("2026-11-20", 100_900_00, 101_200_00)
    assert (after.balance_source, after.equity_source) == ("observed", "observed")
    assert codes(events) == ["DAY_RESET"]


def test_a_profit_that_came_and_went_between_the_two_looks_is_rebuilt_from_deals() -> None:
    reset = prague("2026-11-21 00:00")
    anchors = opened(FTMO_2, reset - 300)
    deals = history(reset - 86400, [(reset - 60, 700.0), (reset + 60, -900.0)])
    after, _ = roll(anchors, FTMO_2, reset + 300, money(99_800), deals)
    assert after.day_balance == 100_700_00


def test_a_machine_that_was_off_over_the_reset_rebuilds_the_balance_without_guessing() -> None:
    reset = prague("2026-11-21 00:00")
    anchors = opened(FTMO_2, reset - 20_000, 100_000, 103_000)
    deals = history(reset - 86400, [(reset - 9000, -400.0), (reset + 9000, 250.0)])
    after, events = roll(anchors, FTMO_2, reset + 20_000, money(99_850, 102_000), deals)
    assert (after.day_balance, after.balance_source) == (99_600_00, "rebuilt")
    assert codes(events) == ["DAY_RESET"], "the rule takes the balance; the equity may be a guess"


def test_a_missed_reset_without_deals_uses_the_highest_number_known_and_says_so() -> None:
    reset = prague("2026-11-21 00:00")
    anchors = opened(FTMO_2, reset - 20_000, 100_000, 103_000)
    after, events = roll(anchors, FTMO_2, reset + 20_000, money(99_850, 102_000))
    assert (after.day_balance, after.balance_source) == (103_000_00, "estimated")
    assert codes(events) == ["DAY_RESET", "ANCHOR_ESTIMATED"]


def test_a_guessed_anchor_is_rebuilt_as_soon_as_deals_can_be_had() -> None:
    reset = prague("2026-11-21 00:00")
    guessed, _ = roll(opened(FTMO_2, reset - 20_000, 100_000, 103_000), FTMO_2, reset + 20_000, money(99_850, 102_000))
    deals = history(reset - 86400, [(reset - 9000, -400.0), (reset + 9000, 250.0)])
    after, events = roll(guessed, FTMO_2, reset + 20_060, money(99_850, 102_000), deals)
    assert (after.day_balance, after.balance_source) == (99_600_00, "rebuilt")
    assert codes(events) == ["ANCHOR_REBUILT"]


def test_an_equity_anchor_across_a_missed_reset_is_exact_only_when_nothing_was_open() -> None:
    friday, monday = at("2026-11-20 21:30"), at("2026-11-23 06:00")
    flat, events = roll(opened(THE5ERS, friday), THE5ERS, monday, money(100_000), history(friday - 3600))
    assert (flat.day_equity, flat.equity_source) == (HUNDRED, "rebuilt")
    assert codes(events) == ["DAY_RESET"]
    held, events = roll(
        opened(THE5ERS, friday, 100_000, 101_000), THE5ERS, monday, money(100_000, 100_400), history(friday - 3600)
    )
    assert (held.day_equity, held.equity_source) == (101_000_00, "estimated")
    assert codes(events) == ["DAY_RESET", "ANCHOR_ESTIMATED"]


def test_half_past_midnight_utc_is_a_reset_too() -> None:
    rules = custom(DailyLimit(4.0, "anchor", "balance"))
    anchors = opened(rules, at("2026-11-20 00:29:30"), 105_000)
    assert anchors.day == "2026-11-19"
    after, _ = roll(anchors, rules, at("2026-11-20 00:30:00"), money(105_000))
    assert (after.day, after.day_start, after.day_balance) == ("2026-11-20", at("2026-11-20 00:30"), 105_000_00)


@pytest.mark.parametrize(
    ("rules", "before", "after", "day"),
    [
        (FTMO_2, "2026-03-28 22:59", "2026-03-28 23:00", "2026-03-29"),
        (FTMO_2, "2026-03-29 21:59", "2026-03-29 22:00", "2026-03-30"),
        (FTMO_2, "2026-10-24 21:59", "2026-10-24 22:00", "2026-10-25"),
        (FTMO_2, "2026-10-25 22:59", "2026-10-25 23:00", "2026-10-26"),
        (THE5ERS, "2026-03-07 21:59", "2026-03-07 22:00", "2026-03-07"),
        (THE5ERS, "2026-03-08 20:59", "2026-03-08 21:00", "2026-03-08"),
        (THE5ERS, "2026-10-31 20:59", "2026-10-31 21:00", "2026-10-31"),
        (THE5ERS, "2026-11-01 21:59", "2026-11-01 22:00", "2026-11-01"),
    ],
)
def test_the_day_turns_at_the_firms_clock_around_daylight_saving(
    rules: LimitRules, before: str, after: str, day: str
) -> None:
    anchors = opened(rules, at(before), 101_000)
    same, events = roll(anchors, rules, at(before) + 59, money(102_000))
    assert same.day == anchors.day
    assert same.day_balance == anchors.day_balance
    assert events == ()
    new, _ = roll(same, rules, at(after), money(102_000))
    assert (new.day, new.day_balance) == (day, 102_000_00)


# --- many resets


def test_every_midnight_that_passed_counts_for_the_peak() -> None:
    anchors = opened(FTMO_1, prague("2026-11-16 12:00"))
    now = prague("2026-11-20 12:00")
    deals = history(
        prague("2026-11-16 12:00"),
        [
            (prague("2026-11-16 15:00"), 4000.0),
            (prague("2026-11-17 15:00"), -1000.0),
            (prague("2026-11-18 10:00"), 9000.0),
            (prague("2026-11-18 20:00"), -9500.0),
        ],
    )
    after, events = roll(anchors, FTMO_1, now, money(102_500), deals)
    assert after.peak_eod_balance == 104_000_00, "112,000 was never a balance at midnight"
    assert (after.day, after.day_balance) == ("2026-11-20", 102_500_00)
    assert events[0].numbers["resets"] == 4


def test_days_without_deals_raise_the_peak_by_a_guess_that_is_reported() -> None:
    anchors = opened(FTMO_1, prague("2026-11-16 12:00"), 100_000, 101_000)
    after, events = roll(anchors, FTMO_1, prague("2026-11-20 12:00"), money(100_500))
    assert after.peak_eod_balance == 101_000_00
    assert codes(events) == ["DAY_RESET", "ANCHOR_ESTIMATED", "PEAK_ESTIMATED"]


def test_a_flat_weekend_changes_nothing_but_the_day() -> None:
    friday = at("2026-11-20 20:55")
    anchors = opened(FTMO_2, friday, 101_000)
    after, _ = roll(anchors, FTMO_2, at("2026-11-23 00:05"), money(101_000), history(friday))
    assert (after.day, after.day_balance, after.balance_source) == ("2026-11-23", 101_000_00, "rebuilt")


# --- deposits and payouts


def test_a_payout_is_no_loss_of_the_day_and_a_firms_floor_stays() -> None:
    noon = prague("2026-11-20 12:00")
    anchors = replace(opened(FTMO_1, noon - 60, 104_000), peak_eod_balance=104_000_00)
    after, events = roll(anchors, FTMO_1, noon + 60, money(100_000), history(noon - 60, flows=[(noon, -4000.0)]))
    assert after.day_balance == HUNDRED
    assert after.peak_eod_balance == 104_000_00
    assert after.payout_day == after.day
    assert codes(events) == ["CASH_FLOW"]


def test_ones_own_withdrawal_takes_the_peak_along() -> None:
    noon = at("2026-11-20 12:00")
    anchors = opened(OWN, noon - 60, 104_000)
    after, _ = roll(anchors, OWN, noon + 60, money(54_000), history(noon - 60, flows=[(noon, -50_000.0)]))
    assert (after.day_balance, after.peak_eod_balance, after.peak_equity) == (54_000_00, 54_000_00, 54_000_00)


def test_a_deposit_hides_no_loss() -> None:
    noon = at("2026-11-20 12:00")
    anchors = opened(OWN, noon - 60)
    after, _ = roll(anchors, OWN, noon + 60, money(109_000), history(noon - 60, flows=[(noon, 10_000.0)]))
    assert (after.day_balance, after.peak_eod_balance, after.initial_balance) == (110_000_00,) * 2 + (110_000_00,)


def test_a_flow_counts_once_however_often_it_is_seen() -> None:
    noon = at("2026-11-20 12:00")
    flows = history(noon - 3600, flows=[(noon, 10_000.0)])
    once, _ = roll(opened(OWN, noon - 60), OWN, noon + 60, money(110_000), flows)
    twice, events = roll(once, OWN, noon + 60, money(110_000), flows)
    assert twice == once
    assert events == ()


@pytest.mark.parametrize("hours", [-6, 6])
def test_a_payout_around_a_missed_reset_leaves_the_anchor_neutral(hours: int) -> None:
    reset = prague("2026-11-21 00:00")
    anchors = opened(FTMO_1, reset - 36_000, 104_000)
    paid = reset + hours * 3600
    deals = history(reset - 36_000, [(reset + 3600, -300.0)], [(paid, -4000.0)])
    after, _ = roll(anchors, FTMO_1, reset + 36_000, money(99_700), deals)
    assert after.day_balance == HUNDRED, "99,700 after a loss of 300: the payout is no result"
    assert after.peak_eod_balance == 104_000_00, "the peak on the day before"
    assert after.payout_day == (after.day if hours > 0 else None)


def test_an_end_of_day_balance_before_a_payout_is_a_peak_at_its_full_height() -> None:
    reset = prague("2026-11-21 00:00")
    anchors = opened(FTMO_1, reset - 36_000)
    deals = history(reset - 36_000, [(reset - 3600, 4000.0)], [(reset + 3600, -4000.0)])
    after, _ = roll(anchors, FTMO_1, reset + 36_000, money(100_000), deals)
    assert after.peak_eod_balance == 104_000_00


# --- clocks, restarts, pauses


def test_a_clock_that_steps_back_over_the_reset_does_not_bring_the_day_back() -> None:
    reset = prague("2026-11-21 00:00")
    anchors, _ = roll(opened(FTMO_2, reset - 30), FTMO_2, reset + 1, money(101_000))
    back, events = roll(anchors, FTMO_2, reset - 2, money(101_500))
    assert (back.day, back.day_balance, back.last_seen.time) == ("2026-11-21", 101_000_00, reset + 1)
    assert events == ()
    again, events = roll(back, FTMO_2, reset + 5, money(101_500))
    assert again.day_balance == 101_000_00
    assert events == ()


def test_a_clock_that_steps_back_far_is_reported() -> None:
    now = prague("2026-11-20 12:00")
    _, events = roll(opened(FTMO_2, now), FTMO_2, now - 3600, money(100_000))
    assert codes(events) == ["CLOCK_BACK"]


def test_another_reset_rule_starts_the_day_anew_and_no_laxer() -> None:
    now = at("2026-11-20 12:00")
    anchors = opened(OWN, now, 103_000)
    after, events = roll(anchors, FTMO_2, now + 60, money(101_000))
    assert (after.reset, after.day_balance) == ("00:00 Europe/Prague", 103_000_00)
    assert "RESET_MOVED" in codes(events)
    assert roll(after, FTMO_2, now + 120, money(101_000))[1] == ()


def test_money_in_other_digits_is_refused() -> None:
    anchors = opened(FTMO_2, prague("2026-11-20 12:00"))
    with pytest.raises(ValueError, match="3 digits"):
        roll(anchors, FTMO_2, anchors.last_seen.time, replace(money(100_000), money_digits=3))


def test_a_daily_pause_ends_at_the_reset_and_not_before() -> None:
    now, reset = prague("2026-10-25 12:00"), prague("2026-10-26 00:00")
    anchors = paused(opened(FTMO_2, now), "daily", FTMO_2, now)
    assert anchors.pause is not None
    assert anchors.pause.until == reset
    early, _ = roll(anchors, FTMO_2, reset - 1, money(100_000))
    assert early.pause == anchors.pause
    late, events = roll(early, FTMO_2, reset, money(100_000))
    assert late.pause is None
    assert codes(events) == ["DAY_RESET", "LIMIT_PAUSE_ENDED"]


def test_a_pause_for_the_maximum_loss_lasts_until_the_operator_ends_it() -> None:
    now = prague("2026-11-20 12:00")
    anchors = paused(paused(opened(FTMO_2, now), "daily", FTMO_2, now), "maximum", FTMO_2, now + 5)
    assert paused(anchors, "daily", FTMO_2, now + 10) == anchors
    later, _ = roll(anchors, FTMO_2, now + 30 * 86400, money(100_000), History(now, (), ()))
    assert later.pause is not None
    assert (later.pause.limit, later.pause.until) == ("maximum", None)
    assert resumed(later).pause is None


def test_a_restart_at_any_point_gives_the_same_anchors() -> None:
    first = prague("2026-10-24 09:00")
    looks = [first + step * 5400 for step in range(1, 60)]
    straight = broken = start(FTMO_1, first, money(100_000), HUNDRED, history(0))[0]
    balance = 100_000.0
    results: list[tuple[float, float]] = []
    for index, now in enumerate(looks):
        if index % 7 == 3:
            results.append((now - 100, 800.0 - 100 * (index % 17)))
            balance += results[-1][1]
        account, deals = money(balance, balance + 50 * (index % 5)), history(0, results)
        straight, _ = roll(straight, FTMO_1, now, account, deals)
        broken, _ = roll(
            restarted(roll(restarted(broken), FTMO_1, now, account, deals)[0]), FTMO_1, now, account, deals
        )
        assert broken == straight


def test_day_rules_read_well_in_the_file() -> None:
    assert str(DayRule("00:30", "UTC")) == "00:30 UTC"


def test_a_loss_just_before_the_reset_does_not_lower_an_anchor_that_was_seen_higher() -> None:
    """The firm's snapshot and the server's clock may differ by seconds: the higher state counts."""
    reset = prague("2026-11-21 00:00")
    deals = history(reset - 86400, [(reset - 2, -1000.0)])
    after, _ = roll(opened(FTMO_2, reset - 60), FTMO_2, reset + 60, money(99_000), deals)
    assert (after.day_balance, after.balance_source) == (HUNDRED, "observed")


def test_a_deal_at_the_very_reset_belongs_to_the_new_day() -> None:
    reset = prague("2026-11-21 00:00")
    deals = history(reset - 86400, [(reset, -1000.0)])
    after, _ = roll(opened(FTMO_2, reset - 20_000), FTMO_2, reset + 20_000, money(99_000), deals)
    assert (after.day_balance, after.balance_source) == (HUNDRED, "rebuilt")


def test_a_payout_days_after_a_high_midnight_leaves_that_peak() -> None:
    first = prague("2026-11-16 12:00")
    deals = history(first, [(first + 3600, 4000.0)], [(first + 2 * 86400, -4000.0)])
    after, _ = roll(opened(FTMO_1, first), FTMO_1, first + 4 * 86400, money(100_000), deals)
    assert (after.peak_eod_balance, after.day_balance) == (104_000_00, HUNDRED)
    anew, _ = start(FTMO_1, first + 4 * 86400, money(100_000), HUNDRED, deals)
    assert anew.peak_eod_balance == 104_000_00
