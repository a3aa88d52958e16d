"""The brain over a whole history, equal to ``decide.replay`` to the last bit, and many times as fast.

A position that is held makes the coming observations known: its floating profit is a function of closes that history
has. So each round supposes that a lane holds for the next few bars, asks the policy about all of them in one product,
and goes on from the first bar on which it says something else.

History is cut into stretches that are walked side by side, one lane each, from a guess of the position they begin with.
Twins forget: two that turn on one bar are one from there on. A stretch whose beginning was guessed wrong is walked
again until it meets its own way, which mostly is soon.

A product of many rows may round otherwise than the product of one row that a live decision makes. A bound on that
difference is computed from each net's weights; where the two best logits lie closer than it, the row is decided by the
live code instead.
"""

from __future__ import annotations

import numpy as np

from oracle_batch.brain import features, policy, twin
from oracle_batch.bundle.model import PolicyNet
from oracle_batch.training.backtest.life import DIRECTION, INTENSITY, Float32, Float64, Ints, Sight, profits
from oracle_batch.types import ACTIONS

LEAST_AHEAD, MOST_AHEAD = 3, 64
"""Bars that a round looks ahead."""
STRETCH, MOST_LANES = 48, 512
"""Least bars of a stretch, and how many there are at most."""
ROUNDING = 2.0**-24
TANH_ERROR = 8 * ROUNDING
"""More than two computations of tanh of one number differ by, in units of 1."""


def doubt(net: PolicyNet, largest_lot: float) -> float:
    """Two best logits that lie farther apart than this keep their order, however the products are summed.

    The bound of each layer is g(n)·(Σ|w||x| + |b|) for either computation, carried on through the next one's weights
    (Higham, Accuracy and Stability of Numerical Algorithms, §3.1). Inputs but the lots lie within 1.
    """
    width = net.weights[0].shape[0]
    reach = np.ones(width)
    reach[-2] = max(1.0, 10 * largest_lot)
    apart = np.zeros(width)
    apart[-1] = 2 * TANH_ERROR
    for depth, (weights, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        strength = np.abs(weights.astype(np.float64))
        size = reach @ strength + np.abs(bias)
        terms = len(weights) + 2
        gamma = terms * ROUNDING / (1 - terms * ROUNDING)
        apart = apart @ strength * (1 + gamma) + 2 * gamma * size
        if depth < len(net.weights) - 1:
            reach = np.minimum(size, 1.0) if net.activation == "tanh" else size
            apart = apart + (TANH_ERROR if net.activation == "tanh" else 0.0)
    return float(2 * apart.max())


class Walk:
    """One model's way through its rows; ``action`` and ``entry`` are the position after each of them."""

    def __init__(self, sight: Sight) -> None:
        model, count = sight.model, len(sight)
        self.sight, self.costs = sight, model.costs
        self.stack = policy.stack_policies([model.policy])
        self.doubt = doubt(model.policy, max(model.costs.lot_sizes))
        self.lots = np.array(model.costs.lot_sizes, np.float64)
        self.known = features.MARKET_INPUTS + model.regime.n_states
        self.inputs = np.zeros((count, self.known + features.TWIN_INPUTS), np.float32)
        self.inputs[:, : features.MARKET_INPUTS] = sight.market
        self.inputs[np.arange(count), features.MARKET_INPUTS + sight.hmm_state] = 1
        now = model.observation_pnl == "current"
        self.marks = sight.close if now else np.concatenate([sight.close[:1], sight.close[:-1]])
        self.action = np.full(count, -1, np.intp)
        self.entry = np.full(count, np.nan)

    def through(self) -> tuple[Ints, Float64]:
        """Action and entry price of every row: all stretches from a flat twin, then those that began otherwise."""
        count = len(self.sight)
        begins = np.arange(0, count, max(STRETCH, -(-count // MOST_LANES)))
        ends = np.concatenate([begins[1:], [count]])
        action, entry = np.zeros(len(begins), np.intp), np.zeros(len(begins))
        wrong = np.arange(len(begins))
        while len(wrong):
            self.follow(begins[wrong], action[wrong], entry[wrong], ends[wrong], write=True)
            before_action, before_entry = self.action[begins[1:] - 1], self.entry[begins[1:] - 1]
            wrong = 1 + np.flatnonzero((before_action != action[1:]) | (before_entry != entry[1:]))
            action[1:], entry[1:] = before_action, before_entry
        return self.action, self.entry

    def follow(self, row: Ints, action: Ints, entry: Float64, end: Ints, *, write: bool = False) -> Ints:
        """Take lanes, each a position before a row, to their ends, or to where they meet the way that is known.

        Gives each lane's last row before they were one, -1 where they never met.
        """
        row, action, entry = row.copy(), action.copy(), entry.copy()
        met = np.full(len(row), -1, np.intp)
        alive, ahead = np.arange(len(row)), 2 * LEAST_AHEAD
        while len(alive):
            first, held = row[alive], action[alive]
            steps = np.arange(ahead)
            rows = np.minimum(first[:, None] + steps, (end[alive] - 1)[:, None])
            place, said = self._until_turn(rows, held, entry[alive], end[alive] - first)
            last = first + place
            now_entry = np.where(said == held, entry[alive], self._entries(last, said))
            same = (self.action[last] == said) & (self.entry[last] == now_entry)
            if write:
                inside = steps <= place[:, None]
                turned = steps == place[:, None]
                at = rows[inside]
                self.action[at] = np.where(turned, said[:, None], held[:, None])[inside]
                self.entry[at] = np.where(turned, now_entry[:, None], entry[alive][:, None])[inside]
            met[alive[same]] = last[same]
            row[alive], action[alive], entry[alive] = last + 1, said, now_entry
            ahead = int(min(max(1.5 * (place.mean() + 1), LEAST_AHEAD), MOST_AHEAD))
            alive = alive[~same & (last + 1 < end[alive])]
        return met

    def _until_turn(self, rows: Ints, held: Ints, entry: Float64, left: Ints) -> tuple[Ints, Ints]:
        """How many rows on each lane turns, or comes to the last one in sight, and what it does there."""
        observation = self.observations(rows, held, entry)
        logits = policy.logits(self.stack, observation.reshape(1, -1, observation.shape[2])).reshape(*rows.shape, -1)
        best = logits.argmax(axis=2)
        close_call = (logits >= logits.max(axis=2, keepdims=True) - self.doubt).sum(axis=2) > 1
        stops = (best != held[:, None]) | close_call
        stops[:, -1] = True
        place = np.minimum(stops.argmax(axis=1), left - 1)
        lane = np.arange(len(rows))
        said = best[lane, place]
        for one in np.flatnonzero(close_call[lane, place]).tolist():
            said[one] = self._decided_live(int(rows[one, place[one]]), int(held[one]), float(entry[one]))
        return place, said

    def observations(self, rows: Ints, held: Ints, entry: Float64) -> Float32:
        """What each lane sees on its rows if it holds: (L, K, inputs)."""
        direction, lots = DIRECTION[held][:, None], self.lots[INTENSITY[held]][:, None]
        floating = profits(self.costs, entry[:, None], self.marks[rows], direction, lots)
        found: Float32 = self.inputs[rows]
        found[:, :, -3] = direction
        found[:, :, -2] = lots * 10
        found[:, :, -1] = np.tanh(np.where(direction != 0, floating, 0.0) / 100)
        return found

    def _decided_live(self, row: int, held: int, entry: float) -> int:
        """The action by the live decision's own product."""
        action, lots = ACTIONS[held], self.costs.lot_sizes[INTENSITY[held]]
        marked = float(self.marks[row])
        floating = twin.profit(entry, marked, action.direction, lots, self.costs) if action.direction else 0.0
        observation = self.inputs[row : row + 1, None].copy()
        observation[0, :, self.known :] = features.twin_inputs(
            np.array([action.direction]), np.array([lots]), np.array([floating])
        )
        return int(policy.logits(self.stack, observation).argmax())

    def _entries(self, rows: Ints, action: Ints) -> Float64:
        """Entry price of a position that is opened on each row; 0 for WAIT."""
        costs, direction = self.costs, DIRECTION[action]
        moved = self.sight.close[rows] + direction * (costs.spread_points + costs.slippage_points) * costs.point
        return np.where(direction != 0, moved, 0.0)
