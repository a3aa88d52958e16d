"""What the market tells while it is played, and in answer to orders, in the order in which it happened."""

from __future__ import annotations

from typing import Literal

import msgspec

from oracle_batch.sim.values import CashFlow, DealView, MarginCall, OrderView, PositionView

ExecutionKind = Literal[
    "ORDER_ACCEPTED",
    "ORDER_FILLED",
    "ORDER_REPLACED",
    "ORDER_CANCELLED",
    "ORDER_EXPIRED",
    "ORDER_REJECTED",
    "ORDER_CANCEL_REJECTED",
    "SWAP",
    "DEPOSIT_WITHDRAW",
    "ORDER_PARTIAL_FILL",
]


class LiveBar(msgspec.Struct, frozen=True):
    """The bar that a quote belongs to as it stands, or at its end; bid prices, ``time`` of its open."""

    period: str
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Spot(msgspec.Struct, frozen=True):
    """A quote; ``bars`` holds the state of the bar of each period of the market after it.

    ``closed`` marks the extra update that repeats the last quote when a bar ends (``Exchange(closing_update=True)``).
    """

    symbol_id: int
    bid: float
    ask: float
    time: float
    bars: tuple[LiveBar, ...] = ()
    closed: bool = False


class Execution(msgspec.Struct, frozen=True):
    """Something happened to an order. ``server`` is False where it answers a request; ``code`` says why not.

    One request may cause several: ACCEPTED, then FILLED; the protection of a new position is an order of its own.
    """

    account_id: int
    kind: ExecutionKind
    time: float
    order: OrderView | None = None
    position: PositionView | None = None
    deal: DealView | None = None
    cash: CashFlow | None = None
    server: bool = False
    code: str = ""


class TrailingStopMoved(msgspec.Struct, frozen=True):
    account_id: int
    position_id: int
    order_id: int
    stop_price: float
    time: float


class MarginChanged(msgspec.Struct, frozen=True):
    """The margin that a position uses, after a deal."""

    account_id: int
    position_id: int
    used_margin: int
    time: float


class MarginCalled(msgspec.Struct, frozen=True):
    """The margin level fell to a threshold."""

    account_id: int
    call: MarginCall
    time: float


class SymbolChanged(msgspec.Struct, frozen=True):
    """Symbols whose terms, mode or market hours changed: a holiday or a change of the trading mode."""

    symbol_ids: tuple[int, ...]
    time: float


Event = Spot | Execution | TrailingStopMoved | MarginChanged | MarginCalled | SymbolChanged
