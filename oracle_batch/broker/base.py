"""The broker protocol and the plain values that cross it. No wire type passes this border."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from oracle_batch.bars import Bars
    from oracle_batch.hands.calendar import Schedule
    from oracle_batch.hands.protection import Terms

AckStatus = Literal["OK", "FAIL", "SKIP", "UNKNOWN"]
CloseReason = Literal["order", "stop_loss", "take_profit", "stop_out", "manual"]
CloseCause = Literal["signal", "emergency", "operator"]
CashKind = Literal["deposit", "withdrawal", "other"]
"""Money that comes or goes for no trade: put in, taken out, or a result of its own (fee, dividend, correction)."""
StopTrigger = Literal["trade", "opposite", "double_trade", "double_opposite"]
"""What triggers a stop, in the broker's words: the side that the position leaves on or the opposite one, one price or
two in a row."""
OrderState = Literal["working", "filled", "rejected", "cancelled", "expired"]
"""``working``: accepted, and not done with; one that was filled in part and then cancelled counts as filled."""
Wish = tuple[str, int, int]
"""An order that may be placed: symbol, direction (1 or -1), volume in cents."""
Series = tuple[str, str]
"""Whose bars: symbol and timeframe."""
Stir = Literal["line_lost", "account_changed"]
"""What an armed broker no longer knows by itself: anything at all, or what its account holds."""


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
class Bar:
    """One closed bar: ``time`` is that of its open (Unix seconds UTC), ``volume`` counts its market ticks."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Account:
    """Money in the account currency; ``equity`` is balance plus floating profit of all positions.

    ``money_digits`` are the decimals that the broker keeps money with.
    """

    account: str
    currency: str
    balance: float
    equity: float
    margin_used: float
    leverage: float
    hedged: bool
    money_digits: int = 2

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
    """An open position. ``direction`` is 1 or -1; label and comment are what its opening order carried.

    ``stop_loss`` and ``take_profit`` are absolute prices, None where there is none. In account currency: ``swap`` is
    what its nights have made so far (negative: cost), ``commission`` what its opening has cost. Both are for the volume
    that is left; swap is in the equity, and in the balance only when the position is closed.
    """

    position_id: int
    symbol: str
    direction: int
    volume_cents: int
    entry_price: float
    opened_at: float
    label: str
    comment: str
    stop_loss: float | None = None
    take_profit: float | None = None
    swap: float = 0.0
    commission: float = 0.0


@dataclass(frozen=True, slots=True)
class Deal:
    """One fill. For a closing deal ``profit`` is the gross result; money is in the account currency.

    The balance moves by ``profit + swap - commission``; ``swap`` is that of the volume closed, negative where it cost.
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
    swap: float = 0.0


@dataclass(frozen=True, slots=True)
class CashFlow:
    """Money that moved the balance without a deal, in account currency: positive came in, negative went out.

    ``time`` is the broker's (Unix seconds). Deposits and withdrawals are no result of trading; ``other`` is.
    """

    time: float
    amount: float
    kind: CashKind


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order that reached the broker. ``closing`` ones take volume off ``position_id`` (None: none came of it)."""

    order_id: int
    client_order_id: str
    state: OrderState
    closing: bool
    position_id: int | None


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An opening leg. ``intent_id`` goes out as the order's client id (DESIGN §5).

    ``decided_at`` is the instant the decision belongs to (the bar's close for a tick in time);
    ``deadline`` the last instant at which it may be sent. ``after_close`` is the position whose confirmed
    full close releases it, for the second leg of a reversal. With ``same_side`` that position has the entry's
    direction, and only our own close releases it: after a stop it would be a re-entry.

    ``stop_relative`` and ``target_relative`` are distances from the fill price in 1/100000 (0: none), multiples of
    10^(5 − digits). With ``max_slippage_points`` (the symbol's points; 0: no limit) the order is not filled at a price
    worse than the quote by more.
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
    stop_relative: int = 0
    target_relative: int = 0
    max_slippage_points: float = 0.0
    stop_trigger: StopTrigger = "trade"
    same_side: bool = False


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


@dataclass(frozen=True, slots=True)
class AmendIntent:
    """New protection of a position: both absolute prices and the trigger are set, None clears.

    It needs no recovery: one whose answer is missing shows in the position, and is judged anew.
    """

    intent_id: str
    model: str
    position_id: int
    symbol: str
    stop_loss: float | None
    take_profit: float | None
    decided_at: float
    stop_trigger: StopTrigger = "trade"


Intent = OpenIntent | CloseIntent
"""A leg that changes what is held."""
Request = OpenIntent | CloseIntent | AmendIntent
"""Whatever a burst carries."""


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one intent. Where the position is already gone, a close or an amendment is OK with reason
    ``ALREADY_CLOSED``.

    ``reason`` is a stable code, None on a plain OK; ``slippage`` is the price paid beyond the quote, ≥ 0 is worse.
    """

    intent_id: str
    status: AckStatus
    reason: str | None = None
    position_id: int | None = None
    price: float | None = None
    slippage: float | None = None
    deals: tuple[Deal, ...] = ()


Gate = Callable[[Sequence[OpenIntent]], Mapping[str, str]]
"""Asked right before entries leave together: of those that must not, the reason code by intent id."""


class Broker(Protocol):
    """What the tick needs of a broker. Every method may raise BrokerError."""

    @property
    def absence_grace_s(self) -> float:
        """How long an order that is on its way may stay unseen in the lists, in seconds of the machine's own time."""
        ...

    async def connect(self) -> None:
        """Open the session; on paper, load the account. Once it is open this does nothing."""
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

    async def orders(self, since: float) -> list[PlacedOrder]:
        """Orders that changed at or after ``since``, without the protection that positions carry."""
        ...

    async def cash_flows(self, since: float) -> list[CashFlow]:
        """What moved the balance at or after ``since`` and is no deal, oldest first."""
        ...

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        """What each symbol costs now and how near protection may lie; absent where a part of it is unknown."""
        ...

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        """The margin that each order would take by itself, in account currency, in the same order; None: unknown."""
        ...

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        """When each symbol's market is open; absent where the broker does not tell."""
        ...

    async def arm(self, series: Sequence[Series], wishes: Sequence[Wish]) -> None:
        """Get ready for a close, so that until ``disarm`` nothing is asked of the network that can be known before.

        Follows the live bars of ``series`` and what becomes of account, positions and quotes, and remembers the margins
        of ``wishes``. Armed again, it mends what has come loose.
        """
        ...

    async def stirred(self) -> Stir:
        """Wait until an armed broker has lost track and wants to be armed again; for good, where it never does."""
        ...

    async def confirm(self) -> None:
        """Have the broker answer: whatever it told before has come then.

        Raises:
            BrokerError: no answer.
        """
        ...

    def final_bars(self, close: int) -> dict[Series, Bar]:
        """The followed bars that ended at ``close`` (Unix seconds), as far as they are final and known without asking.

        To be called a second after the close. A bar that is absent here may exist all the same (DESIGN §8).
        """
        ...

    def prepare(self, intents: Sequence[Intent]) -> None:
        """Have the requests of legs ready that may be sent next; others take no more than their usual time."""
        ...

    @property
    def version(self) -> int | None:
        """Counts what an armed broker has heard of account and quotes: the same number, the same answers. None: it
        cannot tell."""
        ...

    def disarm(self) -> None:
        """Ask the network again from now on. Idempotent."""
        ...

    @property
    def last_sent(self) -> float | None:
        """When the last leg left, on the machine's monotonic clock in seconds."""
        ...

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        """Send all legs in one burst and return one ack an intent, in the same order.

        An opening leg with ``after_close`` leaves when that position's full close is confirmed, else it is
        FAIL ``CLOSE_NOT_CONFIRMED``. Where the position had ended before our close came (a stop was quicker), only an
        entry in the other direction may follow it. The gate is asked of opening legs right before they are sent.
        """
        ...
