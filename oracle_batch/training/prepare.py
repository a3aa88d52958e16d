"""From a history to the ground that every run of a model stands on: parts, costs, regimes, tapes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from oracle_batch.bundle.model import Model, TrainingCosts
from oracle_batch.training.costs import CostOptions, describe, training_costs
from oracle_batch.training.data import History
from oracle_batch.training.fit import Ground
from oracle_batch.training.parameters import TrainingParameters, checked
from oracle_batch.training.regimes import FittedRegimes, fit_regimes
from oracle_batch.training.reward import Reward, reward_unit
from oracle_batch.training.splits import Part, split
from oracle_batch.training.tape import Tape, blank_policy, tape_of
from oracle_batch.types import model_id

FORMAT = "2.1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is known before a policy is trained. The test part lies in ``history`` and is not looked at."""

    history: History
    parameters: TrainingParameters
    costs: TrainingCosts
    parts: tuple[Part, Part, Part]
    regimes: FittedRegimes
    ground: Ground

    @property
    def model_id(self) -> str:
        return self.ground.model.model_id


def prepare(
    history: History, parameters: TrainingParameters, options: CostOptions, broker_symbol: str | None = None
) -> Prepared:
    """Split the history, fit the regimes to its training part, and prepare the tapes of training and validation.

    Raises:
        DataError: a part is too short, or no regime model fits.
        UsageError: a parameter is impossible, or a cost is missing.
    """
    checked(parameters)
    parts = split(history.bars, parameters.split, file=history.origin)
    train, validation, _ = parts
    own = train.of(history.bars)
    costs = training_costs(history.symbol, own, options, parameters.env.lot_sizes)
    _log.info("%s: %s", model_id(history.symbol, history.timeframe), describe(costs, options))
    regimes = fit_regimes(own, parameters.features, parameters.hmm, parameters.seed, file=history.origin)
    model = Model(
        model_id(history.symbol, history.timeframe),
        history.symbol,
        broker_symbol or history.symbol,
        history.timeframe,
        "",
        FORMAT,
        parameters.hmm.decoding,
        parameters.hmm.covariance_type,
        parameters.env.observation_pnl,
        parameters.features,
        costs,
        regimes.model,
        blank_policy(parameters.hmm.n_states),
    )
    reward = Reward(reward_unit(own.close, costs), parameters.env.risk_aversion)
    ground = Ground(model, tape_of(model, own), tape_of(model, validation.of(history.bars)), reward)
    return Prepared(history, parameters, costs, parts, regimes, ground)


def unseen_tape(prepared: Prepared) -> Tape:
    """The test part, for the one time that it is looked at: after selection."""
    return tape_of(prepared.ground.model, prepared.parts[2].of(prepared.history.bars))
