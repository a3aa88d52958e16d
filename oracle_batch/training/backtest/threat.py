"""How bad a position can make an account look, at most: what it may cost before anybody looks again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oracle_batch.hands.anchors import Anchors
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.limits import limit_lines
from oracle_batch.market.book import OpenPosition

SLACK: Final = 1.02
"""How much more than computed a position may cost before a stretch is called harmless."""
MARGIN_SHARE: Final = 0.6
"""Equity must stay above so much of the margin used; a stop-out comes at half of it."""


@dataclass(frozen=True, slots=True)
class Stake:
    """A position's money in minor units, rough and on the strict side.

    ``per_price`` is what a price move of 1.0 brings, ``at_stop`` what is left of it at the stop (None without one),
    ``costs`` what closing it and being wrong may take, ``sunk`` what its nights have made.
    """

    entry: float
    per_price: float
    at_stop: float | None
    costs: float
    sunk: int
    margin: int

    def worst(self, bid: float) -> float:
        """The least that it brings while the bid does not get worse than this."""
        value = (bid - self.entry) * self.per_price
        if self.at_stop is not None and self.at_stop < value:
            value = self.at_stop
        return self.sunk + (value * SLACK if value < 0 else value / SLACK) - self.costs

    def best(self, bid: float) -> float:
        """The most that it brings while the bid does not get better than this."""
        return self.sunk + max(0.0, (bid - self.entry) * self.per_price) * SLACK


def stake_of(position: OpenPosition, money_digits: int) -> Stake:
    """What is at stake in a position."""
    unit, spec = 10.0**money_digits, position.contract
    units = position.volume_cents / 100 * position.rate * unit
    costs = (spec.commission_per_lot * position.volume_cents / spec.spec.lot_size_cents) * unit
    costs += (spec.slippage * 2 + spec.spread) * units
    per_price = units * position.direction
    stop = position.stop_loss
    at_stop = None if stop is None else (stop - position.entry_price) * per_price
    return Stake(position.entry_price, per_price, at_stop, costs * SLACK, position.swap, position.margin)


def levels_of(anchors: Anchors, rules: LimitRules) -> tuple[float, float]:
    """The equity at which a limit closes positions, and at which it stops entries; minus infinity without limits."""
    lines, none = limit_lines(anchors, rules), float("-inf")
    floor = max((max(line.flatten_at, line.floor) for line in lines), default=none)
    return floor, max((line.entries_stop_at for line in lines), default=none)


def needed(stakes: Iterable[Stake]) -> float:
    """The equity that the margin in use wants."""
    return int(MARGIN_SHARE * sum(stake.margin for stake in stakes))
