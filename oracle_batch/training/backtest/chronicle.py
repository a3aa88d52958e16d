"""What happens to an account over history, written down as it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oracle_batch.market.book import BookedDeal
from oracle_batch.store.records import Event, Record


@dataclass(frozen=True, slots=True)
class Trading:
    """What an account did. Money in account currency.

    ``time``, ``balance`` and ``equity`` are the account at every look that was made, the last one at the end;
    ``day_end`` marks the looks right before a reset of its day. ``refusals`` and ``events`` are counted by code.
    """

    deals: tuple[BookedDeal, ...]
    money_digits: int
    time: NDArray[np.float64]
    balance: NDArray[np.float64]
    equity: NDArray[np.float64]
    day_end: NDArray[np.bool_]
    refusals: Counter[str]
    events: Counter[str]
    model_bars: int
    looks: int
    problems: Mapping[str, str]


@dataclass(slots=True)
class Chronicle:
    """``deals`` in booking order; ``seen`` are time, balance, equity and whether a day ends there."""

    deals: list[BookedDeal] = field(default_factory=list)
    seen: list[tuple[float, float, float, bool]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def hear(self, records: Iterable[Record]) -> None:
        """Count what a journal was told."""
        for record in records:
            if isinstance(record, Event):
                self.events[record.name] += 1
                if record.name == "refused":
                    self.refusals[str(record.detail["code"])] += 1

    def collect(self, booked: tuple[BookedDeal, ...]) -> None:
        """Take in the deals of an account that are new."""
        newest = self.deals[-1].deal_id if self.deals else 0
        fresh = []
        for deal in reversed(booked):
            if deal.deal_id <= newest:
                break
            fresh.append(deal)
        self.deals += reversed(fresh)

    def trading(self, money_digits: int, model_bars: int, looks: int, problems: Mapping[str, str]) -> Trading:
        """All of it, as it stands."""
        time, balance, equity, day_end = (np.array(column) for column in zip(*self.seen, strict=True))
        return Trading(
            tuple(self.deals),
            money_digits,
            time,
            balance,
            equity,
            day_end.astype(np.bool_),
            self.refusals,
            self.events,
            model_bars,
            looks,
            problems,
        )
