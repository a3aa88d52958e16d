"""How a twin gets to the newest bar: where it starts, what it consumes, what it says about revisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.errors import NeedsWarmup
from oracle_batch.market.feed import Feed
from oracle_batch.store.twins import HISTORY, TwinFile
from oracle_batch.think import Fresh, Thought, chart, needs_history, rows_after, think, warm
from oracle_batch.types import WINDOW
from tests.bundle.build import make_bundle

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models")
    make_bundle(folder, seed=3, decoding="filter")
    return load_models(folder, folder, write_cache=False)[0]["EURUSD_M15"]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return Feed(DATA).bars("EURUSD", "M15", 0, 2**40)[-900:]


def thought(fresh: Fresh) -> Thought:
    (one,) = think([chart(fresh, auto_warmup=True)])
    return one


def revised(bars: Bars, row: int, factor: float = 1.002) -> Bars:
    columns = {name: getattr(bars, name).copy() for name in FIELDS}
    for name in ("open", "high", "low", "close"):
        columns[name][row] *= factor
    return Bars(**columns)


def test_a_warmup_ends_where_a_replay_ends(model: Model, bars: Bars) -> None:
    twin = warm(model, bars)
    states = replay(model, bars, FLAT, len(bars) - WINDOW + 1).twins
    assert twin.state == states[-1]
    assert twin.history == tuple(states[-1 - HISTORY : -1])
    assert twin.warmed_to == bars.time[-1]
    with pytest.raises(NeedsWarmup, match="349 closed bars, 350 are needed"):
        warm(model, bars[: WINDOW - 1])


@pytest.mark.parametrize("behind", [0, 1, 2, 40, 550])
def test_catching_up_equals_a_replay(model: Model, bars: Bars, behind: int) -> None:
    twin = warm(model, bars[: len(bars) - behind])
    one = thought(Fresh(model, bars, twin))
    states = replay(model, bars, FLAT, len(bars) - WINDOW + 1).twins
    assert one.twin.state == states[-1]
    assert one.twin.history == tuple(states[-1 - HISTORY : -1])
    assert one.before == states[-2]
    assert (one.bar_time, one.action) == (int(bars.time[-1]), states[-1].last_action)
    assert one.virtual_pnl == states[-2].floating_pnl
    assert one.events == ()
    past = [state for state in one.past if state.bar_time]
    assert past == states[-1 - len(past) : -1]
    assert len(past) >= behind


def test_a_twin_that_is_too_far_behind_needs_history(model: Model, bars: Bars) -> None:
    twin = warm(model, bars[:WINDOW])
    recent = bars[-WINDOW - 9 :]
    assert not needs_history(bars, twin)
    assert needs_history(recent, twin)
    assert needs_history(bars, None)
    assert rows_after(bars, int(bars.time[-4])) == 3
    with pytest.raises(NeedsWarmup, match="further behind"):
        chart(Fresh(model, recent, twin), auto_warmup=False)
    one = thought(Fresh(model, recent, twin))
    assert [event.name for event in one.events] == ["auto_warmup"]
    assert one.twin.warmed_to == recent.time[-2], "the newest bar may trade"
    with pytest.raises(NeedsWarmup, match="further behind"):
        chart(Fresh(model, recent, twin, (int(recent.time[-1]),)), auto_warmup=False)


def test_a_twin_ahead_of_its_bars_is_refused(model: Model, bars: Bars) -> None:
    with pytest.raises(NeedsWarmup, match="ahead of the bars"):
        chart(Fresh(model, bars[:-3], warm(model, bars)), auto_warmup=True)


@pytest.mark.parametrize("age", [1, 2, 5, 16])
def test_a_revised_bar_is_replayed_from_the_state_before_it(model: Model, bars: Bars, age: int) -> None:
    old = bars[:-1]
    twin = warm(model, old)
    official = revised(bars, len(old) - age)
    when = int(old.time[-age])
    one = thought(Fresh(model, official, twin, (when,)))
    states = replay(model, official, FLAT, len(official) - WINDOW + 1).twins
    assert one.twin.state == states[-1]
    assert one.twin.history == tuple(states[-1 - HISTORY : -1])[-len(one.twin.history) :]
    was = {state.bar_time: state.last_action for state in (*twin.history, twin.state)}
    differ = [state.bar_time for state in states if was.get(state.bar_time, state.last_action) != state.last_action]
    assert list(one.replaced) == differ
    assert one.events[0].name == "bar_revised"


def test_a_bar_revised_before_all_remembered_states_rebuilds(model: Model, bars: Bars) -> None:
    old = bars[:-1]
    twin = warm(model, old)
    short = TwinFile(model="EURUSD_M15", bundle_sha256=model.sha256, state=twin.state, history=twin.history[-2:])
    official = revised(bars, len(old) - 10)
    one = thought(Fresh(model, official, short, (int(old.time[-10]),)))
    assert [event.name for event in one.events][:2] == ["bar_revised", "twin_rebuilt"]
    assert one.twin.state == replay(model, official, FLAT, len(official) - WINDOW + 1).twins[-1]


def test_models_that_think_together_think_alike(model: Model, bars: Bars) -> None:
    """A twin behind, one up to date and one revised, in one pass."""
    cases = [
        Fresh(model, bars, warm(model, bars[:-7])),
        Fresh(model, bars, warm(model, bars[:-1])),
        Fresh(model, revised(bars, len(bars) - 2), warm(model, bars[:-1]), (int(bars.time[-2]),)),
        Fresh(model, bars[-WINDOW:], None),
    ]
    together = think([chart(one, auto_warmup=True) for one in cases])
    assert together == [thought(one) for one in cases]
    assert np.isfinite([one.twin.state.floating_pnl for one in together]).all()
