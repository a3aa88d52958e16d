"""The broker protocol and the plain values that cross it. No wire type passes this border."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from oracle_batch.bars import Bars

AckStatus = Literal["OK", "FAIL", "SKIP", "UNKNOWN"]
CloseReason = Literal["order", "stop_loss", "take_profit", "stop_out", "manual"]
CloseCause = Literal["signal", "emergency", "operator"]


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """The contract of one symbol. Volumes are in cents: hundredths of a unit; a lot is ``lot_size_cents``."""

    symbol: str
    digits: int
    lot_size_cents: int
    min_volume_cents: int
    step_volume_cents: int
    max_volume_cents: int
    base_asset: str
    quote_asset: str

    @property
    def point(self) -> float:
        """The smallest price step."""
        return float(10.0**-self.digits)


@dataclass(frozen=True, slots=True)
class Account:
    """Money in the account currency; ``equity`` is balance plus floating profit of all positions."""

    account: str
    currency: str
    balance: float
    equity: float
    margin_used: float
    leverage: float
    hedged: bool

    @property
    def free_margin(self) -> float:
        return self.equity - self.margin_used


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask at ``time`` (Unix seconds)."""

    bid: float
    ask: float
    time: float


@dataclass(frozen=True, slots=True)
class Position:
    """An open position. ``direction`` is 1 or -1; label and comment are what its opening order carried."""

    position_id: int
    symbol: str
    direction: int
    volume_cents: int
    entry_price: float
    opened_at: float
    label: str
    comment: str


@dataclass(frozen=True, slots=True)
class Deal:
    """One fill. For a closing deal ``profit`` is the gross result; money is in the account currency.

    ``direction`` is the side of the deal (1 bought, -1 sold); ``reason`` says what caused a closing deal;
    ``conversion`` where the rate into the account currency came from, as far as the broker tells.
    """

    deal_id: int
    order_id: int
    client_order_id: str
    position_id: int
    label: str
    symbol: str
    direction: int
    volume_cents: int
    price: float
    time: float
    closing: bool
    reason: CloseReason
    profit: float
    commission: float
    conversion: str = ""


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An opening leg. ``intent_id`` goes out as the order's client id (DESIGN §5).

    ``decided_at`` is the instant the decision belongs to (the bar's close for a tick in time);
    ``deadline`` the last instant at which it may be sent. ``after_close`` is the position whose confirmed
    full close releases it, for the second leg of a reversal.
    """

    intent_id: str
    model: str
    symbol: str
    direction: int
    intensity: int
    volume_cents: int
    label: str
    comment: str
    decided_at: float
    deadline: float
    after_close: int | None = None


@dataclass(frozen=True, slots=True)
class CloseIntent:
    """A closing leg. Its identity is (position, remaining volume); ``intent_id`` is ours alone.

    ``cause`` says whose wish it is: the model's signal, an emergency rule's or the operator's. ``model`` is empty for
    a position that is no model's, which only the operator closes.
    """

    intent_id: str
    model: str
    symbol: str
    position_id: int
    volume_cents: int
    decided_at: float
    cause: CloseCause = "signal"


Intent = OpenIntent | CloseIntent


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one intent. A close whose position is already gone is OK with reason ``ALREADY_CLOSED``.

    ``reason`` is a stable code, None on a plain OK; ``slippage`` is the price paid beyond the quote, ≥ 0 is worse.
    """

    intent_id: str
    status: AckStatus
    reason: str | None = None
    position_id: int | None = None
    price: float | None = None
    slippage: float | None = None
    deals: tuple[Deal, ...] = ()


Gate = Callable[[OpenIntent], str | None]
"""Asked right before an entry leaves: None lets it go, else the reason code it is skipped with."""


class Broker(Protocol):
    """What the tick needs of a broker. Every method may raise BrokerError."""

    async def connect(self) -> None:
        """Open the session; on paper, load the account."""
        ...

    async def close(self) -> None:
        """End the session. Idempotent."""
        ...

    async def account(self) -> Account: ...

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        """Contracts by symbol; a symbol that the broker does not know is absent."""
        ...

    async def positions(self) -> list[Position]:
        """Every open position of the account, ours and others'."""
        ...

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        """Closed bars with ``start <= time < end``, oldest first, validated. Never the forming bar.

        Raises:
            BarError: the history holds a bar that breaks the rules.
        """
        ...

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        """The latest quote by symbol; a symbol without one is absent."""
        ...

    async def deals(self, since: float) -> list[Deal]:
        """Deals executed at or after ``since``, oldest first."""
        ...

    async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
        """Send all legs in one burst and return one ack an intent, in the same order.

        An opening leg with ``after_close`` leaves when that position's full close is confirmed, else it is
        FAIL ``CLOSE_NOT_CONFIRMED``. Each opening leg passes the gate right before it is sent.
        """
        ...
