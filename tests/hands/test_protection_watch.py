"""Trailing, break-even and missing stops: levels by hand, and what holds on any path of quotes."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from oracle_batch.broker.base import Quote
from oracle_batch.hands.prices import exact
from oracle_batch.hands.protection import Distances, StopTrigger, Terms
from oracle_batch.hands.watch import (
    Amend,
    Unprotectable,
    Upkeep,
    Watch,
    begin,
    maintain,
    missing_stop,
    seen,
    upkeep,
)
from tests.hands.protection_build import EURGBP, EURUSD, GER40, USDJPY, XAUUSD, Settings, terms

LOTS_005 = 500_000
"""5,000 EUR: 10 USD are 0.002."""


def quote(bid: float, ask: float | None = None) -> Quote:
    return Quote(bid, bid if ask is None else ask, 0.0)


def watch(
    stop: float | None = 1.0900,
    target: float | None = None,
    best: float = 1.1,
    *,
    trailing: float = 0.0,
    breakeven: float = 0.0,
    step: float = 0.0,
    trigger: StopTrigger = "trade",
) -> Watch:
    return Watch(7, stop, target, best, False, Upkeep(trailing, breakeven, step, trigger))


def run(
    start: Watch, direction: int, entry: float, volume: int, quotes: list[Quote], market: Terms
) -> tuple[Watch, list[Amend | None]]:
    amends = []
    for one in quotes:
        start, amend = maintain(start, direction, entry, volume, one, market)
        amends.append(amend)
    return start, amends


# Beginning


def test_a_watch_begins_with_what_the_order_carried() -> None:
    market = terms(spread=0.0001)
    settings = Settings(trailing_usd=5, breakeven_usd=8, trail_step_usd=1, stop_trigger_method="opposite")
    long = begin(7, 1, 1.1, Distances(0.01, 0.02, 1000, 2000), market, upkeep(settings))
    assert long == Watch(7, 1.09, 1.12, 1.0999, False, Upkeep(5, 8, 1, "opposite"))
    short = begin(7, -1, 1.1, Distances(0.01, 0.02, 1000, 2000), market, upkeep(settings, 0.5))
    assert short == Watch(7, 1.11, 1.08, 1.1001, False, Upkeep(2.5, 4, 0.5, "opposite"))


# Trailing


def test_the_stop_trails_the_best_bid_of_a_long_position() -> None:
    quotes = [quote(1.1010, 1.1011), quote(1.1030, 1.1031), quote(1.1020, 1.1021), quote(1.1040, 1.1041)]
    last, amends = run(watch(1.098, 1.12, trailing=10), 1, 1.1, LOTS_005, quotes, terms())
    assert amends == [
        Amend(7, 1.099, 1.12, "trade"),
        Amend(7, 1.101, 1.12, "trade"),
        None,
        Amend(7, 1.102, 1.12, "trade"),
    ]
    assert (last.best_price, last.stop_loss) == (1.104, 1.102)


def test_the_stop_trails_the_best_ask_of_a_short_position() -> None:
    quotes = [quote(1.0989, 1.0990), quote(1.0969, 1.0970), quote(1.0979, 1.0980)]
    last, amends = run(watch(1.102, None, trailing=10), -1, 1.1, LOTS_005, quotes, terms())
    assert amends == [Amend(7, 1.101, None, "trade"), Amend(7, 1.099, None, "trade"), None]
    assert last.best_price == 1.097


def test_a_position_without_a_stop_gets_one_by_trailing() -> None:
    _, amends = run(watch(None, trailing=10), 1, 1.1, LOTS_005, [quote(1.1)], terms())
    assert amends == [Amend(7, 1.098, None, "trade")]


@pytest.mark.parametrize(
    ("market", "volume", "entry", "best", "stop"),
    [
        # 10 / (5,000 · 1.25) = 0.0016
        (terms(EURGBP, 1.25), 500_000, 0.85, 0.86, 0.8584),
        # 10 · 150 / 1,000 = 1.5
        (terms(USDJPY, 1 / 150), 100_000, 150.0, 153.0, 151.5),
        # 3 ounces: 10 / 3 = 3.333…, up to the cent: 2,410 − 3.33
        (terms(XAUUSD), 300, 2400.0, 2410.0, 2406.67),
        # 10 / (0.05 · 1.08) = 185.185…: 18,500 − 185.185 = 18,314.81…, up
        (terms(GER40, 1.08), 5, 18_000.0, 18_500.0, 18_314.9),
        # EUR account: 10 · 1.08 / 1,000 = 0.0108
        (terms(EURUSD, 1 / 1.08), 100_000, 1.1, 1.12, 1.1092),
    ],
)
def test_the_trailing_distance_follows_contract_and_currency(
    market: Terms, volume: int, entry: float, best: float, stop: float
) -> None:
    _, amends = run(watch(None, best=entry, trailing=10), 1, entry, volume, [quote(best)], market)
    assert amends == [Amend(7, stop, None, "trade")]


def test_a_move_below_the_step_is_not_sent() -> None:
    # 2 USD are 0.0004: 1.0980 → 1.09839 is not enough, 1.0984 is
    quotes = [quote(1.10039), quote(1.1004)]
    _, amends = run(watch(1.098, trailing=10, step=2), 1, 1.1, LOTS_005, quotes, terms())
    assert amends == [None, Amend(7, 1.0984, None, "trade")]


def test_a_trailing_stop_keeps_the_brokers_minimum() -> None:
    # 1 USD is 0.0002, the broker wants 0.0005
    market = terms(min_stop_distance=0.0005)
    _, amends = run(watch(1.09, trailing=1), 1, 1.1, LOTS_005, [quote(1.101)], market)
    assert amends == [Amend(7, 1.1005, None, "trade")]


def test_nothing_is_amended_while_the_market_is_at_the_target() -> None:
    market = terms(min_target_distance=0.0005)
    quotes = [quote(1.1096), quote(1.109)]
    last, amends = run(watch(1.098, 1.11, trailing=10), 1, 1.1, LOTS_005, quotes, market)
    # at 1.1096 the target is 0.0004 away; later the best quote still counts
    assert amends == [None, Amend(7, 1.1076, 1.11, "trade")]
    assert last.best_price == 1.1096


@pytest.mark.parametrize("bad", [quote(0.0), quote(1.2, 1.1), quote(float("nan")), quote(1.1, float("inf"))])
def test_an_unsound_quote_changes_nothing(bad: Quote) -> None:
    before = watch(1.098, trailing=10)
    assert maintain(before, 1, 1.1, LOTS_005, bad, terms()) == (before, None)


def test_an_unknown_rate_changes_nothing() -> None:
    before = watch(1.098, trailing=10)
    assert maintain(before, 1, 1.1, LOTS_005, quote(1.2), terms(rate=0.0)) == (before, None)


# Break-even


@pytest.mark.parametrize(
    ("direction", "short_of_it", "enough", "stop"),
    # 0.00007 commission and 0.00002 slippage a unit
    [(1, quote(1.10199, 1.1021), quote(1.102, 1.1021), 1.10009), (-1, quote(1.098, 1.09801), quote(1.098), 1.09991)],
)
def test_at_its_profit_the_stop_moves_to_entry_plus_costs(
    direction: int, short_of_it: Quote, enough: Quote, stop: float
) -> None:
    market = terms(commission_per_lot=7, slippage=0.00002)
    start = watch(1.1 - direction * 0.01, breakeven=10)
    last, amends = run(start, direction, 1.1, LOTS_005, [short_of_it, enough, enough], market)
    assert amends == [None, Amend(7, stop, None, "trade"), None]
    assert last.breakeven_done


@pytest.mark.parametrize(
    ("market", "volume", "entry", "at", "stop"),
    [
        # 7 / (100,000 · 1.25) = 0.000056, up to the grid
        (terms(EURGBP, 1.25, commission_per_lot=7), 500_000, 0.85, 0.8516, 0.85006),
        # 7 · 150 / 100,000 = 0.0105, up to 0.011
        (terms(USDJPY, 1 / 150, commission_per_lot=7), 100_000, 150.0, 151.6, 150.011),
        # 5 a lot of 100 ounces: 0.05
        (terms(XAUUSD, commission_per_lot=5), 100, 2400.0, 2410.0, 2400.05),
    ],
)
def test_the_costs_of_break_even_follow_contract_and_currency(
    market: Terms, volume: int, entry: float, at: float, stop: float
) -> None:
    start = watch(entry * 0.9, best=entry, breakeven=10)
    assert run(start, 1, entry, volume, [quote(at)], market)[1] == [Amend(7, stop, None, "trade")]


def test_break_even_is_done_once_whatever_the_costs_become() -> None:
    last, _ = run(watch(breakeven=10), 1, 1.1, LOTS_005, [quote(1.103)], terms(commission_per_lot=7))
    assert last.stop_loss == 1.10007
    assert run(last, 1, 1.1, LOTS_005, [quote(1.104)], terms(commission_per_lot=70))[1] == [None]


def test_break_even_that_the_broker_would_refuse_waits_for_its_room() -> None:
    # the profit is there, but 1.1001 is nearer than 0.0015 to 1.1011
    market = terms(min_stop_distance=0.0015, slippage=0.0001)
    quotes = [quote(1.1011), quote(1.0995), quote(1.10159), quote(1.1016)]
    last, amends = run(watch(breakeven=5), 1, 1.1, LOTS_005, quotes, market)
    assert amends == [None, None, None, Amend(7, 1.1001, None, "trade")]
    assert last.breakeven_done


def test_of_break_even_and_trailing_the_tighter_counts() -> None:
    both = watch(1.09, trailing=20, breakeven=10)
    last, amends = run(both, 1, 1.1, LOTS_005, [quote(1.102), quote(1.105)], terms())
    assert amends == [Amend(7, 1.1, None, "trade"), Amend(7, 1.101, None, "trade")]
    assert last.breakeven_done


def test_a_stop_that_is_already_past_break_even_counts_as_done() -> None:
    last, amends = run(watch(1.1005, breakeven=10), 1, 1.1, LOTS_005, [quote(1.102)], terms())
    assert amends == [None]
    assert last.breakeven_done


def test_a_stop_that_fills_a_spread_beyond_its_price_is_moved_a_spread_further() -> None:
    market = terms(spread=0.0001)
    opposite = watch(1.09, breakeven=10, trigger="opposite")
    assert run(opposite, 1, 1.1, LOTS_005, [quote(1.103)], market)[1] == [Amend(7, 1.1001, None, "opposite")]


# What is at the broker


def test_a_tighter_stop_or_another_target_at_the_broker_is_taken_over() -> None:
    ours = watch(1.09, 1.12)
    assert seen(ours, 1, 1.09, 1.12, terms()) is ours
    assert seen(ours, 1, 1.095, 1.12, terms()) == replace(ours, stop_loss=1.095)
    assert seen(ours, 1, 1.09, 1.13, terms()) == replace(ours, take_profit=1.13)
    assert seen(ours, 1, 1.08, None, terms()) is ours
    assert seen(ours, 1, None, None, terms()) is ours
    assert seen(replace(ours, stop_loss=1.11), -1, 1.105, 1.12, terms()).stop_loss == 1.105
    assert seen(replace(ours, stop_loss=1.11), -1, 1.115, 1.12, terms()).stop_loss == 1.11
    assert seen(replace(ours, stop_loss=None, take_profit=None), 1, 1.08, 1.2, terms()).stop_loss == 1.08


def test_a_fill_without_its_stop_is_amended_with_both_sides() -> None:
    ours = watch(1.09, 1.12, trigger="double_trade")
    expected = Amend(7, 1.09, 1.12, "double_trade")
    assert missing_stop(ours, 1, None, 1.12, quote(1.1), terms()) == expected
    assert missing_stop(ours, 1, None, None, quote(1.1), terms()) == expected
    assert missing_stop(ours, 1, 1.09, None, quote(1.1), terms()) == expected
    assert missing_stop(ours, 1, None, None, None, terms()) == expected
    assert missing_stop(ours, 1, None, None, quote(0.0), terms()) == expected


def test_a_stop_looser_than_ours_is_put_back() -> None:
    ours = watch(1.09)
    assert missing_stop(ours, 1, 1.085, None, quote(1.1), terms()) == Amend(7, 1.09, None, "trade")
    # within a price step, as the broker may have rounded it
    assert missing_stop(ours, 1, 1.08999, None, quote(1.1), terms()) is None
    assert missing_stop(ours, 1, 1.095, None, quote(1.1), terms()) is None
    assert missing_stop(watch(1.11), -1, 1.12, None, quote(1.1), terms()) == Amend(7, 1.11, None, "trade")


def test_nothing_is_missing_where_nothing_was_wanted() -> None:
    assert missing_stop(watch(None), 1, None, None, quote(1.1), terms()) is None
    assert missing_stop(watch(1.09, 1.12), 1, 1.09, 1.12, quote(1.1), terms()) is None


def test_a_missing_stop_that_the_market_has_passed_means_closing() -> None:
    assert missing_stop(watch(1.09), 1, None, None, quote(1.0899), terms()) == Unprotectable(7, 1.09, None)
    assert missing_stop(watch(1.11), -1, None, None, quote(1.109, 1.1101), terms()) == Unprotectable(7, 1.11, None)
    # too near for the broker
    tight = terms(min_stop_distance=0.001)
    assert missing_stop(watch(1.09), 1, 1.08, None, quote(1.0905), tight) == Unprotectable(7, 1.09, 1.08)


def test_a_missing_target_is_set_as_near_as_the_broker_takes_it() -> None:
    market = terms(min_target_distance=0.001)
    assert missing_stop(watch(1.09, 1.12), 1, 1.09, None, quote(1.1195), market) == Amend(7, 1.09, 1.1205, "trade")
    # a tighter stop that somebody set stays
    assert missing_stop(watch(1.09, 1.12), 1, 1.095, None, quote(1.1), market) == Amend(7, 1.095, 1.12, "trade")


def test_an_amendment_that_the_broker_refused_is_asked_for_again() -> None:
    ours, amend = maintain(watch(1.098, trailing=10), 1, 1.1, LOTS_005, quote(1.103), terms())
    assert amend is not None
    # the broker still holds 1.098
    ours = seen(ours, 1, 1.098, None, terms())
    assert missing_stop(ours, 1, 1.098, None, quote(1.1029), terms()) == amend
    assert missing_stop(ours, 1, 1.101, None, quote(1.1029), terms()) is None


# On any path


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Watch, int, float, int, list[Quote], Terms]:
    """A position, its parameters and a path of quotes, all in steps of a symbol's grid."""
    contract, rate, middle = draw(
        st.sampled_from(
            [
                (EURUSD, 1.0, 110_000),
                (EURGBP, 1.27, 85_000),
                (USDJPY, 1 / 151.3, 150_000),
                (XAUUSD, 1.0, 240_000),
                (GER40, 1.08, 180_000),
            ]
        )
    )
    step = 10.0**-contract.digits
    money = 100_000 * step * contract.lot_size_cents / 10_000 * rate / 100  # of 1,000 steps on one lot's hundredth

    def price(steps: int) -> float:
        return round(steps * step, contract.digits)

    spread = draw(st.integers(0, 20))
    market = terms(
        contract,
        rate,
        spread=price(spread),
        slippage=price(draw(st.integers(0, 5))),
        commission_per_lot=draw(st.sampled_from([0.0, 7.0])),
        min_stop_distance=price(draw(st.integers(0, 60))),
        min_target_distance=price(draw(st.integers(0, 60))),
    )
    direction = draw(st.sampled_from([1, -1]))
    bids, bid = [], middle
    for move in draw(st.lists(st.integers(-400, 400), min_size=1, max_size=25)):
        bid += move
        bids.append(Quote(price(bid), price(bid + spread), 0.0))
    ratio = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.7, 1.5])
    keep = Upkeep(money * draw(ratio), money * draw(ratio), money * draw(ratio) / 10)
    stop = draw(st.none() | st.integers(100, 2000))
    target = draw(st.none() | st.integers(100, 2000))
    start = Watch(
        7,
        None if stop is None else price(middle - direction * stop),
        None if target is None else price(middle + direction * target),
        price(middle),
        False,
        keep,
    )
    volume = draw(st.integers(1, 20)) * contract.min_volume_cents
    return start, direction, price(middle), volume, bids, market


@given(scene=scenes())
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_stop_only_moves_in_favour_in_steps_on_the_grid_and_never_too_near(
    scene: tuple[Watch, int, float, int, list[Quote], Terms],
) -> None:
    now, direction, entry, volume, quotes, market = scene
    one = market.value_of_one(volume)
    levels = []
    for at in quotes:
        before = now
        now, amend = maintain(before, direction, entry, volume, at, market)
        assert (exact(now.best_price) - exact(before.best_price)) * direction >= 0
        assert before.breakeven_done <= now.breakeven_done
        if amend is None:
            assert (now.stop_loss, now.take_profit) == (before.stop_loss, before.take_profit)
            continue
        assert amend.stop_loss is not None
        assert (amend.stop_loss, amend.take_profit) == (now.stop_loss, before.take_profit)
        level, leave = exact(amend.stop_loss), exact(at.bid if direction > 0 else at.ask)
        assert level % market.step == 0
        assert (leave - level) * direction >= max(exact(market.min_stop_distance), market.step)
        if before.stop_loss is not None:
            gain = (level - exact(before.stop_loss)) * direction
            assert gain >= market.step
            assert gain * one >= exact(before.upkeep.trail_step_usd)
        levels.append(level)
        # the same quote asks for nothing more
        assert maintain(now, direction, entry, volume, at, market) == (now, None)
    assert all((later - earlier) * direction > 0 for earlier, later in pairwise(levels))


@given(scene=scenes(), data=st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_restart_anywhere_changes_nothing(
    scene: tuple[Watch, int, float, int, list[Quote], Terms], data: st.DataObject
) -> None:
    start, direction, entry, volume, quotes, market = scene
    straight, amends = run(start, direction, entry, volume, quotes, market)
    now, again = start, []
    for at in quotes:
        if data.draw(st.booleans()):
            now = msgspec.json.decode(msgspec.json.encode(now), type=Watch)
        now, amend = maintain(now, direction, entry, volume, at, market)
        again.append(amend)
    assert (now, again) == (straight, amends)


@given(scene=scenes(), data=st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_the_broker_loses_is_asked_for_again_or_closed(
    scene: tuple[Watch, int, float, int, list[Quote], Terms], data: st.DataObject
) -> None:
    now, direction, entry, volume, quotes, market = scene
    at_broker = (now.stop_loss, now.take_profit)
    for at in quotes:
        before = now
        now = seen(now, direction, *at_broker, market)
        gap = missing_stop(now, direction, *at_broker, at, market)
        if isinstance(gap, Unprotectable):
            leave = exact(at.bid if direction > 0 else at.ask)
            room = max(exact(market.min_stop_distance), market.step)
            assert (leave - exact(gap.stop_loss)) * direction < room + market.step
            return
        if gap is None:
            now, gap = maintain(now, direction, entry, volume, at, market)
        if before.stop_loss is not None:
            assert now.stop_loss is not None
            assert (exact(now.stop_loss) - exact(before.stop_loss)) * direction >= 0
        if gap is not None:
            fate = data.draw(st.sampled_from(["taken", "refused", "target lost", "all lost"]))
            taken = (gap.stop_loss, gap.take_profit)
            at_broker = {
                "taken": taken,
                "refused": at_broker,
                "target lost": (gap.stop_loss, None),
                "all lost": (None, None),
            }[fate]
