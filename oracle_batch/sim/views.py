"""What an account and a quote look like from outside. Pure reads."""

from __future__ import annotations

from typing import Final

from oracle_batch.broker.base import Quote
from oracle_batch.hands.prices import exact, grid
from oracle_batch.market.fills import deal_price, exit_quote, round_turn_minor
from oracle_batch.market.live import LiveEngine
from oracle_batch.market.tape import Mark
from oracle_batch.sim.account import AccountDesk
from oracle_batch.sim.values import DepthQuote, PositionView, SymbolInfo, TraderView, Unrealised

_LOGINS: Final = 4_000_000
_LEVELS: Final = 3
_LEVEL_LOTS: Final = 10
"""Volume of a level of the book, in lots; each one lies a pip behind the one before."""


def trader(desk: AccountDesk, deposit_asset_id: int) -> TraderView:
    book = desk.engine.book
    return TraderView(
        account_id=desk.account_id,
        trader_login=_LOGINS + desk.account_id,
        balance=book.balance,
        balance_version=desk.ledger.version,
        equity=desk.engine.valuation().equity,
        used_margin=book.margin_used,
        deposit_asset_id=deposit_asset_id,
        leverage=book.leverage,
        hedged=book.hedged,
        money_digits=book.money_digits,
        registered_at=desk.registered_at,
    )


def positions(desk: AccountDesk) -> list[PositionView]:
    """Open positions by id."""
    found = (desk.position_view(position.position_id) for position in desk.engine.book.positions)
    return [view for view in found if view is not None]


def unrealised(engine: LiveEngine) -> list[Unrealised]:
    """Gross by price alone; net with swap and the commission of both sides."""
    floating, digits = engine.valuation().floating, engine.book.money_digits
    found = []
    for position in engine.book.positions:
        value = floating[position.position_id]
        commission = round_turn_minor(position.contract, position.volume_cents, digits)
        found.append(Unrealised(position.position_id, value - position.swap, value - commission))
    return found


def margins(engine: LiveEngine, info: SymbolInfo, volume_cents: int) -> tuple[int, int] | None:
    """Margin of a purchase and of a sale; None without a price."""
    quote, book = engine.quote(info.name), engine.book
    if quote is None:
        return None
    buy, sell = (
        engine.pricing.margin(
            info.contract,
            volume_cents,
            deal_price(info.contract, side, quote.bid),
            book.clock,
            book.leverage,
            book.money_digits,
        )
        for side in (1, -1)
    )
    return buy, sell


def quote(info: SymbolInfo, mark: Mark) -> Quote:
    return Quote(mark.bid, exit_quote(info.contract, -1, mark.bid), mark.time)


def depth(info: SymbolInfo, at: Quote) -> list[DepthQuote]:
    """A book around a quote; the id of a level tells its side and price, so that equal levels have equal ids."""
    pip, volume = grid(info.pip_position), _LEVEL_LOTS * info.contract.spec.lot_size_cents
    found = []
    for direction, best in ((1, at.bid), (-1, at.ask)):
        for level in range(_LEVELS):
            price = exact(best) - direction * level * pip
            number = int(price / grid(info.digits)) * 2 + (direction > 0)
            found.append(DepthQuote(info.symbol_id * 10**10 + number, direction, float(price), volume))
    return found
