"""However the bars arrive, the twin is a replay of the official ones: one by one, in lumps, late, revised."""

from __future__ import annotations

from dataclasses import replace as with_
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle_batch.bars import Bars
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.bundle.compiled import load_model
from oracle_batch.bundle.model import Model
from oracle_batch.errors import NeedsWarmup
from oracle_batch.history import OVERLAP_BARS, merge
from oracle_batch.store.twins import HISTORY, TwinFile
from oracle_batch.think import Fresh, Thought, chart, think, warm
from oracle_batch.types import STORED_BARS, WINDOW
from tests.brain.markets import market
from tests.bundle.build import make_bundle

WARM = WINDOW + 40


@cache
def model_of(decoding: str) -> Model:
    """A lively model."""
    with TemporaryDirectory() as folder:
        return load_model(make_bundle(Path(folder), decoding=decoding, hidden=(32, 32), seed=9), None)


def official(count: int) -> Bars:
    """The newest real bars."""
    return market("EURUSD")[-count:]


def after(model: Model, bars: Bars) -> TwinState:
    """The twin after a replay of everything."""
    return replay(model, bars, FLAT, len(bars) - WINDOW + 1).twins[-1]


def think_once(model: Model, bars: Bars, twin: TwinFile | None, revised: tuple[int, ...] = ()) -> Thought:
    """One tick's thinking about one model."""
    return think([chart(Fresh(model, bars[-STORED_BARS:], twin, revised), auto_warmup=True)])[0]


@pytest.mark.parametrize("decoding", ["single", "filter", "viterbi"])
@settings(max_examples=8, deadline=None)
@given(lumps=st.lists(st.integers(1, 12), min_size=1, max_size=10))
def test_bars_that_arrive_in_lumps(decoding: str, lumps: list[int]) -> None:
    model, end = model_of(decoding), WARM
    bars = official(WARM + sum(lumps))
    twin = warm(model, bars[:WARM])
    for lump in lumps:
        end += lump
        thought = think_once(model, bars[:end], twin)
        assert thought.bar_time == bars.time[end - 1]
        assert thought.before == after(model, bars[: end - 1])
        assert not thought.events
        twin = thought.twin
    assert twin.state == after(model, bars)
    assert len(twin.history) == HISTORY


def test_many_models_at_once_think_as_each_alone() -> None:
    """One is new, one has nothing to catch up, one is far behind."""
    models = [model_of(decoding) for decoding in ("single", "filter", "viterbi")]
    bars = official(WARM + 30)
    twins = [None, warm(models[1], bars[:-1]), warm(models[2], bars[:-20])]
    courses = [chart(Fresh(*one), auto_warmup=True) for one in zip(models, [bars] * 3, twins, strict=True)]
    for model, thought in zip(models, think(courses), strict=True):
        assert thought.model is model
        assert thought.twin.state == after(model, bars)


@settings(max_examples=40, deadline=None)
@given(
    changed=st.sets(st.integers(1, OVERLAP_BARS), max_size=7),
    dropped=st.sets(st.integers(2, OVERLAP_BARS), max_size=2),
    fresh=st.integers(0, 3),
    decoding=st.sampled_from(["single", "filter"]),
    seed=st.integers(0, 1000),
)
def test_revised_bars(changed: set[int], dropped: set[int], fresh: int, decoding: str, seed: int) -> None:
    """The feed corrects bars, had bars that it takes back, and brings new ones: the twin is that of the correction."""
    model, bars = model_of(decoding), official(WARM + 20 + fresh)
    rng, old = np.random.default_rng(seed), len(bars) - fresh
    close = bars.close.copy()
    for back in changed:
        close[old - back] *= 1 + rng.choice([-1, 1]) * 0.002
    wrong = with_(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))
    missed = np.ones(len(bars), bool)
    missed[[old - back for back in dropped]] = False
    seen = wrong[:old][missed[:old]]
    twin = warm(model, seen)
    merged = merge(seen, bars[old - OVERLAP_BARS :], "EURUSD", "M15")
    assert set(merged.revised) == {int(bars.time[old - back]) for back in changed | dropped}
    if not merged.revised and not fresh:
        return
    thought = think_once(model, merged.bars, twin, merged.revised)
    assert thought.twin.state == after(model, bars)
    assert thought.before == after(model, bars[:-1])
    named = {event.detail["bar_time"] for event in thought.events if event.name == "bar_revised"}
    assert named == set(merged.revised)
    before = {state.bar_time: state.last_action for state in (*twin.history, twin.state)}
    now = {state.bar_time: state.last_action for state in (*thought.past, thought.twin.state)}
    if merged.revised:
        turned = {bar for bar in before.keys() & now.keys() if bar and before[bar] != now[bar]}
        assert set(thought.replaced) == turned


def test_a_decision_that_a_revision_turns_is_named() -> None:
    model, bars = model_of("single"), official(WARM + 20)
    for factor in np.linspace(0.98, 1.02, 41).tolist():
        close = bars.close.copy()
        close[-1] *= factor
        wrong = with_(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))
        twin = warm(model, wrong)
        if twin.state.last_action != after(model, bars).last_action:
            break
    else:
        pytest.fail("no price turns the decision")
    thought = think_once(model, bars, twin, (int(bars.time[-1]),))
    assert thought.replaced == (bars.time[-1],)
    assert [event.name for event in thought.events] == ["bar_revised", "twin_recomputed"]
    assert thought.twin.state == after(model, bars)


def test_a_gap_longer_than_the_window_is_warmed_up_from_flat() -> None:
    model, bars = model_of("single"), official(STORED_BARS + 800)
    twin = warm(model, bars[:WARM])
    thought = think_once(model, bars, twin)
    assert thought.twin.state == after(model, bars[-STORED_BARS:])
    assert [event.name for event in thought.events] == ["auto_warmup"]
    with pytest.raises(NeedsWarmup, match="further behind"):
        chart(Fresh(model, bars[-STORED_BARS:], twin), auto_warmup=False)


def test_the_longest_gap_that_the_window_bridges() -> None:
    """The bar after the twin's is the 350th of the stored ones: every missed bar has a whole window."""
    model, bars = model_of("filter"), official(1400)
    known = len(bars) - STORED_BARS + WINDOW - 1
    twin = warm(model, bars[:known])
    thought = think_once(model, bars, twin)
    assert not thought.events
    assert thought.twin.state == after(model, bars)
    shorter = warm(model, bars[: known - 1])
    assert [event.name for event in think_once(model, bars, shorter).events] == ["auto_warmup"]


def test_a_twin_ahead_of_its_bars_needs_a_person() -> None:
    model, bars = model_of("single"), official(WARM + 10)
    twin = warm(model, bars)
    with pytest.raises(NeedsWarmup, match="ahead"):
        chart(Fresh(model, bars[:-1], twin), auto_warmup=True)


def test_no_twin_and_no_leave_to_warm_up() -> None:
    with pytest.raises(NeedsWarmup, match="has no twin yet"):
        chart(Fresh(model_of("single"), official(WARM), None), auto_warmup=False)
    with pytest.raises(NeedsWarmup, match="350 are needed"):
        warm(model_of("single"), official(WINDOW - 1))


def test_a_warm_up_of_a_thousand_bars_is_651_silent_decisions() -> None:
    model, bars = model_of("single"), official(STORED_BARS)
    twin = warm(model, bars)
    assert twin.state == replay(model, bars, FLAT, 651).twins[-1]
    assert twin.warmed_to == twin.state.bar_time == bars.time[-1]
    assert msgspec.json.decode(msgspec.json.encode(twin), type=TwinFile) == twin, "floats survive the file"
