"""The paper account's positions and deals as plain values of the broker protocol."""

from __future__ import annotations

from collections.abc import Iterable

from oracle_batch.broker.base import CashFlow, Deal, PlacedOrder, Position
from oracle_batch.market.book import BookedDeal, BookedFlow, OpenPosition, to_money


def position_view(position: OpenPosition, money_digits: int) -> Position:
    """A position as the broker protocol shows it."""
    return Position(
        position_id=position.position_id,
        symbol=position.symbol,
        direction=position.direction,
        volume_cents=position.volume_cents,
        entry_price=position.entry_price,
        opened_at=position.opened_at,
        label=position.label,
        comment=position.comment,
        stop_loss=position.stop_loss,
        take_profit=position.take_profit,
        swap=to_money(position.swap, money_digits),
        commission=to_money(position.commission, money_digits),
    )


def deal_view(deal: BookedDeal, money_digits: int) -> Deal:
    """A deal as the broker protocol shows it."""
    return Deal(
        deal_id=deal.deal_id,
        order_id=deal.order_id,
        client_order_id=deal.client_order_id,
        position_id=deal.position_id,
        label=deal.label,
        symbol=deal.symbol,
        direction=deal.direction,
        volume_cents=deal.volume_cents,
        price=deal.price,
        time=deal.time,
        closing=deal.closing,
        reason=deal.reason,
        profit=to_money(deal.profit, money_digits),
        commission=to_money(deal.commission, money_digits),
        conversion=deal.rate_source,
        swap=to_money(deal.swap, money_digits),
    )


def orders_view(deals: Iterable[Deal]) -> list[PlacedOrder]:
    """The orders behind deals, oldest first; each was filled at once."""
    found = {}
    for deal in deals:
        found[deal.order_id] = PlacedOrder(
            deal.order_id, deal.client_order_id, "filled", deal.closing, deal.position_id
        )
    return list(found.values())


def flow_view(flow: BookedFlow, money_digits: int) -> CashFlow:
    """A cash flow as the broker protocol shows it."""
    return CashFlow(flow.time, to_money(flow.amount, money_digits), flow.kind)
