"""One's own accounts against each other: opposite positions in one symbol are refused, most firms forbid them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle_batch.hands.refusal import Refusal

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules


@dataclass(frozen=True, slots=True)
class OtherPosition:
    """A position, or an admitted entry, on another of one's own accounts; ``symbol`` by one name for all brokers."""

    account: str
    symbol: str
    direction: int


def opposite_across_accounts(
    rules: EntryRules, symbol: str, direction: int, others: Iterable[OtherPosition] | None
) -> Refusal | None:
    """Whether another account holds the opposite. ``others`` is None when one of them could not be asked."""
    if rules.allow_opposite_across_accounts:
        return None
    if others is None:
        return Refusal("UNKNOWN_OTHER_ACCOUNTS", {"symbol": symbol})
    accounts = sorted({one.account for one in others if one.symbol == symbol and one.direction == -direction})
    if not accounts:
        return None
    return Refusal("OPPOSITE_ACROSS_ACCOUNTS", {"symbol": symbol, "direction": direction, "account": accounts[0]})
