"""Where an account stands against its limits, with the firms' own examples and numbers worked by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from oracle_batch.hands.anchors import Anchors, paused, start
from oracle_batch.hands.limit_rules import DailyLimit, LimitRules, MaximumLimit
from oracle_batch.hands.limits import Assessment, OpenRisk, PositionRisk, assess, budget, limit_lines, still_to_lose
from oracle_batch.hands.roll import roll
from tests.hands.limit_cases import FTMO_1, FTMO_2, OWN, THE5ERS, at, custom, history, money, prague

HUNDRED = 100_000_00
NONE = OpenRisk()


def day_one(rules: LimitRules) -> Anchors:
    return start(rules, prague("2026-11-16 09:00"), money(100_000), HUNDRED, history(0))[0]


def floors(anchors: Anchors, rules: LimitRules) -> dict[str, float]:
    return {line.limit: line.floor / 100 for line in limit_lines(anchors, rules)}


def stand(
    equity: float, rules: LimitRules = FTMO_2, risk: OpenRisk = NONE, anchors: Anchors | None = None
) -> Assessment:
    return assess(anchors or day_one(rules), rules, money(100_000, equity), risk)


def position(to_stop: float | None, cost: float = 0.0, *, ours: bool = True, position_id: int = 1) -> PositionRisk:
    return PositionRisk(position_id, ours, None if to_stop is None else round(to_stop * 100), round(cost * 100))


# --- the firms' examples


def test_ftmo_one_step_example_of_the_maximum_loss() -> None:
    """ftmo.com: 90,000 on day 1; 94,000 after an end-of-day balance of 104,000; still 94,000 after one of 103,000."""
    anchors = day_one(FTMO_1)
    assert floors(anchors, FTMO_1) == {"daily": 97_000, "maximum": 90_000}
    results: list[tuple[float, float]] = []
    for day, result, balance, floor in ((16, 4000, 104_000, 94_000), (17, -1000, 103_000, 94_000)):
        results.append((prague(f"2026-11-{day} 15:00"), result))
        midnight = prague(f"2026-11-{day + 1} 00:00")
        anchors, _ = roll(anchors, FTMO_1, midnight + 60, money(balance), history(0, results))
        assert floors(anchors, FTMO_1) == {"daily": balance - 3000, "maximum": floor}


def test_ftmo_one_step_maximum_loss_ignores_what_happens_within_a_day() -> None:
    anchors, _ = roll(day_one(FTMO_1), FTMO_1, prague("2026-11-16 15:00"), money(106_000, 109_000), history(0))
    assert floors(anchors, FTMO_1)["maximum"] == 90_000


def test_ftmo_two_step_day_is_measured_from_the_balance_at_midnight() -> None:
    anchors = day_one(FTMO_2)
    assert floors(anchors, FTMO_2) == {"daily": 95_000, "maximum": 90_000}
    midnight = prague("2026-11-17 00:00")
    anchors, _ = roll(anchors, FTMO_2, midnight + 30, money(104_000, 101_000), history(0, [(midnight - 60, 4000)]))
    assert floors(anchors, FTMO_2) == {"daily": 99_000, "maximum": 90_000}
    assert assess(anchors, FTMO_2, money(104_000, 101_000), NONE).level == "ok"


def test_a_floating_loss_that_was_fine_before_midnight_can_be_too_much_after_it() -> None:
    """academy.ftmo.com: 200,000, a closed profit of 4,000 and a floating loss of 13,000."""
    now = prague("2026-11-16 23:59")
    deals = history(0, [(now - 3600, 4000)])
    anchors, _ = start(FTMO_2, now, money(204_000, 191_000), 200_000_00, deals)
    assert anchors.day_balance == 200_000_00
    before = assess(anchors, FTMO_2, money(204_000, 191_000), NONE)
    assert before.states[0].used_pct == 90.0
    after, _ = roll(anchors, FTMO_2, now + 90, money(204_000, 191_000), deals)
    assert floors(after, FTMO_2)["daily"] == 194_000
    assert assess(after, FTMO_2, money(204_000, 191_000), NONE).level == "breached"


def test_the5ers_day_is_five_percent_of_the_higher_of_balance_and_equity() -> None:
    anchors = start(THE5ERS, at("2026-11-19 21:59"), money(102_000, 105_000), HUNDRED, history(0))[0]
    anchors, _ = roll(anchors, THE5ERS, at("2026-11-19 22:00:30"), money(102_000, 104_800))
    assert floors(anchors, THE5ERS) == {"daily": 99_750, "maximum": 90_000}  # 105,000 less 5,250


def test_four_percent_of_the_balance_at_half_past_midnight() -> None:
    """A firm's page: 105,000 at 00:30 UTC and 4 % give 100,800 for the next 24 hours."""
    rules = custom(DailyLimit(4.0, "anchor", "balance"))
    anchors = start(rules, at("2026-11-20 00:45"), money(105_000), HUNDRED, history(0))[0]
    assert floors(anchors, rules) == {"daily": 100_800}


def test_own_limits_are_of_the_days_balance_and_of_the_highest_end_of_day_balance() -> None:
    anchors = replace(day_one(OWN), day_balance=102_000_00, peak_eod_balance=110_000_00)
    assert floors(anchors, OWN) == {"daily": 97_920, "maximum": 101_200}


# --- trailing and its lock


def test_an_intraday_trail_follows_the_equity_and_locks_at_the_initial_balance() -> None:
    rules = custom(maximum=MaximumLimit(6.0, "initial", "equity", 0.0))
    anchors = start(rules, at("2026-11-20 09:00"), money(100_000), HUNDRED, history(0))[0]
    for equity, floor in (
        (100_000, 94_000),
        (103_000, 97_000),
        (101_000, 97_000),
        (106_000, 100_000),
        (115_000, 100_000),
    ):
        anchors, _ = roll(anchors, rules, anchors.last_seen.time + 60, money(100_000, equity))
        assert floors(anchors, rules) == {"maximum": floor}
    # 80 % of 6,000 is counted from the locked floor, 101,200, not from the peak of 115,000.
    assert assess(anchors, rules, money(100_000, 101_200.01), NONE).level == "ok"
    assert assess(anchors, rules, money(100_000, 101_200), NONE).level == "no_entries"


def test_a_lock_may_lie_above_the_initial_balance() -> None:
    rules = custom(maximum=MaximumLimit(4.0, "initial", "eod_balance", 0.2))
    anchors = replace(day_one(rules), peak_eod_balance=120_000_00)
    assert floors(anchors, rules) == {"maximum": 100_200}


# --- levels


@pytest.mark.parametrize(
    ("equity", "level", "used"),
    [
        (101_000, "ok", 0.0),
        (100_000, "ok", 0.0),
        (96_000.01, "ok", 79.9998),
        (96_000, "no_entries", 80.0),
        (95_500.01, "no_entries", 89.9998),
        (95_500, "flatten", 90.0),
        (95_000.01, "flatten", 99.9998),
        (95_000, "breached", 100.0),
        (80_000, "breached", 400.0),
    ],
)
def test_levels_of_a_daily_limit_of_five_thousand(equity: float, level: str, used: float) -> None:
    found = stand(equity)
    assert (found.level, found.states[0].used_pct) == (level, pytest.approx(used))
    assert found.reason == (None if level == "ok" else "MAXIMUM_LOSS" if equity <= 90_000 else "DAILY_LOSS")
    assert found.entries_allowed == (level == "ok")
    assert found.close_ours == (level in ("flatten", "breached"))


def test_the_maximum_loss_decides_where_both_limits_are_as_bad() -> None:
    anchors = replace(day_one(FTMO_2), day_balance=95_500_00)  # floors 90,500 and 90,000
    assert stand(90_900, anchors=anchors).limit == "maximum", "92 % of the day's, 91 % of the maximum"
    assert stand(90_400, anchors=anchors).limit == "daily", "breached, the maximum is not"


def test_what_positions_can_still_lose_at_their_stops_counts() -> None:
    """Equity 98,000 (40 %), 1,500 to the stops, 10 of costs: 96,490 or 70.2 %; one more entry of 490 makes 80 %."""
    risk = OpenRisk((position(1000, 5), position(500, 5, position_id=2)))
    found = stand(98_000, risk=risk)
    assert (found.level, found.stopped_equity) == ("ok", 96_490_00)
    assert found.states[0].used_pct == pytest.approx(40.0)
    assert found.states[0].possible_pct == pytest.approx(70.2)
    anchors = day_one(FTMO_2)
    assert budget(anchors, FTMO_2, money(100_000, 98_000), risk) == 489_99
    assert stand(98_000, risk=risk.reserve(489_99)).level == "ok"
    assert stand(98_000, risk=risk.reserve(490_00)).level == "no_entries"


def test_an_entry_that_would_be_too_much_closes_nothing() -> None:
    assert stand(98_000, risk=NONE.reserve(50_000_00)).level == "no_entries"


def test_stops_beyond_ninety_percent_flatten_unless_the_rules_count_equity_only() -> None:
    risk = OpenRisk((position(2500),))
    assert stand(98_000, risk=risk).level == "flatten"
    daily = DailyLimit(5.0, "initial", "balance")
    rules = custom(daily, flatten_counts="equity")
    assert stand(98_000, rules, risk).level == "no_entries"
    assert stand(95_490, rules).level == "flatten"
    assert stand(95_510, rules, OpenRisk((position(0, 10),))).level == "flatten", "closing costs 10"


def test_a_position_without_a_stop_counts_its_floating_loss_alone() -> None:
    assert stand(97_000, risk=OpenRisk((position(0),))).states[0].possible_pct == pytest.approx(60.0)


def test_a_risk_that_cannot_be_computed_stops_entries() -> None:
    found = stand(100_000, risk=OpenRisk((position(None),)))
    assert (found.level, found.reason) == ("no_entries", "RISK_UNKNOWN")
    assert budget(day_one(FTMO_2), FTMO_2, money(100_000), OpenRisk((position(None),))) == 0


def test_somebody_elses_positions_count_and_are_named() -> None:
    risk = OpenRisk((position(100), position(3950, ours=False, position_id=77)))
    found = stand(100_000, risk=risk)
    assert (found.level, found.foreign) == ("no_entries", (77,))


def test_twenty_entries_that_pass_alone_cannot_breach_together() -> None:
    anchors, account, risk = day_one(FTMO_2), money(100_000), NONE
    accepted = 0
    for _ in range(20):
        room = budget(anchors, FTMO_2, account, risk)
        assert room is not None
        if room >= 300_00:
            risk, accepted = risk.reserve(300_00), accepted + 1
    assert accepted == 13  # 3,900 of 4,000; a fourteenth would make 4,200
    assert assess(anchors, FTMO_2, account, risk).level == "ok"


def test_a_pause_stops_entries_and_names_its_limit() -> None:
    anchors = paused(day_one(FTMO_2), "maximum", FTMO_2, prague("2026-11-16 10:00"))
    found = assess(anchors, FTMO_2, money(100_000), NONE)
    assert (found.level, found.limit, found.reason) == ("no_entries", "maximum", "LIMIT_PAUSE")
    assert budget(anchors, FTMO_2, money(100_000), NONE) == 0


def test_a_payout_of_a_firm_stops_entries_until_the_reset() -> None:
    noon = prague("2026-11-16 12:00")
    anchors = start(FTMO_2, noon - 60, money(104_000), HUNDRED, history(0))[0]
    anchors, _ = roll(anchors, FTMO_2, noon + 60, money(100_000), history(0, flows=[(noon, -4000)]))
    found = assess(anchors, FTMO_2, money(100_000), NONE)
    assert (found.level, found.reason) == ("no_entries", "PAYOUT_TODAY")
    assert found.states[0].used_pct == 0.0
    tomorrow, _ = roll(anchors, FTMO_2, prague("2026-11-17 00:00"), money(100_000), history(0, flows=[(noon, -4000)]))
    assert assess(tomorrow, FTMO_2, money(100_000), NONE).level == "ok"


def test_without_limits_nothing_is_bounded() -> None:
    rules = custom()
    assert budget(day_one(rules), rules, money(100_000, 1), NONE) is None
    assert stand(1, rules).level == "ok"


def test_an_empty_account_is_breached_not_divided_by() -> None:
    anchors = replace(day_one(OWN), day_balance=0)
    found = assess(anchors, OWN, money(0), NONE)
    assert found.level == "breached"
    assert found.states[0].used_pct == 100.0


@pytest.mark.parametrize("digits", range(9))
def test_levels_are_exact_in_any_money_digits(digits: int) -> None:
    unit = 10**digits
    account = replace(money(0), balance=100_000 * unit, equity=96_000 * unit, money_digits=digits)
    anchors = start(FTMO_2, 0, replace(account, equity=100_000 * unit), 100_000 * unit, history(-1e6))[0]
    assert assess(anchors, FTMO_2, account, NONE).level == "no_entries"
    assert assess(anchors, FTMO_2, replace(account, equity=96_000 * unit + 1), NONE).level == "ok"


def test_risks_are_never_negative() -> None:
    with pytest.raises(ValueError, match="not negative"):
        position(-1)
    with pytest.raises(ValueError, match="not negative"):
        NONE.reserve(-1)
    assert still_to_lose(-150, -100) == 0


def test_money_in_other_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="0 digits"):
        assess(day_one(FTMO_2), FTMO_2, replace(money(100_000), money_digits=0), NONE)
