"""What a model's positions come to from one new signal to the next, worked out for all of history at once.

A *trip* begins at a look with a new signal and ends at the next one. Where costs, conversion rate and volumes stay the
same, its prices and money do not depend on the account, and are the market engine's arithmetic on whole columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle_batch.hands.prices import RELATIVE_DIGITS, exact
from oracle_batch.hands.protection import Sized
from oracle_batch.market import fills, swaps
from oracle_batch.market.specs import Contract
from oracle_batch.training.backtest.ground import Ground
from oracle_batch.training.backtest.itinerary import Itinerary
from oracle_batch.training.backtest.life import DIRECTION, Float64, Ints
from oracle_batch.training.backtest.prices import Prices
from oracle_batch.training.backtest.reaching import reserve
from oracle_batch.training.backtest.threat import NEAR_PRICE, SLACK, worth
from oracle_batch.training.backtest.whole import Scale, Whole, in_minor, onto, scale_of
from oracle_batch.types import ACTIONS

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trips:
    """Lists by the number of a look (``Itinerary``); money in minor units.

    Of the trip that begins there: ``opens``, whether the market is certain to take the entry, margin aside; ``calm``,
    whether nothing reaches the position until the trip ends; ``repeats``, whether it asks for as much of the same as
    the trip before. ``price``, and ``worst``, the least that it brings on the way; its last price
    ``leaves``, and its ``profit``. Of the trip that began at the look ``begun`` (-1: of none): ``floating``.
    """

    opens: list[bool]
    calm: list[bool]
    repeats: list[bool]
    price: list[float]
    worst: list[float]
    leaves: list[float]
    profit: list[int]
    begun: list[int]
    floating: list[int]


def trips_of(way: Itinerary, action: Ints, prices: Prices, ground: Ground) -> Trips:
    """All trips of a life, whose ``action`` is by row.

    Raises:
        InexactError: a number cannot be held exactly.
    """
    contract, looks = ground.contract, len(way)
    row, known, time = np.array(way.row), np.array(way.known), np.array(way.time)
    begins = np.flatnonzero(row >= 0)
    ends = np.append(begins[1:], begins[-1:])
    wanted = action[row[begins]]
    side, volume = DIRECTION[wanted], _by_action(ground, lambda one: one.volume_cents)[wanted]

    costs = np.array([contract.spread, contract.slippage])
    scale = scale_of(np.concatenate([costs, ground.seen, ground.met]), max(RELATIVE_DIGITS, contract.spec.digits))
    spread, slippage = scale.units(costs).tolist()
    seen, met = scale.units(ground.seen), scale.units(ground.met)
    price, entry = scale.rounded(met[begins] + np.where(side > 0, spread + slippage, -slippage))
    leaves, leave = scale.rounded(met[ends] + np.where(side < 0, spread + slippage, -slippage))
    _, quote = scale.rounded(met[begins] + np.where(side < 0, spread, 0))
    stop, target, allowed = _protection(ground, scale, wanted, entry, quote)
    opens = allowed & (np.abs(ground.met - ground.seen)[begins] <= NEAR_PRICE * ground.seen[begins])

    low, high = (np.append(column, np.nan) for column in prices.spans(known[begins]))
    calm = opens & _out_of_reach(side, stop, target, low, high, reserve(contract, float(prices.bid.max())))
    calm &= ~_over_night(contract, side, time[begins], time[ends])

    held = np.maximum(np.searchsorted(begins, np.arange(looks)) - 1, 0)  # the newest trip that began before a look
    _, quote = scale.rounded(seen + np.where(side[held] < 0, spread, 0))
    moves = np.append((leave - entry) * side, (quote - entry[held]) * side[held])
    money = _money(ground, scale, moves, np.append(volume, volume[held]))

    def by_look(column: NDArray[Any] | list[int]) -> Any:
        whole = np.zeros(looks, np.asarray(column).dtype)
        whole[begins] = column
        return whole.tolist()

    return Trips(
        by_look(opens),
        by_look(calm),
        by_look((side == np.roll(side, 1)) & (volume == np.roll(volume, 1))),
        by_look(price),
        by_look(_worst(ground, side, volume, price, low, high)),
        by_look(leaves),
        by_look(money[: len(begins)]),
        np.where(np.arange(looks) > begins[0], begins[held], -1).tolist(),
        money[len(begins) :].tolist(),
    )


def _by_action(ground: Ground, of: Callable[[Sized], int]) -> Whole:
    """A number of what each action asks for, 0 where that is nothing."""
    return np.array([of(ground.wished[one.index]) if one.index in ground.wished else 0 for one in ACTIONS], np.int64)


def _protection(
    ground: Ground, scale: Scale, wanted: Ints, entry: Whole, quote: Whole
) -> tuple[Float64, Float64, Bools]:
    """Stop and target (NaN: none) of entries, and whether the market takes them, and these at a quote.

    See ``market.orders.protection_prices`` and ``protection_refusal``.
    """
    contract, side = ground.contract, DIRECTION[wanted]
    step, finer = 10 ** (scale.digits - contract.spec.digits), 10 ** (scale.digits - RELATIVE_DIGITS)
    stops = _by_action(ground, lambda one: one.distances.stop_relative or 0)[wanted]
    targets = _by_action(ground, lambda one: one.distances.target_relative or 0)[wanted]
    taken = _by_action(ground, lambda one: fills.volume_fits(contract, one.volume_cents))
    allowed, levels = taken[wanted] > 0, []
    for away, ahead, least in ((stops, -side, contract.min_stop), (targets, side, contract.min_target)):
        level = onto(entry + ahead * away * finer, step, up=side)
        distance = (level - quote) * ahead
        far = (distance > 0) & (distance >= math.ceil(exact(least).scaleb(scale.digits)))
        allowed &= (away == 0) | ((away * finer % step == 0) & (level > 0) & far)
        levels.append(np.where(away > 0, scale.prices(level), np.nan))
    return levels[0], levels[1], allowed


def _out_of_reach(side: Ints, stop: Float64, target: Float64, low: Float64, high: Float64, reserve: float) -> Bools:
    """Whether bids between ``low`` and ``high`` stay away from stop and target; never where they are not known."""
    down, up = np.where(side > 0, stop, target), np.where(side > 0, target, stop)
    below, above = np.isnan(down) | (low > down + reserve), np.isnan(up) | (high < up - reserve)
    found: Bools = (low <= high) & below & above
    return found


def _over_night(contract: Contract, side: Ints, begin: Float64, end: Float64) -> Bools:
    """Whether a position makes swap between two instants."""
    paid = np.array([contract.swap(int(one)) != 0 for one in (-1, 1)])[(side > 0).astype(np.intp)]
    for one in np.flatnonzero(paid).tolist():
        paid[one] = swaps.next_rollover(float(begin[one]))[0] <= end[one]
    return paid


def _worst(ground: Ground, side: Ints, volume: Whole, price: Float64, low: Float64, high: Float64) -> Float64:
    """``Stake.worst`` of each position between its lowest and highest bid, where no stop is reached."""
    worst = np.zeros(len(side))
    for size in np.unique(volume).tolist():
        units, costs = worth(ground.contract, size, ground.rate.value, ground.money_digits)
        value = (np.where(side > 0, low, high) - price) * side * units
        worst = np.where(volume == size, np.where(value < 0, value * SLACK, value / SLACK) - costs, worst)
    return worst


def _money(ground: Ground, scale: Scale, moves: Whole, volume: Whole) -> Whole:
    """What price moves bring on volumes."""
    money = np.zeros(len(moves), np.int64)
    for size in np.unique(volume).tolist():
        mine = volume == size
        money[mine] = in_minor(moves[mine], scale, size, ground.rate.value, ground.money_digits)
    return money
