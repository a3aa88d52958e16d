"""The digital twin: the virtual position of the training environment, which never hears about the broker.

There is no partial close: any change of direction or intensity closes everything and opens the target anew.
The order of events and the money formulas are those of DESIGN §3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from oracle_batch.bundle.model import TrainingCosts
from oracle_batch.types import ACTIONS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TwinState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The twin after bar ``bar_time`` (Unix seconds of its open; 0 before the first bar).

    Prices are 0 and the entry fields are 0 (``entry_hmm_state`` -1) while flat. Profits are in the account currency:
    ``floating_pnl`` marks the open position at the bar's close, ``realized_pnl`` sums all closed ones less commission.
    ``last_action`` is the policy's action on that bar, ``last_hmm_state`` the regime it saw.
    """

    direction: int = 0
    intensity: int = 0
    entry_price: float = 0.0
    entry_time: int = 0
    entry_hmm_state: int = -1
    floating_pnl: float = 0.0
    realized_pnl: float = 0.0
    bar_time: int = 0
    last_action: int = 0
    last_hmm_state: int = -1


FLAT = TwinState()

Amount = TypeVar("Amount", float, "NDArray[np.float64]")
"""One number, or one for each of many twins that are stepped together; the results are equal to the last bit."""


def profit(entry: Amount, exit_: Amount, direction: Amount, lots: Amount, costs: TrainingCosts) -> Amount:
    """Money between two prices: (exit − entry)·direction / point / points_per_pip · pip_value · lots."""
    return (exit_ - entry) * direction / costs.point / costs.points_per_pip * costs.pip_value * lots


def entry_price(close: Amount, direction: Amount, costs: TrainingCosts) -> Amount:
    """The close moved against us by spread and slippage."""
    return close + direction * (costs.spread_points + costs.slippage_points) * costs.point


def exit_price(close: Amount, direction: Amount, costs: TrainingCosts) -> Amount:
    """The close moved against us by slippage."""
    return close - direction * costs.slippage_points * costs.point


def half_commission(lots: Amount, costs: TrainingCosts) -> Amount:
    """What one side of a round turn costs."""
    return costs.commission_per_lot * lots / 2.0


def mark(state: TwinState, close: float, costs: TrainingCosts) -> float:
    """Floating profit at a close: no exit slippage, no commission."""
    if not state.direction:
        return 0.0
    return profit(state.entry_price, close, state.direction, costs.lot_sizes[state.intensity], costs)


def step(
    state: TwinState, action_index: int, hmm_state: int, bar_time: int, close: float, costs: TrainingCosts
) -> TwinState:
    """The twin after the action was executed at this bar's close.

    >>> costs = TrainingCosts(0.0001, 4, 10.0, 1.0, 0.0, 0.0, (0.0, 1.0, 2.0, 3.0))
    >>> opened = step(FLAT, 1, 0, 900, 1.1, costs)
    >>> opened.direction, round(opened.entry_price, 5), round(opened.floating_pnl, 6)
    (1, 1.1001, -10.0)
    >>> step(opened, 0, 0, 1800, 1.1003, costs).realized_pnl
    20.000000000015783
    """
    action = ACTIONS[action_index]
    direction, intensity = action.direction, action.intensity
    if direction == state.direction and intensity == state.intensity:
        return TwinState(
            direction,
            intensity,
            state.entry_price,
            state.entry_time,
            state.entry_hmm_state,
            mark(state, close, costs),
            state.realized_pnl,
            bar_time,
            action_index,
            hmm_state,
        )
    realized = state.realized_pnl
    if state.direction:
        lots = costs.lot_sizes[state.intensity]
        leaving = exit_price(close, state.direction, costs)
        realized += profit(state.entry_price, leaving, state.direction, lots, costs) - half_commission(lots, costs)
    if not direction:
        return TwinState(realized_pnl=realized, bar_time=bar_time, last_action=action_index, last_hmm_state=hmm_state)
    lots = costs.lot_sizes[intensity]
    entering = entry_price(close, direction, costs)
    return TwinState(
        direction,
        intensity,
        entering,
        bar_time,
        hmm_state,
        profit(entering, close, direction, lots, costs),
        realized - half_commission(lots, costs),
        bar_time,
        action_index,
        hmm_state,
    )
