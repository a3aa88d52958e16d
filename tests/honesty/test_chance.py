"""How far chance explains a result."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.training.honesty.chance import (
    block_draws,
    deflated_sharpe,
    expected_best,
    holm,
    interval,
    mean_above_zero,
    probabilistic_sharpe,
    sharpe_rows,
)
from oracle_batch.training.honesty.overfitting import probability_of_overfitting

CHANCE = np.random.default_rng(7)
NOISE = CHANCE.normal(0, 0.01, 400)
NOISE -= NOISE.mean()


def test_the_probabilistic_sharpe_ratio_is_the_papers() -> None:
    # Bailey & López de Prado (2012): for normal returns the ratio's standard error is sqrt((1 + SR²/2)/(n − 1)).
    returns = np.array([-1.0, 1.0] * 200) * 0.01 + 0.001
    ratio = returns.mean() / returns.std(ddof=1)
    kurtosis = 1.0  # two values of equal weight
    expected = ratio * math.sqrt(399) / math.sqrt(1 + (kurtosis - 1) / 4 * ratio**2)
    assert probabilistic_sharpe(returns) == pytest.approx(0.5 * (1 + math.erf(expected / math.sqrt(2))), abs=1e-9)


def test_the_deflated_ratio_falls_with_every_trial() -> None:
    found = [deflated_sharpe(NOISE + 0.001, trials) for trials in (1, 2, 10, 100, 1000)]
    assert found[0] == pytest.approx(probabilistic_sharpe(NOISE + 0.001))
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9 > 0.5 > found[-1]


def test_the_best_of_many_worthless_trials_is_about_what_is_expected() -> None:
    best = np.random.default_rng(1).normal(0, 1, (4000, 50)).max(axis=1).mean()
    assert expected_best(50, 1.0) == pytest.approx(best, rel=0.03)


def test_returns_that_do_not_vary_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="do not vary"):
        probabilistic_sharpe(np.zeros(100))


def test_an_interval_holds_what_it_is_of() -> None:
    found = interval(NOISE + 0.002, sharpe_rows)
    assert found.low < found.value < found.high
    assert found.low > 0
    assert interval(NOISE - NOISE.mean(), sharpe_rows).low < 0 < interval(NOISE - NOISE.mean(), sharpe_rows).high


def test_intervals_have_about_the_promised_coverage() -> None:
    chance = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        found = interval(chance.normal(0.001, 0.01, 250), lambda rows: rows.mean(axis=-1), draws=300)
        held += found.low <= 0.001 <= found.high
    assert 85 <= held <= 100


def test_a_p_value_is_small_for_an_edge_and_even_without_one() -> None:
    assert mean_above_zero(NOISE + 0.003) < 0.01
    assert 0.2 < mean_above_zero(NOISE - NOISE.mean()) < 0.8
    assert mean_above_zero(NOISE - 0.003) > 0.99


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 90))
def test_draws_are_blocks_of_the_sample(count: int, length: int, take: int) -> None:
    rows = block_draws(count, 20, 5, length=length, take=take)
    assert rows.shape == (20, take)
    assert ((rows >= 0) & (rows < count)).all()
    follows = (rows[:, 1:] - rows[:, :-1]) % count == 1
    if take > 60 and length > 5 and count > 3:
        assert follows.mean() > 0.6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_family_is_corrected_upwards_and_keeps_its_order(values: list[float]) -> None:
    found = holm(values)
    assert all(after >= before for before, after in zip(values, found, strict=True))
    assert min(found) == pytest.approx(min(1.0, min(values) * len(values)))
    for one, other in zip(values, found, strict=True):
        assert all(other <= found[place] for place, value in enumerate(values) if value > one)


def test_trials_of_noise_are_overfitted_and_one_with_an_edge_is_not() -> None:
    noise = np.random.default_rng(2).normal(0, 0.01, (400, 20))
    assert 0.25 < probability_of_overfitting(noise) < 0.8
    noise[:, 3] += 0.004
    assert probability_of_overfitting(noise) < 0.05


def test_one_trial_cannot_be_overfitted() -> None:
    with pytest.raises(ValueError, match="1 trials over 100 days"):
        probability_of_overfitting(np.zeros((100, 1)))
