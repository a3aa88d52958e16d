"""What an order must make sense as before the market looks at it. Its form on the wire was checked before. Pure."""

from __future__ import annotations

from typing import Final

from oracle_batch.sim.values import OrderRequest, Rejection

AT_MARKET: Final = ("MARKET", "MARKET_RANGE")


def order_rejection(request: OrderRequest, now: float) -> Rejection | None:
    """Why an order is none, whatever the market does."""
    if request.volume_cents <= 0:
        return volume_rejection(request.volume_cents)
    if any(price is not None and price <= 0 for price in (request.limit_price, request.stop_price)):
        return Rejection("TRADING_BAD_PRICES", f"limit {request.limit_price}, stop {request.stop_price}")
    if request.expires_at is not None and request.expires_at <= now:
        return Rejection("TRADING_BAD_EXPIRATION_DATE", f"{request.expires_at:.0f} is not after {now:.0f}")
    stopped = request.stop_loss is not None or request.relative_stop_loss > 0
    return stop_rejection(stopped=stopped, trailing=request.trailing_stop, guaranteed=request.guaranteed_stop)


def volume_rejection(volume_cents: int) -> Rejection:
    return Rejection("TRADING_BAD_VOLUME", f"volume is {volume_cents}")


def stop_rejection(*, stopped: bool, trailing: bool, guaranteed: bool) -> Rejection | None:
    """Why a stop cannot be what it is asked to be."""
    if guaranteed:
        return Rejection("INVALID_REQUEST", "Guaranteed stop loss is for limited risk accounts")
    if trailing and not stopped:
        return Rejection("INVALID_REQUEST", "Trailing stop loss needs a stop loss")
    return None
