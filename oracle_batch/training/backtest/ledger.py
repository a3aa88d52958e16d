"""Round trips: what each position of a history made and cost, from the twin's books or from an account's deals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.model import TrainingCosts
from oracle_batch.market.book import BookedDeal
from oracle_batch.market.specs import Contract
from oracle_batch.training.backtest.lives import DIRECTION, INTENSITY, Life, profits
from oracle_batch.types import TIMEFRAME_SECONDS

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trades:
    """T round trips as columns, in the order of their opening. Money in account currency.

    ``opened`` and ``closed`` are Unix seconds; ``lots`` the volume; ``notional`` the value at both ends together;
    ``costs`` what spread, slippage and commission took, at least 0; ``swap`` what the nights made; ``net`` what was
    left. ``gross`` is ``net + costs - swap``. ``hmm_state`` is the regime of the opening, -1 where not known.
    """

    opened: NDArray[np.int64]
    closed: NDArray[np.int64]
    direction: NDArray[np.intp]
    lots: Float64
    notional: Float64
    costs: Float64
    swap: Float64
    net: Float64
    hmm_state: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.opened)

    @property
    def gross(self) -> Float64:
        return self.net + self.costs - self.swap

    def between(self, start: float, end: float) -> Trades:
        """The trades that were opened at or after ``start`` and closed by ``end``."""
        inside = (self.opened >= start) & (self.closed <= end)
        return Trades(*(getattr(self, field.name)[inside] for field in fields(self)))


def unit_value(costs: TrainingCosts) -> float:
    """Account currency that one lot makes when the price moves by 1."""
    return costs.pip_value / (costs.point * costs.points_per_pip)


def twin_trades(life: Life, *, first: int = 0) -> Trades:
    """The twin's round trips that begin at row ``first`` or later; one that is still open ends at the last close."""
    costs = life.model.costs
    action = life.action[first:]
    close, time, state = life.close[first:], life.time[first:], life.hmm_state[first:]
    before = np.concatenate([life.action[first - 1 : first] if first else [0], action[:-1]])
    turns = np.flatnonzero(action != before)
    begins = turns[DIRECTION[action[turns]] != 0]
    ends = np.searchsorted(turns, begins, side="right")
    open_ones = ends == len(turns)
    last = np.where(open_ones, len(action) - 1, turns[np.minimum(ends, len(turns) - 1)]) if len(turns) else begins
    direction, lots = DIRECTION[action[begins]], np.array(costs.lot_sizes)[INTENSITY[action[begins]]]
    entry = life.entry_price[first:][begins]
    leaving = np.where(open_ones, close[last], close[last] - direction * costs.slippage_points * costs.point)
    moved = profits(costs, entry, leaving, direction, lots)
    commission = costs.commission_per_lot * lots * np.where(open_ones, 0.5, 1.0)
    points = costs.spread_points + costs.slippage_points + np.where(open_ones, 0.0, costs.slippage_points)
    seconds = TIMEFRAME_SECONDS[life.model.timeframe]
    return Trades(
        time[begins] + seconds,
        time[last] + seconds,
        direction,
        lots,
        (close[begins] + close[last]) * unit_value(costs) * lots,
        points * costs.point * unit_value(costs) * lots + commission,
        np.zeros(len(begins)),
        moved - commission,
        state[begins],
    )


def account_trades(
    deals: Iterable[BookedDeal], contract_at: Callable[[str, float], Contract | None], money_digits: int
) -> Trades:
    """An account's round trips: an opening deal and the deals that close its position. Open positions are left out.

    ``contract_at`` gives the terms on which a symbol's position was opened at an instant.
    """
    unit = 10.0**money_digits
    opening: dict[int, BookedDeal] = {}
    rows = []
    for deal in deals:
        if not deal.closing:
            opening[deal.position_id] = deal
            continue
        began = opening.get(deal.position_id)
        if began is None:
            continue
        contract = contract_at(deal.symbol, began.time)
        assert contract is not None
        share = deal.volume_cents / began.volume_cents
        units = deal.volume_cents / 100
        commission = (deal.commission + began.commission * share) / unit
        slipped = contract.slippage * (2 if deal.reason == "order" else 1)
        rows.append(
            (
                began.time,
                deal.time,
                began.direction,
                deal.volume_cents / contract.spec.lot_size_cents,
                (began.price + deal.price) * units * deal.rate,
                (contract.spread + slipped) * units * deal.rate + commission,
                deal.swap / unit,
                (deal.profit + deal.swap) / unit - commission,
                -1,
            )
        )
    rows.sort(key=lambda row: row[0])
    kinds: tuple[Any, ...] = (np.int64, np.int64, np.intp, *(np.float64,) * 5, np.intp)
    columns: Iterable[Any] = zip(*rows, strict=True) if rows else ([] for _ in kinds)
    arrays: list[Any] = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return Trades(*arrays)
