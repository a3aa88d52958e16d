"""What holds for every account, every path of its money, and every clock it is looked at with."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.hands.anchors import AccountMoney, Anchors, Booking, History, start
from oracle_batch.hands.limit_rules import DailyLimit, DayRule, EmergencyRule, LimitRules, MaximumLimit
from oracle_batch.hands.limits import LEVELS, OpenRisk, PositionRisk, assess, budget, limit_lines
from oracle_batch.hands.reset_days import resets_between
from oracle_batch.hands.roll import roll
from tests.hands.limit_cases import FTMO_1, FTMO_2, OWN, THE5ERS, restarted

HUNDRED = 100_000_00
T0 = 1_774_600_000  # 27 March 2026, so that both changes of the clock are near
percents = st.sampled_from([0.5, 1.0, 3.0, 4.4, 5.0, 10.0, 33.3])
amounts = st.integers(0, 20_000_00)


@st.composite
def any_rules(draw: st.DrawFn, *, payouts: str = "stay") -> LimitRules:
    if draw(st.booleans()):
        return draw(st.sampled_from([FTMO_1, FTMO_2, THE5ERS]))
    trails = draw(st.sampled_from(["never", "eod_balance", "equity"]))
    lock = "none" if trails == "never" else draw(st.sampled_from(["none", 0.0, 2.5]))
    of = "initial" if trails == "never" else draw(st.sampled_from(["initial", "peak"]))
    day = draw(st.sampled_from([FTMO_1.day, THE5ERS.day, DayRule("00:30", "UTC"), DayRule("02:30", "Europe/Prague")]))
    anchor = draw(st.sampled_from(["balance", "equity", "higher"]))
    return LimitRules(
        "any",
        (),
        None,
        payouts,  # type: ignore[arg-type]
        day,
        DailyLimit(draw(percents), draw(st.sampled_from(["initial", "anchor"])), anchor),  # type: ignore[arg-type]
        MaximumLimit(draw(percents), of, trails, lock),  # type: ignore[arg-type]
        EmergencyRule(80.0, 90.0, draw(st.sampled_from(["stops", "equity"]))),  # type: ignore[arg-type]
    )


class Step(NamedTuple):
    """After ``seconds`` the account has earned ``result``, got ``flow``, and floats ``floating``."""

    seconds: int
    result: int
    flow: int
    floating: int


def steps(*, flows: bool = False) -> st.SearchStrategy[list[Step]]:
    money = st.integers(-3_000_00, 3_000_00)
    waits = st.one_of(st.integers(1, 1200), st.integers(3600, 4 * 86400))
    cash = st.one_of(st.just(0), st.integers(-2_000_00, 5_000_00)) if flows else st.just(0)
    return st.lists(st.builds(Step, waits, money, cash, money), min_size=1, max_size=15)


class Look(NamedTuple):
    now: float
    money: AccountMoney
    history: History


def looks(path: list[Step]) -> list[Look]:
    """The account at each step, deals booked half-way there."""
    now, balance = float(T0), HUNDRED
    results: list[Booking] = []
    flows: list[Booking] = []
    found = []
    for step in path:
        results.append(Booking(now + step.seconds / 2, step.result))
        if step.flow:
            flows.append(Booking(now + step.seconds / 3, step.flow))
        now += step.seconds
        balance += step.result + step.flow
        account = AccountMoney(balance, balance + step.floating, 2)
        found.append(Look(now, account, History(T0, tuple(results), tuple(flows))))
    return found


def begin(rules: LimitRules) -> Anchors:
    return start(rules, T0, AccountMoney(HUNDRED, HUNDRED, 2), HUNDRED, History(0, (), ()))[0]


def open_risks() -> st.SearchStrategy[OpenRisk]:
    positions = st.builds(PositionRisk, st.integers(1, 99), st.booleans(), st.one_of(st.none(), amounts), amounts)
    return st.builds(OpenRisk, st.lists(positions, max_size=4).map(tuple), amounts)


@given(any_rules(), steps(), st.booleans(), open_risks())
def test_ok_is_only_said_above_the_entry_level_of_every_limit(
    rules: LimitRules, path: list[Step], with_deals: bool, risk: OpenRisk
) -> None:
    anchors = begin(rules)
    for look in looks(path):
        anchors, _ = roll(anchors, rules, look.now, look.money, look.history if with_deals else None)
        found = assess(anchors, rules, look.money, risk)
        for state in found.states:
            if found.level == "ok":
                assert state.used_pct < 80
                assert state.possible_pct < 80
            if state.used_pct >= 90:
                assert found.level in ("flatten", "breached")
            if look.money.equity <= state.line.floor:
                assert found.level == "breached"


@given(any_rules(), st.integers(60_000_00, 130_000_00), open_risks(), amounts, amounts)
def test_less_money_or_more_risk_never_looks_better(
    rules: LimitRules, equity: int, risk: OpenRisk, less: int, more: int
) -> None:
    anchors = begin(rules)

    def level(equity: int, risk: OpenRisk) -> int:
        return LEVELS.index(assess(anchors, rules, AccountMoney(HUNDRED, equity, 2), risk).level)

    def room(equity: int, risk: OpenRisk) -> int:
        return budget(anchors, rules, AccountMoney(HUNDRED, equity, 2), risk) or 0

    here, left = level(equity, risk), room(equity, risk)
    another = OpenRisk((*risk.positions, PositionRisk(100, True, more, less)), risk.reserved)
    assert level(equity - less, risk) >= here
    assert level(equity, risk.reserve(more)) >= here
    assert level(equity, another) >= here
    assert room(equity - less, risk) <= left
    assert room(equity, risk.reserve(more)) <= left
    assert room(equity, another) <= left


@given(any_rules(), st.integers(80_000_00, 110_000_00), st.lists(amounts, max_size=25))
def test_entries_admitted_one_after_another_stay_above_the_entry_level_together(
    rules: LimitRules, equity: int, wishes: list[int]
) -> None:
    anchors, account, risk = begin(rules), AccountMoney(HUNDRED, equity, 2), OpenRisk()
    before = assess(anchors, rules, account, risk)
    for wish in wishes:
        room = budget(anchors, rules, account, risk)
        assert room is not None
        if 0 < wish <= room:
            risk = risk.reserve(wish)
    after = assess(anchors, rules, account, risk)
    assert after.level == before.level
    if risk.reserved:
        assert all(equity - risk.reserved > line.entries_stop_at for line in limit_lines(anchors, rules))
        room = budget(anchors, rules, account, risk)
        assert assess(anchors, rules, account, risk.reserve((room or 0) + 1)).level == "no_entries"


@given(any_rules(), steps(flows=True), st.booleans())
def test_a_floor_of_the_maximum_loss_never_falls_and_honours_its_lock(
    rules: LimitRules, path: list[Step], with_deals: bool
) -> None:
    anchors = begin(rules)
    floor = limit_lines(anchors, rules)[1].floor
    for look in looks(path):
        anchors, _ = roll(anchors, rules, look.now, look.money, look.history if with_deals else None)
        line = limit_lines(anchors, rules)[1]
        assert line.floor >= floor
        floor = line.floor
        assert isinstance(rules.maximum, MaximumLimit)
        if rules.maximum.lock_pct == 0.0:
            assert floor <= anchors.initial_balance
        if rules.maximum.trails == "never":
            assert line.reference == anchors.initial_balance


@given(any_rules(), steps(flows=True))
def test_the_days_balance_is_never_below_the_true_one(rules: LimitRules, path: list[Step]) -> None:
    """True: what the deals say of the reset; deposits and payouts are no result of the day, whenever they came."""
    anchors = begin(rules)
    for look in looks(path):
        anchors, _ = roll(anchors, rules, look.now, look.money, look.history)
        if anchors.day_start >= T0:
            true = look.money.balance - look.history.earned(anchors.day_start)
            assert anchors.day_balance >= true
            if anchors.balance_source == "rebuilt":
                assert anchors.day_balance == true


@given(any_rules(), steps())
def test_the_peak_has_seen_every_reset_that_passed(rules: LimitRules, path: list[Step]) -> None:
    anchors, seen = begin(rules), looks(path)
    for look in seen:
        anchors, _ = roll(anchors, rules, look.now, look.money, look.history)
    last = seen[-1]
    for reset in resets_between(rules.day, T0, last.now):
        assert anchors.peak_eod_balance >= last.money.balance - last.history.earned(reset)


@given(any_rules(), steps(flows=True), st.booleans())
def test_looking_twice_or_restarting_changes_nothing(rules: LimitRules, path: list[Step], with_deals: bool) -> None:
    anchors = begin(rules)
    for look in looks(path):
        deals = look.history if with_deals else None
        once, _ = roll(anchors, rules, look.now, look.money, deals)
        twice, events = roll(restarted(once), rules, look.now, look.money, deals)
        assert twice == once
        assert events == ()
        anchors = once


@given(steps(flows=True))
def test_a_deposit_or_payout_alone_never_uses_ones_own_limit(path: list[Step]) -> None:
    anchors = begin(OWN)
    for look in looks([step._replace(result=0, floating=0) for step in path]):
        anchors, _ = roll(anchors, OWN, look.now, look.money, look.history)
        found = assess(anchors, OWN, look.money, OpenRisk())
        assert found.level == "ok"
        assert all(state.used_pct == 0 for state in found.states)


@settings(max_examples=50)
@given(any_rules(), steps(), st.integers(1, 59))
def test_a_clock_that_jitters_never_brings_a_day_back(rules: LimitRules, path: list[Step], jitter: int) -> None:
    anchors = begin(rules)
    for look in looks(path):
        anchors, _ = roll(anchors, rules, look.now, look.money, look.history)
        back, _ = roll(anchors, rules, look.now - jitter, look.money, look.history)
        assert replace(back, last_seen=anchors.last_seen) == anchors
