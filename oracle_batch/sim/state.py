"""The state of the simulator as the control port tells it (DESIGN §10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oracle_batch.sim.values import DealView, OrderView, PositionView

if TYPE_CHECKING:
    from oracle_batch.sim.exchange import Exchange
    from oracle_batch.sim.server import Server


def state_of(server: Server, accounts: Sequence[int]) -> dict[str, Any]:
    """Positions, orders and deals of some accounts, the first one's money, and what has been asked of the server.

    Volumes are in cents, times in Unix seconds, prices in the symbol's units, money in the account currency.
    """
    exchange = server.exchange
    rates = server.traffic.rates
    held = {account: exchange.reconcile(account) for account in accounts}
    return {
        "now": exchange.now,
        "told_ns": server.told_ns,
        "positions": [_position(exchange, account, one) for account in accounts for one in held[account][0]],
        "orders": [_order(exchange, account, one) for account in accounts for one in held[account][1]],
        "deals": [
            _deal(exchange, account, one) for account in accounts for one in exchange.deals(account, 0.0, exchange.now)
        ],
        "balance": _money(exchange, exchange.trader(accounts[0]).balance),
        "equity": _money(exchange, exchange.trader(accounts[0]).equity),
        "requests": {
            "total": rates.total,
            "historical": rates.historical,
            "max_per_second": rates.max_per_second,
            "max_historical_per_second": rates.max_historical_per_second,
        },
        "received": [
            {"client_order_id": one.client_order_id, "type": one.type, "monotonic_ns": one.monotonic_ns}
            for one in server.received
        ],
    }


def _money(exchange: Exchange, minor: int) -> float:
    return minor / int(10**exchange.money_digits)


def _side(direction: int) -> str:
    return "BUY" if direction > 0 else "SELL"


def _position(exchange: Exchange, account: int, one: PositionView) -> dict[str, Any]:
    return {
        "account": account,
        "position_id": one.position_id,
        "symbol": exchange.symbols[one.symbol_id].name,
        "side": _side(one.direction),
        "volume": one.volume_cents,
        "price": one.entry_price,
        "time": one.opened_at,
        "label": one.label,
        "comment": one.comment,
        "stop_loss": one.stop_loss,
        "take_profit": one.take_profit,
    }


def _order(exchange: Exchange, account: int, one: OrderView) -> dict[str, Any]:
    asked = one.request
    return {
        "account": account,
        "order_id": one.order_id,
        "client_order_id": asked.client_order_id,
        "symbol": exchange.symbols[asked.symbol_id].name,
        "type": asked.order_type,
        "side": _side(asked.direction),
        "volume": asked.volume_cents,
        "limit_price": asked.limit_price,
        "stop_price": asked.stop_price,
        "status": one.status,
        "label": asked.label,
    }


def _deal(exchange: Exchange, account: int, one: DealView) -> dict[str, Any]:
    return {
        "account": account,
        "deal_id": one.deal_id,
        "order_id": one.order_id,
        "client_order_id": one.client_order_id,
        "position_id": one.position_id,
        "label": one.label,
        "symbol": exchange.symbols[one.symbol_id].name,
        "side": _side(one.direction),
        "volume": one.filled_cents,
        "price": one.price,
        "time": one.time,
        "closing": one.closing,
    }
