"""Whole ticks against two references: the model replayed over real bars, and a trader who holds DESIGN §6 in hand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle_batch import opening
from oracle_batch.bars import Bars
from oracle_batch.brain.decide import Replay, replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.config import AccountSettings, Settings
from oracle_batch.config.settings import PaperSettings
from oracle_batch.market.feed import Feed
from oracle_batch.types import ACTIONS, WINDOW
from tests.bundle.build import make_bundle
from tests.examples import examples
from tests.tick.fakes import RefusesCloses
from tests.tick.lab import T0, WARM, WORDS, Lab, came_to, outcome, scripted, shaped, tree, write_bars

DATA = Path(__file__).parents[1] / "data"
EURUSD = "EURUSD_M15"
BOUNDED = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    """Durability has its own tests (tests/store); here it would only be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


# replay = ticks = any mixture of ticks, restarts and catch-ups, over real bars


@dataclass
class Real:
    """A workspace on real bars with a model that changes its mind often, and what it would say from flat."""

    lab: Lab
    bars: Bars = field(repr=False)
    first: int
    official: Replay = field(repr=False)

    def close_of(self, step: int) -> float:
        """When the bar of a step (0 is the first one that is ticked) closes."""
        return float(self.bars.time[self.first + step]) + 900

    def state(self, step: int) -> Any:
        return self.official.twins[self.first + step - WINDOW + 1]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    lab = Lab(tmp_path_factory.mktemp("real") / "home")
    make_bundle(lab.workspace.models, seed=3, decoding="filter")
    lab.settings = Settings(accounts=(AccountSettings(paper=PaperSettings(data=str(DATA))),))
    lab.trade("EURUSD")
    bars = Feed(DATA).bars("EURUSD", "M15", 0, 2**40)[-460:]
    models, _ = load_models(lab.workspace.models, lab.workspace.compiled)
    official = replay(models[EURUSD], bars, FLAT, len(bars) - WINDOW + 1)
    window = bars[:400]
    lab.clock.instant = float(window.time[-1]) + 901
    from oracle_batch.store import twins, windows
    from oracle_batch.store.files import replace_all
    from oracle_batch.think import warm

    replace_all([(lab.workspace.bars_path(EURUSD), windows.encode(windows.Window(window, "paper"), "EURUSD", "M15"))])
    replace_all([(lab.workspace.twin_path(EURUSD), twins.encode(warm(models[EURUSD], window)))])
    changes = sum(
        one.last_action != two.last_action for one, two in zip(official.twins, official.twins[1:], strict=False)
    )
    assert changes > 20, "a model that never changes its mind proves nothing"
    return Real(lab, bars, 400, official)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "tick", "tick", "off", "late", "again", "dry", "paused", "lose window", "lose books"]),
        st.integers(1, 9),
    ),
    min_size=5,
    max_size=14,
)


@BOUNDED
@given(steps=STEPS)
def test_any_mixture_of_ticks_restarts_and_catch_ups_is_a_replay(real: Real, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = real.lab.copy(Path(folder) / "home")
        step = -1
        for what, count in steps:
            step = min(step + (count if what == "off" else 1), 59)
            if what == "off":
                continue
            if what == "lose window":
                lab.workspace.bars_path(EURUSD).unlink()
            elif what == "lose books":
                lab.workspace.executor_path("paper").unlink(missing_ok=True)
                shutil.rmtree(lab.workspace.journal_folder("paper"), ignore_errors=True)
            lab.workspace.paused.touch() if what == "paused" else lab.workspace.paused.unlink(missing_ok=True)
            now = real.close_of(step) + (300 if what == "late" else 1)
            if what == "dry":
                before = tree(lab.workspace.home)
                dry = outcome(lab.at(now, dry_run=True), EURUSD)
                assert tree(lab.workspace.home) == before
                assert dry.decision == outcome(lab.at(now), EURUSD).decision
            else:
                report = lab.at(now)
                assert report.exit_code == 0
                one = outcome(report, EURUSD)
                if one.bar_time is not None:
                    assert (one.bar_time, one.action) == (
                        int(real.bars.time[real.first + step]),
                        real.state(step).last_action,
                    )
            assert lab.twin(EURUSD).state == real.state(step)
            assert_consistent(lab)
            if what == "again":
                deals = lab.deals()
                assert lab.at(now + 5).accounts["paper"].models == {}
                assert lab.deals() == deals


def assert_consistent(lab: Lab) -> None:
    """The broker and the books hold the same, one position a label at most, and no leg has two deals."""
    labels = [label for label, _, _ in lab.positions()]
    assert len(labels) == len(set(labels))
    held = {
        f"oracle:{name}": (books.position.position_id, books.position.direction, books.position.volume_cents)
        for name, books in lab.books().models.items()
        if books.position is not None
    }
    account = lab.account()
    assert held == {
        one["label"]: (one["position_id"], one["direction"], one["volume_cents"]) for one in account["positions"]
    }
    legs = lab.deals()
    ours = [leg for leg in legs if leg[0].startswith("ob-")]
    assert len(ours) == len(set(ours))
    assert sum(not closing for _, closing in legs) - sum(closing for _, closing in legs) == len(labels)


# a trader who follows the text


@dataclass
class Trader:
    """What somebody with DESIGN §6 in hand would do, bar by bar. Written from the text alone."""

    hold: bool
    enter_first: bool
    position: tuple[int, int] | None = None
    previous: int = 0
    stuck: tuple[str, int] | None = None
    first: bool = True
    pending: bool = False
    volumes: dict[int, int] = field(default_factory=lambda: {1: 100_000, 2: 100_000, 3: 500_000})

    def ended(self, cause: str) -> None:
        """The position ended otherwise than by a signal."""
        assert self.position
        self.stuck, self.position, self.pending = (cause, self.position[0]), None, False

    def asleep(self, action: int) -> None:
        self._consume(action)

    def _consume(self, action: int) -> bool:
        """Every bar counts: as the previous one of the next, and for causes that end at WAIT or the other side."""
        edge, self.previous = action != self.previous, action
        if self.stuck and ACTIONS[action].direction != self.stuck[1]:
            self.stuck = None
        return edge

    def awake(self, action: int, refusal: str | None, shut: bool) -> tuple[str | None, str | None, str | None]:
        edge = self._consume(action)
        first, self.first = self.first, False
        wish = ACTIONS[action]
        desired = (wish.direction, wish.intensity) if wish.direction else None
        if self.position == desired:
            self.pending = False
            return "NOOP", None, None
        if self.position is None:
            return self._from_flat(desired, edge, first, refusal)
        assert self.position is not None
        opens = desired is not None and edge
        if opens and self.hold and self._volume(desired) == self._volume(self.position):
            self.position, self.pending = desired, False
            return "CLOSE_OPEN", "OK", "SAME_VOLUME"
        decision = "CLOSE_OPEN" if opens else "CLOSE"
        if shut:
            self.pending = True
            return decision, "FAIL", "CLOSE_NOT_CONFIRMED" if opens and refusal is None else "MARKET_CLOSED"
        self.position, self.pending = None, False
        if opens and refusal is None:
            self.position = desired
        return decision, *(("SKIP", refusal) if opens and refusal else ("OK", None))

    def _volume(self, position: tuple[int, int] | None) -> int:
        """Signed by direction."""
        return position[0] * self.volumes[position[1]] if position else 0

    def _from_flat(
        self, desired: tuple[int, int] | None, edge: bool, first: bool, refusal: str | None
    ) -> tuple[str | None, str | None, str | None]:
        assert desired is not None
        if self.stuck:
            return "WAIT_SYNC", "WAIT_SYNC", self.stuck[0]
        if edge or (first and self.enter_first):
            if refusal is None:
                self.position = desired
                return "OPEN", "OK", None
            return "OPEN", "SKIP", refusal
        return "WAIT_SYNC", "WAIT_SYNC", "MISSED_ENTRY"

    def run_again(self) -> tuple[str | None, str | None, str | None]:
        if self.pending and self.position:
            self.pending, self.position = False, None
            return "CLOSE", "OK", "SIGNAL"
        return None, None, None


HAPPENINGS = ["", "", "", "", "late", "paused", "disabled", "off", "hand", "stop", "shut", "again", "shut again"]
DAYS = st.lists(
    st.tuples(st.sampled_from(["W", "L1", "L1", "L2", "L3", "S1", "S3"]), st.sampled_from(HAPPENINGS)),
    min_size=4,
    max_size=14,
)
REFUSALS = {"late": "LATE", "paused": "PAUSED", "disabled": "DISABLED"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("scene") / "home")
    scripted("EURUSD").write(lab.workspace.models)
    load_models(lab.workspace.models, lab.workspace.compiled)
    return lab


@settings(BOUNDED, max_examples=examples(30, 60))
@given(days=DAYS, hold=st.booleans(), enter_first=st.booleans())
def test_the_hands_do_what_the_text_says(
    scene: Lab, days: list[tuple[str, str]], hold: bool, enter_first: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        lab = scene.copy(Path(folder) / "home")
        lab.limit(max_consecutive_losses=0, max_consecutive_losses_account=0)
        lab.rule(same_volume="hold" if hold else "reopen", first_signal="enter" if enter_first else "wait")
        actions = [0] * WARM + [WORDS[word] for word, _ in days] + [0]
        write_bars(lab.data / f"{EURUSD}.parquet", shaped(actions, T0 - WARM * 900, 900))
        trader, told = Trader(hold, enter_first), []
        for bar, (word, happening) in enumerate(days):
            if happening in ("hand", "stop") and trader.position:
                end(lab, bar, happening)
                trader.ended("MANUAL" if happening == "hand" else "STOPPED")
            if happening == "off":
                trader.asleep(WORDS[word])
                continue
            shut = happening.startswith("shut")
            lab.trade("EURUSD", enabled=happening != "disabled", lot_moderate=0.019)
            lab.workspace.paused.touch() if happening == "paused" else lab.workspace.paused.unlink(missing_ok=True)
            patch.setattr(opening, "make_broker", _shut if shut else make_broker)
            report = lab.tick(bar, late=61 if happening == "late" else 1)
            expected = trader.awake(WORDS[word], REFUSALS.get(happening), shut)
            told.append((word, happening, came_to(report, EURUSD)))
            assert came_to(report, EURUSD) == expected, told
            assert report.exit_code == 0
            if happening.endswith("again"):
                patch.setattr(opening, "make_broker", make_broker)
                assert came_to(lab.tick(bar, late=5), EURUSD) == trader.run_again(), told
            real = [(direction, volume) for _, direction, volume in lab.positions()]
            wanted = [trader.position] if trader.position else []
            assert [one[0] for one in real] == [one[0] for one in wanted], told
            if not hold:
                assert [one[1] for one in real] == [trader.volumes[one[1]] for one in wanted], told
            assert_consistent(lab)


def _shut(*arguments: Any, **options: Any) -> Any:
    return RefusesCloses(make_broker(*arguments, **options))


def end(lab: Lab, bar: int, how: str) -> None:
    """Let the open position end between the tick of the bar before and this one: by hand, or by its stop."""
    lab.clock.instant = lab.close_of(bar - 1) + 400
    (position,) = lab.account()["positions"]
    if how == "hand":
        lab.close_by_hand(position["position_id"])
        return
    broker = lab.paper()
    engine = broker._engine
    before = engine.book
    engine.close(position["position_id"], position["volume_cents"], decided_at=lab.clock.now(), reason="stop_loss")
    broker._save(engine, before)
