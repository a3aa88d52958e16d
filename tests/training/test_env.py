"""The training environment is the live brain without its policy; the vectorised one is the plain one, many times."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.model import PolicyNet
from oracle_batch.errors import DataError, UsageError
from oracle_batch.training.env import TradingEnv
from oracle_batch.training.reward import Reward, reward_unit
from oracle_batch.training.vec_env import TradingVecEnv
from tests.brain.markets import ROOT
from tests.training.build import COSTS, actions, bars, model, tape
from tests.training.test_data import write

PLAIN = Reward(1.0, 0.0)
GOLD = with_(COSTS, point=0.01, digits=2, pip_value=1.0, spread_points=20.0)


def test_gymnasiums_checker_passes() -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(render|spec).*")
        check_env(TradingEnv(model(), tape(), PLAIN, 50), skip_render_check=True)


def test_the_checker_of_stable_baselines_passes() -> None:
    from stable_baselines3.common.env_checker import check_env

    check_env(TradingEnv(model(), tape(), PLAIN, 50))


def test_the_documents_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    write(tmp_path / "EURUSD_M15.parquet", bars(2700))
    monkeypatch.chdir(tmp_path)
    told: dict[str, Any] = {}
    exec(compile(block, "docs/training.md", "exec"), told)
    assert told["observation"] in told["env"].observation_space
    assert not told["terminated"]


@pytest.mark.parametrize("options", [{"start": -1}, {"start": len(tape()) - 1}, {"bars": 0}, {"bars": len(tape())}])
def test_an_episode_that_the_tape_has_no_room_for_is_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(UsageError, match=name) as refused:
        TradingEnv(model(), tape(), PLAIN, 50).reset(options=options)
    assert refused.value.fix == f"give {int(name == 'bars')} to {len(tape()) - (1 if name == 'bars' else 2)}"


def test_the_rewards_of_an_episode_add_up_to_its_profit() -> None:
    env = TradingEnv(model(), tape(), Reward(2.5, 0.0), 60)
    env.reset(options={"start": 3})
    total, info = 0.0, {}
    for action in actions(np.random.default_rng(1), 60).tolist():
        _, reward, terminated, truncated, info = env.step(action)
        total += reward
    assert truncated
    assert not terminated
    last = env.twin
    assert total * 2.5 == pytest.approx(info["equity"])
    close = float(tape().bars.close[63])
    open_profit = (close - last.entry_price) * last.direction / 0.0001 * 10 * (0, 0.01, 0.03, 0.05)[last.intensity]
    assert info["equity"] == pytest.approx(last.realized_pnl + open_profit)


def test_the_reward_of_an_action_is_its_costs_and_the_next_move() -> None:
    env = TradingEnv(model(), tape(), PLAIN, 10)
    env.reset(options={"start": 0})
    close = tape().bars.close
    _, reward, *_ = env.step(np.int64(3))
    moved = (close[1] - close[0]) / 0.0001 * 10 * 0.05
    assert reward == pytest.approx(moved - 0.9 * 10 * 0.05 - 7 * 0.05 / 2)
    _, reward, *_ = env.step(np.int64(0))
    assert reward == pytest.approx(-0.2 * 10 * 0.05 - 7 * 0.05 / 2), "leaving costs slippage and half the commission"
    _, reward, *_ = env.step(np.int64(0))
    assert reward == 0.0


def test_risk_aversion_takes_from_gains_and_adds_to_losses() -> None:
    averse = Reward(1.0, 0.5)
    assert averse.of(1.0) == 0.75
    assert averse.of(-1.0) == -1.25
    assert averse.of(np.array([0.0, 2.0])).tolist() == [0.0, 1.0]


def test_the_unit_is_a_typical_bar_of_the_strongest_position() -> None:
    close = np.array([1.1, 1.1003, 1.1, 1.1003])
    assert reward_unit(close, COSTS) == pytest.approx(3 * 10 * 0.05)


def random_net(seed: int) -> PolicyNet:
    rng = np.random.default_rng(seed)
    shapes = ((12, 16), (16, 7))
    return PolicyNet(
        tuple(rng.normal(0, 1.5, shape).astype(np.float32) for shape in shapes),
        tuple(rng.normal(0, 0.5, shape[1]).astype(np.float32) for shape in shapes),
        "tanh",
    )


@pytest.mark.parametrize("shown", ["previous", "current"])
@pytest.mark.parametrize("decoding", ["filter", "single", "viterbi"])
def test_a_replay_of_the_product_sees_and_does_what_the_environment_did(shown: str, decoding: str) -> None:
    from oracle_batch.training.tape import tape_of

    lived = model(observation_pnl=shown, decoding=decoding, policy=random_net(4))
    own = tape_of(lived, bars(500))
    done = replay(lived, bars(500), FLAT, len(own))
    env = TradingEnv(lived, own, PLAIN, len(own) - 1)
    observation, _ = env.reset(options={"start": 0})
    for row in range(len(own) - 1):
        assert np.array_equal(observation, done.observations[row]), row
        observation, *_ = env.step(np.int64(done.actions[row]))
        assert env.twin == done.twins[row]
    assert len(set(done.actions)) > 2
    assert np.array_equal(observation, done.observations[-1])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    n_envs=st.integers(1, 9),
    bars_each=st.integers(2, 40),
    shown=st.sampled_from(["previous", "current"]),
    costs=st.sampled_from([COSTS, GOLD, with_(COSTS, commission_per_lot=0.0, slippage_points=0.0)]),
    sticky=st.sampled_from([0.0, 0.5, 0.95]),
)
def test_the_vectorised_environment_equals_the_plain_one_step_for_step(
    seed: int, n_envs: int, bars_each: int, shown: str, costs: object, sticky: float
) -> None:
    one, own, reward = model(observation_pnl=shown, costs=costs), tape(), Reward(1.7, 0.02)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(own) - bars_each, n_envs)
    many = TradingVecEnv(one, own, reward, bars_each, n_envs)
    seen = many.place(starts, bars_each)
    envs = [TradingEnv(one, own, reward, bars_each) for _ in range(n_envs)]
    for index, env in enumerate(envs):
        first, _ = env.reset(options={"start": int(starts[index]), "bars": bars_each})
        assert np.array_equal(seen[index], first)
    for step, chosen in enumerate(actions(rng, (bars_each, n_envs), sticky=sticky)):
        seen, rewards, done, infos = many.step(chosen)
        for index, env in enumerate(envs):
            observation, expected, _, truncated, info = env.step(chosen[index])
            ended = step == bars_each - 1
            assert truncated == bool(done[index]) == ended
            shown_last = infos[index]["terminal_observation"] if ended else seen[index]
            assert np.array_equal(shown_last, observation)
            assert rewards[index] == np.float32(expected)
            if not ended:
                assert many.equity[index] == info["equity"]
                twin, plain = many.twin(index), env.twin
                for name in ("direction", "intensity", "entry_price", "floating_pnl", "realized_pnl"):
                    assert getattr(twin, name) == getattr(plain, name), name


def test_an_ended_episode_begins_anew_flat_and_elsewhere() -> None:
    many = TradingVecEnv(model(), tape(), PLAIN, 20, 8, seed=5)
    many.reset()
    ends = []
    for step in range(40):
        seen, _, done, infos = many.step(np.full(8, 3))
        for index in np.flatnonzero(done):
            ends.append((step, index))
            assert infos[index]["TimeLimit.truncated"]
            assert infos[index]["terminal_observation"][-3] == 1.0
            assert seen[index][-3:].tolist() == [0.0, 0.0, 0.0]
            assert np.array_equal(seen[index][:-3], tape().fixed[many.row[index]])
    assert len({step for step, _ in ends}) > 8, "the first episodes have different lengths"
    assert len(ends) >= 14


def test_the_same_seed_gives_the_same_episodes_and_a_snapshot_goes_on_alike() -> None:
    def live(env: TradingVecEnv, steps: int, rng: np.random.Generator) -> list[bytes]:
        return [env.step(rng.integers(0, 7, 4))[0].tobytes() for _ in range(steps)]

    one, two = (TradingVecEnv(model(), tape(), PLAIN, 15, 4, seed=3) for _ in range(2))
    one.reset()
    two.reset()
    assert live(one, 30, np.random.default_rng(0)) == live(two, 30, np.random.default_rng(0))
    saved = one.snapshot()
    ahead = live(one, 30, np.random.default_rng(1))
    two.restore(saved)
    assert live(two, 30, np.random.default_rng(1)) == ahead


def test_a_tape_shorter_than_an_episode_is_refused() -> None:
    with pytest.raises(DataError, match="too few for an episode") as refused:
        TradingEnv(model(), tape(), PLAIN, 5000)
    assert refused.value.fix == f"give at most {len(tape()) - 1}, or a longer history"
