"""A market order and what is asked of it before it fills: its volume, its price, its protection. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from oracle_batch.broker.base import StopTrigger
from oracle_batch.hands.prices import RELATIVE_DIGITS, RELATIVE_SCALE, down, exact, grid, up
from oracle_batch.market import fills, protection
from oracle_batch.market.fills import Refusal
from oracle_batch.market.specs import Contract


@dataclass(frozen=True, slots=True)
class Order:
    """A market order.

    ``direction`` is 1 or -1, ``decided_at`` the instant (Unix seconds) whose next open fills it. Protection is given as
    absolute prices, or as distances from the fill price in 1/100000 (0: none), which win. With ``max_slippage_points``
    (the symbol's points; 0: no limit) it is a market-range order. Ids, label and comment are opaque to the market.
    """

    symbol: str
    direction: int
    volume_cents: int
    decided_at: float
    client_order_id: str = ""
    label: str = ""
    comment: str = ""
    stop_loss: float | None = None
    take_profit: float | None = None
    stop_relative: int = 0
    target_relative: int = 0
    max_slippage_points: float = 0.0
    stop_trigger: StopTrigger = "trade"


def volume_refusal(order: Order, contract: Contract) -> Refusal | None:
    """Why the contract does not take the volume."""
    if fills.volume_fits(contract, order.volume_cents):
        return None
    spec = contract.spec
    limits = f"{spec.min_volume_cents} to {spec.max_volume_cents} by {spec.step_volume_cents}"
    return Refusal("TRADING_BAD_VOLUME", f"{order.volume_cents} hundredths of a unit is not within {limits}")


def range_refusal(order: Order, contract: Contract, price: float, quoted_bid: float) -> Refusal | None:
    """Why a market-range order does not fill at a price: it is too much worse than the quote it was decided on."""
    if not order.max_slippage_points:
        return None
    quote = fills.exit_quote(contract, -order.direction, quoted_bid)
    worse = (exact(price) - exact(quote)) * order.direction
    if worse <= exact(order.max_slippage_points) * grid(contract.spec.digits):
        return None
    return Refusal("ORDER_CANCELLED", f"{price} is {worse} worse than {quote}; {order.max_slippage_points:g} points")


def protection_prices(order: Order, contract: Contract, price: float) -> tuple[float | None, float | None] | Refusal:
    """Absolute stop and target of an order that fills at a price, which need not be on the grid.

    Relative ones are rounded onto it: the stop towards the entry, the target away from it.
    """
    digits = contract.spec.digits
    unit = 10 ** max(0, RELATIVE_DIGITS - digits)
    for distance in (order.stop_relative, order.target_relative):
        if distance < 0 or distance % unit:
            return Refusal("TRADING_BAD_STOPS", f"distance {distance} is no positive multiple of {unit}")
    entry, step, ahead = exact(price), grid(digits), up if order.direction > 0 else down
    stop, target = order.stop_loss, order.take_profit
    if order.stop_relative:
        stop = float(ahead(entry - order.direction * Decimal(order.stop_relative) / RELATIVE_SCALE, step))
    if order.target_relative:
        target = float(ahead(entry + order.direction * Decimal(order.target_relative) / RELATIVE_SCALE, step))
    return stop, target


def protection_refusal(
    contract: Contract, direction: int, bid: float, stop_loss: float | None, take_profit: float | None
) -> Refusal | None:
    """Why a position cannot have this protection while the market stands at a bid."""
    if stop_loss is None and take_profit is None:
        return None
    at = fills.exit_quote(contract, direction, bid)
    below_zero = (stop_loss is not None and stop_loss <= 0) or (take_profit is not None and take_profit <= 0)
    if below_zero or not protection.fits(direction, at, stop_loss, take_profit):
        return Refusal("TRADING_BAD_STOPS", f"stop {stop_loss}, target {take_profit} at {at}")
    near_stop = stop_loss is not None and (exact(at) - exact(stop_loss)) * direction < exact(contract.min_stop)
    near_target = take_profit is not None and (exact(take_profit) - exact(at)) * direction < exact(contract.min_target)
    if near_stop or near_target:
        least = f"the least distances are {contract.min_stop} and {contract.min_target}"
        seen = f"stop {stop_loss}, target {take_profit} at {at}"
        return Refusal("PROTECTION_IS_TOO_CLOSE_TO_MARKET", f"{seen}; {least}")
    return None
