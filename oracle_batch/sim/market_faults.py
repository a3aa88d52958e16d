"""Faults of the market itself, switched on by the fault script; each counts from the moment it is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OrderFaultKind = Literal["refuse", "partial_then_cancel", "no_protection"]


@dataclass(frozen=True, slots=True)
class OrderFault:
    """What happens to the ``nth`` order (1: the next) that reaches the market.

    ``refuse`` rejects it with ``code``; ``partial_then_cancel`` fills ``fraction`` of a market order and cancels the
    rest; ``no_protection`` fills it without its stop and target.
    """

    kind: OrderFaultKind
    nth: int = 1
    code: str = "NOT_ENOUGH_MONEY"
    fraction: float = 0.5


class MarketFaults:
    """Hooks that the fault script pulls. Symbols go by name, periods by theirs (``M15``)."""

    skew_s: float = 0.0
    """Seconds that the server's clock is ahead; added to every time on the wire, and to nothing else."""

    def withhold(self, symbol: str, period: str, time: int | None, seconds: float | None, *, live: bool = True) -> None:
        """Keep a closed bar (its open time; None: the next to close) out of history for real ``seconds`` after its
        close, or for good (None). ``live`` also keeps it out of the stream of live bars."""
        raise NotImplementedError

    def revise(self, symbol: str, period: str, time: int | None, changes: dict[str, float]) -> None:
        """Let history show another bar than was streamed: ``changes`` are added to its columns (``close``: 0.0001)."""
        raise NotImplementedError

    def gap(self, symbol: str, distance: float, seconds: float | None = None) -> None:
        """Shift every price of a symbol from its next bar on, for a while or for good: quotes, bars and fills."""
        raise NotImplementedError

    def order(self, fault: OrderFault) -> None:
        """Do something to an order to come."""
        raise NotImplementedError

    def lock_position(self, account_id: int, position_id: int, times: int | None = None) -> None:
        """Answer POSITION_LOCKED to closes and amendments of a position, so many times or for good."""
        raise NotImplementedError
