"""Entries judged one after another: what passes alone must not breach together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.config.rules import EntryRules
from oracle_batch.hands.admission import BookState, EntryCandidate, Verdict, admit
from oracle_batch.hands.exposure import Claim
from oracle_batch.hands.refusal import Refusal

EMPTY = BookState(
    held={},
    in_flight=(),
    equity=10_000.0,
    free_margin=10_000.0,
    loss_budget=math.inf,
    trades_today=0,
    requests_today=0,
)


def claim(
    symbol: str = "EURUSD",
    direction: int = 1,
    *,
    value: float | None = 1000.0,
    margin: float | None = 10.0,
    loss: float | None = 5.0,
    currencies: tuple[str, ...] | None = None,
) -> Claim:
    return Claim(symbol, direction, value, currencies or (symbol[:3], symbol[3:]), margin, loss)


def wish(model: str, one: Claim, priority: int = 0, **more: Any) -> EntryCandidate:
    return EntryCandidate(model=model, priority=priority, claim=one, **more)


def codes(verdicts: Sequence[Verdict]) -> dict[str, str | None]:
    return {one.model: one.refusal.code if one.refusal else None for one in verdicts}


# Order


def test_candidates_are_judged_by_priority_then_model_id() -> None:
    wishes = [wish("C", claim(), 0), wish("A", claim(), 1), wish("B", claim(), 0)]
    verdicts = admit(wishes, EMPTY, EntryRules(max_open_positions=2))
    assert [one.model for one in verdicts] == ["B", "C", "A"]
    assert codes(verdicts) == {"B": None, "C": None, "A": "MAX_OPEN_POSITIONS"}


def test_a_candidate_that_its_rules_refuse_reserves_nothing() -> None:
    own = Refusal("SPREAD", {})
    verdicts = admit([wish("A", claim(), refusal=own), wish("B", claim())], EMPTY, EntryRules(max_open_positions=1))
    assert verdicts == [Verdict("A", own), Verdict("B", None)]
    assert [one.admitted for one in verdicts] == [False, True]


def test_a_refused_candidate_reserves_nothing_and_a_smaller_one_may_still_pass() -> None:
    wishes = [wish("A", claim(margin=60)), wish("B", claim(margin=50)), wish("C", claim(margin=40))]
    assert codes(admit(wishes, replace(EMPTY, free_margin=100.0), EntryRules())) == {
        "A": None,
        "B": "FREE_MARGIN",
        "C": None,
    }


def test_a_model_has_one_candidate() -> None:
    with pytest.raises(ValueError, match="two candidates"):
        admit([wish("A", claim()), wish("A", claim())], EMPTY, EntryRules())


# Slots, counts


def test_slots_count_everything_that_is_open_or_may_be() -> None:
    state = replace(EMPTY, held={1: claim(), 2: claim("GBPUSD", value=None)}, in_flight=(claim(),))
    verdicts = admit([wish("A", claim()), wish("B", claim())], state, EntryRules(max_open_positions=4))
    assert codes(verdicts) == {"A": None, "B": "MAX_OPEN_POSITIONS"}
    assert verdicts[1].refusal == Refusal(
        "MAX_OPEN_POSITIONS", {"taken": 4.0, "freed": 0.0, "needed": 1.0, "limit": 4.0}
    )


def test_twenty_wishes_fill_the_twenty_slots_of_the_default_and_no_more() -> None:
    wishes = [wish(f"M{number:02}", claim()) for number in range(25)]
    verdicts = admit(wishes, EMPTY, EntryRules())
    assert [one.admitted for one in verdicts] == [True] * 20 + [False] * 5


def test_trades_of_the_day_are_counted_as_they_are_admitted() -> None:
    verdicts = admit(
        [wish("A", claim()), wish("B", claim())], replace(EMPTY, trades_today=9), EntryRules(max_trades_per_day=10)
    )
    assert codes(verdicts) == {"A": None, "B": "MAX_TRADES_DAY"}


def test_entries_stop_at_four_fifths_of_the_days_requests() -> None:
    # 80 % of 100 are 80: one request fits after 79, two do not.
    state = replace(EMPTY, requests_today=79)
    rules = EntryRules(max_trade_requests_day=100)
    assert codes(admit([wish("A", claim()), wish("B", claim())], state, rules)) == {
        "A": None,
        "B": "TRADE_REQUESTS_DAY",
    }
    assert codes(admit([wish("A", claim(), requests=2)], state, rules)) == {"A": "TRADE_REQUESTS_DAY"}


# Margin and loss


def test_margin_that_is_enough_for_each_is_not_for_all() -> None:
    state = replace(EMPTY, free_margin=250.0)
    wishes = [wish(name, claim(margin=100)) for name in "ABC"]
    assert codes(admit(wishes, state, EntryRules())) == {"A": None, "B": None, "C": "FREE_MARGIN"}


def test_a_share_of_equity_stays_free() -> None:
    # 10 % of 10,000 stay free: of 1,150 there are 150 to take.
    state = replace(EMPTY, free_margin=1150.0)
    rules = EntryRules(min_free_margin_pct=10)
    assert codes(admit([wish("A", claim(margin=150))], state, rules)) == {"A": None}
    assert codes(admit([wish("A", claim(margin=151))], state, rules)) == {"A": "FREE_MARGIN"}


def test_margin_of_an_entry_that_may_have_been_filled_is_reserved() -> None:
    state = replace(EMPTY, free_margin=150.0, in_flight=(claim(margin=100),))
    assert codes(admit([wish("A", claim(margin=60))], state, EntryRules())) == {"A": "FREE_MARGIN"}


def test_possible_losses_share_the_budget() -> None:
    # 400 daily budget: 150 + 150 fit, the third does not, 100 still does.
    wishes = [wish(name, claim(loss=loss)) for name, loss in zip("ABCD", (150, 150, 150, 100), strict=True)]
    verdicts = admit(wishes, replace(EMPTY, loss_budget=400.0), EntryRules())
    assert codes(verdicts) == {"A": None, "B": None, "C": "LOSS_BUDGET", "D": None}


def test_sums_of_cents_fit_exactly() -> None:
    wishes = [wish("A", claim(loss=0.1)), wish("B", claim(loss=0.2))]
    assert all(one.admitted for one in admit(wishes, replace(EMPTY, loss_budget=0.3), EntryRules()))


def test_a_budget_that_is_used_up_refuses_also_what_loses_nothing() -> None:
    assert codes(admit([wish("A", claim(loss=0))], replace(EMPTY, loss_budget=-1.0), EntryRules())) == {
        "A": "LOSS_BUDGET"
    }
    assert codes(admit([wish("A", claim(margin=0))], replace(EMPTY, free_margin=-1.0), EntryRules())) == {
        "A": "FREE_MARGIN"
    }


@pytest.mark.parametrize(
    ("state", "one", "expected"),
    [
        ({"free_margin": None}, {}, "UNKNOWN_MARGIN"),
        ({"free_margin": math.nan}, {}, "UNKNOWN_MARGIN"),
        ({}, {"margin": None}, "UNKNOWN_MARGIN"),
        ({}, {"margin": math.nan}, "UNKNOWN_MARGIN"),
        ({}, {"margin": -1.0}, "UNKNOWN_MARGIN"),
        ({"in_flight": (claim(margin=None),)}, {}, "UNKNOWN_MARGIN"),
        ({"loss_budget": None}, {}, "UNKNOWN_LOSS_BUDGET"),
        ({"loss_budget": math.nan}, {}, "UNKNOWN_LOSS_BUDGET"),
        ({"loss_budget": 100.0}, {"loss": None}, "UNKNOWN_POSSIBLE_LOSS"),
        ({"loss_budget": 100.0}, {"loss": -50.0}, "UNKNOWN_POSSIBLE_LOSS"),
        ({"loss_budget": math.inf}, {"loss": None}, None),
        ({"held": {1: claim(margin=None, loss=None)}, "loss_budget": 100.0}, {}, None),
    ],
)
def test_unknown_money_is_a_refusal(state: dict[str, Any], one: dict[str, Any], expected: str | None) -> None:
    verdicts = admit([wish("A", claim(**one))], replace(EMPTY, **state), EntryRules())
    assert codes(verdicts) == {"A": expected}
    for verdict in verdicts:
        for value in verdict.refusal.numbers.values() if verdict.refusal else ():
            assert not isinstance(value, float) or math.isfinite(value)


def test_unknown_equity_matters_where_a_share_of_it_stays_free() -> None:
    state = replace(EMPTY, equity=None)
    assert codes(admit([wish("A", claim())], state, EntryRules())) == {"A": None}
    assert codes(admit([wish("A", claim())], state, EntryRules(min_free_margin_pct=1))) == {"A": "UNKNOWN_MARGIN"}


# Exposure


def test_the_larger_side_of_a_symbol_is_limited_and_opposites_do_not_offset() -> None:
    rules = EntryRules(max_symbol_exposure=2500)
    state = replace(EMPTY, held={1: claim(value=2000), 2: claim(direction=-1, value=2000)})
    assert codes(admit([wish("A", claim(value=500))], state, rules)) == {"A": None}
    assert codes(admit([wish("A", claim(value=501))], state, rules)) == {"A": "EXPOSURE_SYMBOL"}
    assert codes(admit([wish("A", claim("GBPUSD", value=2500))], state, rules)) == {"A": None}
    refusal = admit([wish("A", claim(direction=-1, value=600))], state, rules)[0].refusal
    assert refusal == Refusal(
        "EXPOSURE_SYMBOL",
        {"taken": 2000.0, "freed": 0.0, "needed": 600, "limit": 2500.0, "name": "EURUSD", "side": -1},
    )


def test_both_sides_of_a_symbol_are_limited_together() -> None:
    rules = EntryRules(max_symbol_exposure_gross=2500)
    wishes = [wish("A", claim(value=1500)), wish("B", claim(direction=-1, value=1001)), wish("C", claim(value=1000))]
    assert codes(admit(wishes, EMPTY, rules)) == {"A": None, "B": "EXPOSURE_SYMBOL_GROSS", "C": None}


def test_three_pairs_are_one_bet_against_the_dollar() -> None:
    # Long EURUSD, long GBPUSD and short USDCHF are all short USD; long USDJPY is on the other side.
    rules = EntryRules(max_currency_exposure=2500)
    wishes = [
        wish("A", claim("EURUSD", 1)),
        wish("B", claim("GBPUSD", 1)),
        wish("C", claim("USDCHF", -1)),
        wish("D", claim("USDJPY", 1)),
    ]
    verdicts = admit(wishes, EMPTY, rules)
    assert codes(verdicts) == {"A": None, "B": None, "C": "EXPOSURE_CURRENCY", "D": None}
    assert verdicts[2].refusal is not None
    assert (verdicts[2].refusal.numbers["name"], verdicts[2].refusal.numbers["side"]) == ("USD", -1)


def test_both_sides_of_a_currency_are_limited_together() -> None:
    rules = EntryRules(max_currency_exposure_gross=2500)
    wishes = [wish("A", claim("EURUSD", 1)), wish("B", claim("USDJPY", 1)), wish("C", claim("GBPUSD", 1))]
    assert codes(admit(wishes, EMPTY, rules)) == {"A": None, "B": None, "C": "EXPOSURE_CURRENCY_GROSS"}


def test_an_index_is_long_its_currency() -> None:
    rules = EntryRules(max_currency_exposure=1500)
    wishes = [wish("A", claim("US30", 1, currencies=("USD",))), wish("B", claim("USDJPY", 1))]
    assert codes(admit(wishes, EMPTY, rules)) == {"A": None, "B": "EXPOSURE_CURRENCY"}


@pytest.mark.parametrize("limit", ["max_currency_exposure", "max_currency_exposure_gross"])
def test_a_position_of_unknown_currencies_may_be_in_any(limit: str) -> None:
    rules = EntryRules(**{limit: 1e9})  # type: ignore[arg-type]
    unknown = Claim("ODD", 1, 1000.0, None, 1.0, 1.0)
    state = replace(EMPTY, held={1: unknown})
    assert codes(admit([wish("A", claim())], state, rules)) == {"A": "UNKNOWN_EXPOSURE"}
    assert codes(admit([wish("A", unknown)], EMPTY, rules)) == {"A": "UNKNOWN_EXPOSURE"}
    assert codes(admit([wish("A", unknown)], state, EntryRules(max_symbol_exposure=1e9))) == {"A": None}


def test_an_unknown_value_makes_its_own_symbol_unknown_and_no_other() -> None:
    rules = EntryRules(max_symbol_exposure=1e9)
    state = replace(EMPTY, held={1: claim(value=None)})
    wishes = [wish("A", claim()), wish("B", claim("GBPUSD")), wish("C", claim("USDJPY", value=None))]
    assert codes(admit(wishes, state, rules)) == {"A": "UNKNOWN_EXPOSURE", "B": None, "C": "UNKNOWN_EXPOSURE"}


# Closes and reversals


def test_an_unconfirmed_close_frees_nothing_for_others() -> None:
    """Position 1 is being closed; it counts until the broker no longer shows it."""
    state = replace(EMPTY, held={1: claim()})
    assert codes(admit([wish("B", claim())], state, EntryRules(max_open_positions=1))) == {"B": "MAX_OPEN_POSITIONS"}


def test_a_reversal_takes_over_the_slot_and_the_money_of_its_own_position() -> None:
    rules = EntryRules(max_open_positions=1, max_symbol_exposure_gross=1000)
    state = replace(EMPTY, held={1: claim(margin=80, loss=40)}, free_margin=20.0, loss_budget=10.0)
    entry = claim(direction=-1, margin=100, loss=50)
    assert codes(admit([wish("A", entry, replaces=1)], state, rules)) == {"A": None}
    assert codes(admit([wish("A", replace(entry, margin=101), replaces=1)], state, rules)) == {"A": "FREE_MARGIN"}
    assert codes(admit([wish("A", replace(entry, possible_loss=51), replaces=1)], state, rules)) == {"A": "LOSS_BUDGET"}
    assert codes(admit([wish("A", entry, replaces=2)], state, rules)) == {"A": "MAX_OPEN_POSITIONS"}


def test_what_a_smaller_reversal_leaves_is_nobodys_until_its_close_is_confirmed() -> None:
    state = replace(EMPTY, held={1: claim(margin=80)}, free_margin=20.0)
    wishes = [wish("A", claim(direction=-1, margin=10), replaces=1), wish("B", claim(margin=21))]
    assert codes(admit(wishes, state, EntryRules())) == {"A": None, "B": "FREE_MARGIN"}
    small = [wishes[0], wish("B", claim(margin=20))]
    assert codes(admit(small, state, EntryRules())) == {"A": None, "B": None}


def test_a_position_is_replaced_once() -> None:
    state = replace(EMPTY, held={1: claim()})
    wishes = [wish("A", claim(), replaces=1), wish("B", claim(), replaces=1)]
    assert codes(admit(wishes, state, EntryRules(max_open_positions=1))) == {"A": None, "B": "MAX_OPEN_POSITIONS"}


def test_an_own_position_of_unknown_money_frees_none() -> None:
    state = replace(EMPTY, held={1: claim(margin=None)}, free_margin=20.0)
    assert codes(admit([wish("A", claim(margin=21), replaces=1)], state, EntryRules())) == {"A": "FREE_MARGIN"}


# Properties: whichever entries are then filled, and whichever positions end, no entry passes a limit

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "EURGBP")
money = st.integers(0, 3000).map(float)
claims = st.builds(
    lambda symbol, direction, value, margin, loss: claim(symbol, direction, value=value, margin=margin, loss=loss),
    st.sampled_from(SYMBOLS),
    st.sampled_from((1, -1)),
    money,
    money,
    money,
)
rules_ = st.builds(
    EntryRules,
    max_open_positions=st.integers(1, 6),
    max_symbol_exposure=st.integers(0, 6000).map(float),
    max_symbol_exposure_gross=st.integers(0, 8000).map(float),
    max_currency_exposure=st.integers(0, 8000).map(float),
    max_currency_exposure_gross=st.integers(0, 9000).map(float),
    max_trades_per_day=st.integers(0, 6),
    max_trade_requests_day=st.integers(0, 10),
)
states = st.builds(
    lambda held, in_flight, free, budget, made: replace(
        EMPTY,
        held=dict(enumerate(held, 1)),
        in_flight=tuple(in_flight),
        free_margin=free,
        loss_budget=budget,
        trades_today=made,
        requests_today=made + 1,
    ),
    st.lists(claims, max_size=4),
    st.lists(claims, max_size=2),
    st.integers(-2000, 9000).map(float),
    st.one_of(st.just(math.inf), st.integers(-2000, 9000).map(float)),
    st.integers(0, 4),
)
wishes_ = st.lists(st.tuples(claims, st.integers(0, 2), st.booleans()), max_size=8)


def touched(one: Claim) -> set[tuple[str, str, int]]:
    """What a position adds to: kind, name, and the side of it that it is on (0: both together)."""
    base, quote = one.symbol[:3], one.symbol[3:]
    return {
        ("slots", "", 0),
        ("symbol", one.symbol, one.direction),
        ("symbol_gross", one.symbol, 0),
        ("currency", base, one.direction),
        ("currency", quote, -one.direction),
        ("currency_gross", base, 0),
        ("currency_gross", quote, 0),
    }


def measured(open_: Sequence[Claim], key: tuple[str, str, int]) -> float:
    """How much of one limited thing some positions hold, added up in another way than the ledger does."""
    of_it = [one for one in open_ if key in touched(one)]
    return float(len(of_it)) if key[0] == "slots" else sum(one.value or 0.0 for one in of_it)


def limit_of(rules: EntryRules, kind: str) -> float:
    limits = {
        "slots": rules.max_open_positions,
        "symbol": rules.max_symbol_exposure,
        "symbol_gross": rules.max_symbol_exposure_gross,
        "currency": rules.max_currency_exposure,
        "currency_gross": rules.max_currency_exposure_gross,
    }
    return limits[kind] or math.inf


@given(states, rules_, wishes_, st.data())
def test_whatever_an_entry_that_was_filled_adds_to_is_within_its_limit(
    state: BookState, rules: EntryRules, drawn: list[tuple[Claim, int, bool]], data: st.DataObject
) -> None:
    """For every outcome: each admitted entry is filled or not, each entry in flight was or was not, each position has
    ended or not; but the entry of a reversal is filled only after its own position is gone.

    Then everything that at least one filled entry adds to is at or below its limit, however much there was before;
    what none of them adds to is as it was, or less, and is nobody's doing. So it is with margin and possible loss:
    what filled entries take, less what the closes that released them return, and with what was in flight, is at most
    what was free, also where that is negative already.
    """
    reversible = list(state.held)
    candidates = [
        wish(f"M{number}", one, priority, replaces=reversible.pop() if reversing and reversible else None)
        for number, (one, priority, reversing) in enumerate(drawn)
    ]
    verdicts = {one.model: one for one in admit(candidates, state, rules)}
    admitted = [one for one in candidates if verdicts[one.model].admitted]
    filled = [one for one in admitted if data.draw(st.booleans())]
    gone = {one.replaces for one in filled}
    gone |= {position for position in state.held if data.draw(st.booleans())}
    maybe = [one for one in state.in_flight if data.draw(st.booleans())]
    rest = [one for position, one in state.held.items() if position not in gone]
    entries = [one.claim for one in filled]
    for key in {key for one in entries for key in touched(one)}:
        assert measured([*rest, *maybe, *entries], key) <= limit_of(rules, key[0]) + 1e-6
    if filled:
        returned = [state.held[one.replaces] for one in filled if one.replaces is not None]
        for name, free in (("margin", state.free_margin), ("possible_loss", state.loss_budget)):
            taken = sum(getattr(one, name) for one in (*maybe, *entries))
            assert taken - sum(getattr(one, name) for one in returned) <= (free or 0.0) + 1e-6
    if rules.max_trades_per_day:
        assert state.trades_today + len(admitted) <= max(rules.max_trades_per_day, state.trades_today)
    if rules.max_trade_requests_day:
        used = state.requests_today + len(admitted)
        assert used <= max(0.8 * rules.max_trade_requests_day, state.requests_today)


@given(states, rules_, wishes_, st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_arrive_changes_nothing(
    state: BookState, rules: EntryRules, drawn: list[tuple[Claim, int, bool]], chance: Any
) -> None:
    candidates = [wish(f"M{number}", one, priority) for number, (one, priority, _) in enumerate(drawn)]
    held = list(state.held.items())
    expected = admit(candidates, state, rules)
    chance.shuffle(candidates)
    chance.shuffle(held)
    assert admit(candidates, replace(state, held=dict(held)), rules) == expected


@given(states, rules_, claims)
def test_more_open_positions_never_admit_more(state: BookState, rules: EntryRules, extra: Claim) -> None:
    entry = [wish("A", claim())]
    fuller = replace(state, held={**state.held, 99: extra})
    if admit(entry, fuller, rules)[0].admitted:
        assert admit(entry, state, rules)[0].admitted
