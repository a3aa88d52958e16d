"""Stops and targets: where they may lie, and when a price reaches them."""

from __future__ import annotations

from collections.abc import Mapping

from oracle_batch.broker.base import CloseReason
from oracle_batch.hands.protection import OPPOSITE
from oracle_batch.market import fills
from oracle_batch.market.book import OpenPosition, exact
from oracle_batch.market.tape import Reach, Step


def fits(direction: int, price: float, stop_loss: float | None, take_profit: float | None) -> bool:
    """Whether a stop lies on the losing side of a price and a target on the winning side."""
    return (stop_loss is None or (price - stop_loss) * direction > 0) and (
        take_profit is None or (take_profit - price) * direction > 0
    )


def in_reach(position: OpenPosition, reach: Mapping[str, Reach]) -> bool:
    """Whether some price of a stretch reaches a protection of the position."""
    stretch = reach.get(position.symbol)
    if stretch is None:
        return False
    ends = (fills.exit_quote(position.contract, position.direction, bid) for bid in (stretch.low, stretch.high))
    worst, best = sorted(ends, reverse=position.direction < 0)
    return not fits(position.direction, worst, _stop_mark(position), None) or not fits(
        position.direction, best, None, position.take_profit
    )


def trigger(position: OpenPosition, step: Step) -> tuple[float, CloseReason] | None:
    """Price and reason of the protection that a step reaches, None when it reaches none."""
    quote = fills.exit_quote(position.contract, position.direction, step.bid)
    stop = _stop_mark(position)
    if stop is not None and (quote - stop) * position.direction <= 0:
        return (quote if step.place == 0 else stop), "stop_loss"
    if position.take_profit is not None and (quote - position.take_profit) * position.direction >= 0:
        return (quote if step.place == 0 else position.take_profit), "take_profit"
    return None


def _stop_mark(position: OpenPosition) -> float | None:
    """The exit quote at which the stop triggers and fills.

    One that the opposite quote triggers lies a spread farther away. A path has no two ticks in a row, so the ``double``
    triggers are like the single ones.
    """
    if position.stop_loss is None or position.stop_trigger not in OPPOSITE:
        return position.stop_loss
    return float(exact(position.stop_loss) - position.direction * exact(position.contract.spread))
