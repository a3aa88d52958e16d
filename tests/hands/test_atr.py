"""The average true range: by hand, and the same number that the policy observes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.brain.features import Columns, market_inputs
from oracle_batch.bundle.model import FeatureParams
from oracle_batch.hands.atr import atr
from tests.market.build import bars


def test_the_mean_of_the_true_ranges() -> None:
    # ranges: 4; a gap up to 20 from 12: 20 − 12 = 8; a gap down to 8 from 19: 19 − 8 = 11
    three = bars([(10, 10, 10, 10), (10, 14, 10, 12), (18, 20, 17, 19), (9, 10, 8, 9)])
    assert atr(three, 3) == pytest.approx((4 + 8 + 11) / 3)
    assert atr(three, 1) == 11.0


def test_too_few_bars_tell_nothing() -> None:
    two = bars([(1.0,), (2.0,)])
    assert atr(two, 1) == 1.0
    assert atr(two, 2) is None
    assert atr(two, 0) is None


def test_it_is_what_the_policy_observes() -> None:
    rng = np.random.default_rng(3)
    close = 1.1 * np.exp(np.cumsum(rng.normal(0, 0.0005, 60)))
    open_ = np.concatenate([[1.1], close[:-1]])
    high, low = np.maximum(open_, close) + 0.0002, np.minimum(open_, close) - 0.0003
    sample = Bars(np.arange(60) * 900, open_, high, low, close, np.ones(60))
    params = FeatureParams(**dict.fromkeys(FeatureParams.__dataclass_fields__, 14))
    columns = Columns(*(column[:, None] for column in (high, low, close, np.ones(60))))
    observed = market_inputs(columns, np.zeros((1, 1)), np.ones((1, 1)), np.zeros((1, 1), np.int64), params, 1)
    found = atr(sample, 14)
    assert found is not None
    assert observed[0, 0, 1] == np.float32(math.tanh(50 * found / close[-1]))
