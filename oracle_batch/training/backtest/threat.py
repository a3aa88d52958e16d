"""How bad a position can make an account look, at most: what it may cost before anybody looks again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oracle_batch.hands.anchors import Anchors
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.limits import limit_lines
from oracle_batch.hands.protection import Sized
from oracle_batch.market.book import OpenPosition
from oracle_batch.market.specs import Contract

SLACK: Final = 1.02
"""How much more than computed a position may cost before a stretch is called harmless."""
MARGIN_SHARE: Final = 0.6
"""Equity must stay above so much of the margin used; a stop-out comes at half of it."""
FREE_SHARE: Final = 0.5
"""An entry is certain of its margin where all that is used stays below this share of what is free for it."""
NEAR_PRICE: Final = 0.1
"""How far, as a share, the price of a fill may lie from the quote before the entry is a whole tick's."""


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
    units, costs = worth(position.contract, position.volume_cents, position.rate, money_digits)
    per_price = units * position.direction
    stop = position.stop_loss
    at_stop = None if stop is None else (stop - position.entry_price) * per_price
    return Stake(position.entry_price, per_price, at_stop, costs, position.swap, position.margin)


def worth(contract: Contract, volume_cents: int, rate: float, money_digits: int) -> tuple[float, float]:
    """What a price move of 1.0 makes on a volume, and what closing it may take: a ``Stake``'s money."""
    unit = 10.0**money_digits
    units = volume_cents / 100 * rate * unit
    costs = (contract.commission_per_lot * volume_cents / contract.spec.lot_size_cents) * unit
    costs += (contract.slippage * 2 + contract.spread) * units
    return units, costs * SLACK


def at_risk(contract: Contract, found: Sized, rate: float, money_digits: int) -> float:
    """More than an entry can lose at its stop with all costs, in minor units."""
    unit = 10.0**money_digits
    one = found.volume_cents / 100 * rate * unit
    lots = found.volume_cents / contract.spec.lot_size_cents
    costs = 3 * (contract.spread + contract.slippage) * one + 2 * contract.commission_per_lot * lots * unit
    return SLACK * ((found.distances.stop or 0.0) * one + costs) + unit


def levels_of(anchors: Anchors, rules: LimitRules) -> tuple[float, float]:
    """The equity at which a limit closes positions, and at which it stops entries; minus infinity without limits."""
    lines, none = limit_lines(anchors, rules), float("-inf")
    floor = max((max(line.flatten_at, line.floor) for line in lines), default=none)
    return floor, max((line.entries_stop_at for line in lines), default=none)


def needed(stakes: Iterable[Stake]) -> float:
    """The equity that the margin in use wants."""
    return int(MARGIN_SHARE * sum(stake.margin for stake in stakes))
