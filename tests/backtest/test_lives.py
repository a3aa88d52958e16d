"""A life that is walked in wide steps is the replay, bar for bar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.brain import decide, twin
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.model import Model
from oracle_batch.errors import BarError
from oracle_batch.training.backtest import walk
from oracle_batch.training.backtest.lives import Life, joins, live, obey, observations, see
from tests.backtest import samples


def same(life: Life, replayed: decide.Replay) -> None:
    """Every column, to the last bit."""
    twins = replayed.twins
    assert life.action.tolist() == replayed.actions
    assert life.hmm_state.tolist() == replayed.hmm_states
    assert life.direction.tolist() == [state.direction for state in twins]
    assert life.intensity.tolist() == [state.intensity for state in twins]
    assert life.entry_price.tolist() == [state.entry_price for state in twins]
    assert life.floating_pnl.tolist() == [state.floating_pnl for state in twins]
    assert life.realized_pnl.tolist() == [state.realized_pnl for state in twins]


@pytest.mark.parametrize("name", samples.NAMES)
@pytest.mark.parametrize("mode", ["previous", "current"])
def test_a_life_is_the_replay_to_the_last_bit(name: str, mode: str) -> None:
    model: Model = replace(samples.model(name), observation_pnl=mode)  # type: ignore[arg-type]
    bars = samples.bars(name, 349 + 1200)
    same(live(see(model, bars)), decide.replay(model, bars, FLAT, 1200))


@pytest.mark.parametrize("decoding", ["filter", "viterbi"])
def test_the_other_decodings_live_too(decoding: str) -> None:
    model: Model = replace(samples.model("GBPUSD_H1"), decoding=decoding)  # type: ignore[arg-type]
    bars = samples.bars("GBPUSD_H1", 349 + 200)
    same(live(see(model, bars)), decide.replay(model, bars, FLAT, 200))


def test_where_every_decision_is_a_close_call_the_live_code_decides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, bars = samples.model("USDJPY_H1"), samples.bars("USDJPY_H1", 349 + 300)
    monkeypatch.setattr(walk, "doubt", lambda net, lot: float("inf"))
    same(live(see(model, bars)), decide.replay(model, bars, FLAT, 300))


@pytest.mark.parametrize("stretch", [1, 7, 1000])
def test_how_history_is_cut_changes_nothing(stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, bars = samples.model("EURUSD_M15"), samples.bars("EURUSD_M15", 349 + 300)
    monkeypatch.setattr(walk, "STRETCH", stretch)
    same(live(see(model, bars)), decide.replay(model, bars, FLAT, 300))


def test_the_bound_on_rounding_holds_between_one_row_and_many() -> None:
    from oracle_batch.brain import policy

    model, bars = samples.model("GBPUSD_H1"), samples.bars("GBPUSD_H1", 349 + 400)
    sight = see(model, bars)
    rows = observations(sight, live(sight))
    stack = policy.stack_policies([model.policy])
    together = policy.logits(stack, rows[None])[0].astype(np.float64)
    alone = np.array([policy.logits(stack, row[None, None])[0, 0] for row in rows], np.float64)
    assert 0 < 2 * np.abs(together - alone).max() <= walk.doubt(model.policy, max(model.costs.lot_sizes))


def test_observations_are_those_of_the_replay() -> None:
    model, bars = samples.model("EURUSD_M15"), samples.bars("EURUSD_M15", 349 + 300)
    sight = see(model, bars)
    replayed = decide.replay(model, bars, FLAT, 300).observations
    np.testing.assert_allclose(observations(sight, live(sight)), replayed, rtol=0, atol=1e-6)


def test_twins_from_other_bars_join_where_the_replay_says() -> None:
    model, bars = samples.model("GBPUSD_H1"), samples.bars("GBPUSD_H1", 349 + 400)
    sight = see(model, bars)
    whole = live(sight)
    for start, after in zip((10, 57, 203), joins(sight, (10, 57, 203)).tolist(), strict=True):
        late = decide.replay(model, bars[start:], FLAT, 400 - start)
        pairs = zip(
            zip(late.actions, [state.entry_price for state in late.twins], strict=True),
            zip(whole.action[start:].tolist(), whole.entry_price[start:].tolist(), strict=True),
            strict=True,
        )
        meeting = next(place for place, (mine, theirs) in enumerate(pairs) if mine == theirs)
        assert meeting < after <= meeting + walk.MOST_AHEAD


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_a_twin_that_obeys_is_the_twin_stepped(actions: list[int]) -> None:
    model, bars = samples.model("USDJPY_H1"), samples.bars("USDJPY_H1", 60)
    close, time = bars.close[: len(actions)], bars.time[: len(actions)]
    empty = np.zeros(len(actions))
    over = Life(model, time, close, np.zeros(len(actions), np.intp), empty.astype(np.intp), empty, empty, empty)
    life = obey(model, over, np.array(actions))
    state = FLAT
    for row, action in enumerate(actions):
        state = twin.step(state, action, 0, int(time[row]), float(close[row]), model.costs)
        found = (life.entry_price[row], life.floating_pnl[row], life.realized_pnl[row])
        assert found == (state.entry_price, state.floating_pnl, state.realized_pnl)


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(BarError, match="349 bars, 350 are needed"):
        see(samples.model("EURUSD_M15"), samples.bars("EURUSD_M15", 349))
