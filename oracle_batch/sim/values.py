"""What crosses the border of the exchange: orders asked for, and what became of them, as frozen plain values.

Prices are in the symbol's own units, volumes in cents (hundredths of a unit), times in Unix seconds of the virtual
clock, money in minor units of the account currency. A commission is a cost and positive here; a swap that costs is
negative. Codes are the Open API's own words.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from oracle_batch.broker.base import StopTrigger
from oracle_batch.hands.calendar import Schedule
from oracle_batch.market.specs import Contract

OrderType = Literal["MARKET", "LIMIT", "STOP", "STOP_LOSS_TAKE_PROFIT", "MARKET_RANGE", "STOP_LIMIT"]
OrderStatus = Literal["ACCEPTED", "FILLED", "REJECTED", "EXPIRED", "CANCELLED"]
TimeInForce = Literal["GOOD_TILL_DATE", "GOOD_TILL_CANCEL", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL", "MARKET_ON_OPEN"]
TradingMode = Literal[
    "ENABLED", "DISABLED_WITHOUT_PENDINGS_EXECUTION", "DISABLED_WITH_PENDINGS_EXECUTION", "CLOSE_ONLY_MODE"
]
DealStatus = Literal["FILLED", "PARTIALLY_FILLED"]


class OrderRequest(msgspec.Struct, frozen=True):
    """A new order as it arrived. Optional prices and ids are None, relative distances (1/100000) 0 where not given.

    ``position_id`` names a position that the order is to close, in part or whole, or to add to.
    """

    symbol_id: int
    order_type: OrderType
    direction: int
    volume_cents: int
    limit_price: float | None = None
    stop_price: float | None = None
    time_in_force: TimeInForce = "GOOD_TILL_CANCEL"
    expires_at: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    relative_stop_loss: int = 0
    relative_take_profit: int = 0
    base_slippage_price: float | None = None
    slippage_points: int = 0
    position_id: int | None = None
    label: str = ""
    comment: str = ""
    client_order_id: str = ""
    guaranteed_stop: bool = False
    trailing_stop: bool = False
    stop_trigger: StopTrigger = "trade"


class OrderChange(msgspec.Struct, frozen=True):
    """What an amendment of a pending order gives anew; None (0 for relative distances) leaves the order's own value,
    except protection: an absolute or relative one replaces both kinds of that side."""

    volume_cents: int | None = None
    limit_price: float | None = None
    stop_price: float | None = None
    expires_at: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    relative_stop_loss: int = 0
    relative_take_profit: int = 0
    slippage_points: int | None = None
    guaranteed_stop: bool | None = None
    trailing_stop: bool | None = None
    stop_trigger: StopTrigger | None = None


class OrderView(msgspec.Struct, frozen=True):
    """An order at one moment. ``request`` is what was asked, amended as it was since.

    ``closing`` orders reduce a position; protection (``STOP_LOSS_TAKE_PROFIT``) has its prices in the request.
    """

    order_id: int
    request: OrderRequest
    status: OrderStatus
    created_at: float
    updated_at: float
    execution_price: float | None = None
    executed_cents: int = 0
    position_id: int | None = None
    closing: bool = False
    stop_out: bool = False


class PositionView(msgspec.Struct, frozen=True):
    """A position at one moment; a closed one keeps its last terms with ``volume_cents`` 0.

    ``margin_rate`` is account currency per unit of the base asset when it was opened.
    """

    position_id: int
    symbol_id: int
    direction: int
    volume_cents: int
    entry_price: float
    opened_at: float
    updated_at: float
    label: str
    comment: str
    stop_loss: float | None
    take_profit: float | None
    stop_trigger: StopTrigger
    trailing_stop: bool
    swap: int
    commission: int
    used_margin: int
    margin_rate: float
    open: bool = True


class CloseDetail(msgspec.Struct, frozen=True):
    """The money of a closing deal; ``balance`` is the account's after it, ``rate`` from quote asset to account."""

    entry_price: float
    gross_profit: int
    swap: int
    commission: int
    balance: int
    rate: float
    closed_cents: int
    balance_version: int


class DealView(msgspec.Struct, frozen=True):
    """One fill. ``client_order_id`` and ``label`` are its order's; the wire has neither, the control port both."""

    deal_id: int
    order_id: int
    position_id: int
    symbol_id: int
    direction: int
    volume_cents: int
    filled_cents: int
    price: float
    created_at: float
    time: float
    status: DealStatus
    commission: int
    margin_rate: float
    client_order_id: str
    label: str
    close: CloseDetail | None = None

    @property
    def closing(self) -> bool:
        return self.close is not None


class CashFlow(msgspec.Struct, frozen=True):
    """Money that came (positive) or went; ``balance`` and ``equity`` are the account's after it."""

    flow_id: int
    delta: int
    balance: int
    equity: int
    time: float
    balance_version: int
    note: str = ""


class Rejection(msgspec.Struct, frozen=True):
    """A no. ``text`` is for people; ``order`` is the refused order where the market kept a record of it.

    ``late``: the fault script wants it as if it came after the acceptance, whatever the code.
    """

    code: str
    text: str
    order: OrderView | None = None
    order_id: int = 0
    position_id: int = 0
    late: bool = False


class Asset(msgspec.Struct, frozen=True):
    asset_id: int
    name: str
    digits: int


class SymbolInfo(msgspec.Struct, frozen=True):
    """A symbol with its contract. ``schedule`` is None where nobody says; ``tradable`` is False for symbols that are
    there for conversion alone."""

    symbol_id: int
    name: str
    contract: Contract
    base_asset_id: int
    quote_asset_id: int
    schedule: Schedule | None
    trading_mode: TradingMode = "ENABLED"
    tradable: bool = True

    @property
    def digits(self) -> int:
        return self.contract.spec.digits

    @property
    def pip_position(self) -> int:
        return self.digits - 1 if self.digits in (3, 5) else self.digits


class TraderView(msgspec.Struct, frozen=True):
    """The account itself."""

    account_id: int
    trader_login: int
    balance: int
    balance_version: int
    equity: int
    used_margin: int
    deposit_asset_id: int
    leverage: float
    hedged: bool
    money_digits: int
    registered_at: float


class Unrealised(msgspec.Struct, frozen=True):
    """Floating result of one position in minor units: gross (price alone), net (with swap and commissions)."""

    position_id: int
    gross: int
    net: int


class MarginCall(msgspec.Struct, frozen=True):
    """A threshold (1 to 3) of the margin level in per cent."""

    number: int
    level_pct: float
    updated_at: float


class TickData(msgspec.Struct, frozen=True):
    """One price of a side."""

    time: float
    price: float


class DepthQuote(msgspec.Struct, frozen=True):
    """One level of the book; ``direction`` 1 is a bid."""

    quote_id: int
    direction: int
    price: float
    volume_cents: int
