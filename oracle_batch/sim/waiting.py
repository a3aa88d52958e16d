"""Pending orders as requests, and what is asked of them before they may wait. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from oracle_batch.hands.prices import RELATIVE_SCALE, exact, grid
from oracle_batch.market import protection
from oracle_batch.market.fills import volume_fits
from oracle_batch.market.orders import Order
from oracle_batch.market.pending import Pending, PendingKind, wrong_side
from oracle_batch.sim.values import OrderChange, OrderRequest, OrderView, Rejection, SymbolInfo

_PLAIN: Final = (
    "volume_cents",
    "limit_price",
    "stop_price",
    "expires_at",
    "slippage_points",
    "guaranteed_stop",
    "trailing_stop",
    "stop_trigger",
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending order; ``pending`` is what a stop-limit became, where it differs from the request."""

    view: OrderView
    pending: Pending
    info: SymbolInfo


def pending_of(request: OrderRequest, info: SymbolInfo) -> Pending:
    """What a checked limit, stop or stop-limit request waits for."""
    reach = float(request.slippage_points * grid(info.digits))
    if request.order_type == "LIMIT":
        assert request.limit_price is not None
        return Pending("LIMIT", request.direction, request.limit_price)
    assert request.stop_price is not None
    kind: PendingKind = "STOP_LIMIT" if request.order_type == "STOP_LIMIT" else "STOP"
    return Pending(kind, request.direction, request.stop_price, reach, request.stop_trigger)


def order_of(request: OrderRequest, info: SymbolInfo, at: float, volume_cents: int | None = None) -> Order:
    """What the engine is asked for, when the order fills."""
    return Order(
        info.name,
        request.direction,
        request.volume_cents if volume_cents is None else volume_cents,
        at,
        client_order_id=request.client_order_id,
        label=request.label,
        comment=request.comment,
        stop_loss=request.stop_loss,
        take_profit=request.take_profit,
        stop_relative=request.relative_stop_loss,
        target_relative=request.relative_take_profit,
        stop_trigger=request.stop_trigger,
    )


def changed_request(request: OrderRequest, change: OrderChange) -> OrderRequest:
    """A pending order's request as amended."""
    given = {name: value for name in _PLAIN if (value := getattr(change, name)) is not None}
    if change.stop_loss is not None or change.relative_stop_loss:
        given |= {"stop_loss": change.stop_loss, "relative_stop_loss": change.relative_stop_loss}
    if change.take_profit is not None or change.relative_take_profit:
        given |= {"take_profit": change.take_profit, "relative_take_profit": change.relative_take_profit}
    return replace(request, **given)


def pending_rejection(request: OrderRequest, info: SymbolInfo, bid: float) -> Rejection | None:
    """Why the market does not let an order wait: its volume, the side its price or its protection lies on."""
    pending, contract = pending_of(request, info), info.contract
    if not volume_fits(contract, request.volume_cents):
        spec = contract.spec
        limits = f"{spec.min_volume_cents} to {spec.max_volume_cents} by {spec.step_volume_cents}"
        return Rejection("TRADING_BAD_VOLUME", f"{request.volume_cents} hundredths of a unit is not within {limits}")
    if wrong_side(pending, contract, bid):
        return Rejection("TRADING_BAD_PRICES", f"stop price {pending.price} is behind the market at bid {bid}")
    if not protection.fits(request.direction, pending.price, request.stop_loss, request.take_profit):
        seen = f"stop {request.stop_loss}, target {request.take_profit} of an order at {pending.price}"
        return Rejection("TRADING_BAD_STOPS", seen)
    near = (
        (_distance(pending.price, request.stop_loss, request.relative_stop_loss), contract.min_stop),
        (_distance(pending.price, request.take_profit, request.relative_take_profit), contract.min_target),
    )
    if any(distance is not None and distance < exact(least) for distance, least in near):
        least_text = f"the least distances are {contract.min_stop} and {contract.min_target}"
        return Rejection("PROTECTION_IS_TOO_CLOSE_TO_MARKET", least_text)
    return None


def _distance(price: float, absolute: float | None, relative: int) -> Decimal | None:
    if relative:
        return Decimal(relative) / RELATIVE_SCALE
    return None if absolute is None else abs(exact(price) - exact(absolute))
