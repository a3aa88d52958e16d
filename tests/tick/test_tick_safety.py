"""No sequence of signals, fills, stops, refusals, revisions and restarts leads where it must not.

Four models, two of them on one symbol, small limits of every kind, and whatever may happen: stops that are reached,
gaps, late runs, pauses, runs that do not take place, runs killed at any write, closes that the market refuses,
positions closed by hand or by the operator, other people's positions, revised bars, guards. After each run the account
is measured from its own file, in other terms than the hands use: units, prices, Decimal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from oracle_batch import opening
from oracle_batch.bars import Bars
from oracle_batch.broker.base import CloseIntent, OpenIntent
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.types import ACTIONS
from tests.examples import examples
from tests.guard.acts import guarded
from tests.operating.acts import closed
from tests.tick.fakes import RefusesCloses
from tests.tick.lab import PRICE, T0, WARM, WORDS, Lab, came_to, scripted, write_bars
from tests.tick.test_tick_crash import Killer

MODELS = ("EURUSD_M15", "EURUSD_M30", "GBPUSD_M15", "USDCHF_M15")
SYMBOLS = ("EURUSD", "GBPUSD", "USDCHF")
LOTS = {"lot_weak": 0.1, "lot_moderate": 0.2, "lot_strong": 0.3, "sl_usd": 30.0}
"""Stops 30, 15 and 10 pips away: no bar that is quiet reaches one, a wild one reaches all."""
SPREAD, SLIPPAGE, COMMISSION = Decimal("0.00007"), Decimal("0.00002"), Decimal(7)
LIMITS: dict[str, Any] = {
    "max_daily_loss_pct": 1.5,
    "max_drawdown_pct": 3.0,
    "max_open_positions": 4,
    "max_symbol_exposure": 45_000.0,
    "max_currency_exposure": 80_000.0,
    "max_trades_per_day": 8,
    "max_consecutive_losses": 0,
    "max_consecutive_losses_account": 0,
}
BALANCE = Decimal(10_000)
ENTRIES_STOP = BALANCE * (1 - Decimal("0.015") * Decimal("0.8"))
"""1.5 % of 10,000 are 150; 80 % of them 120."""
TINY = Decimal("0.000001")
Truth = list[dict[str, Any]]
Drawn = Sequence[tuple[tuple[str, ...], str, Any]]

words = st.sampled_from(["L1", "L2", "L3", "L1", "L2", "L3", "W", "S1", "S2"])
happenings = st.one_of(
    st.sampled_from(
        ["", "", "", "", "", "", "off", "late", "paused", "hand", "operator", "foreign", "shut", "guard", "again"]
    ),
    st.tuples(st.just("revise"), st.sampled_from(MODELS), words),
    st.tuples(st.just("kill"), st.integers(0, 9)),
)
steps = st.lists(
    st.tuples(
        st.tuples(words, words, words, words),
        st.sampled_from(["quiet", "wild", "quiet", "wild", "quiet", "down", "up"]),
        happenings,
    ),
    min_size=5,
    max_size=14,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("safety") / "home")
    for name in MODELS:
        scripted(*name.split("_")).write(lab.workspace.models)
    load_models(lab.workspace.models, lab.workspace.compiled)
    for number, symbol in enumerate(SYMBOLS):
        lab.trade(symbol, **LOTS, priority=number % 2)
    return lab


def shape(move: str) -> tuple[float, float, float]:
    """Open, low and range of a bar."""
    return {
        "quiet": (PRICE, PRICE, 0.0006),
        "wild": (PRICE, PRICE - 0.0035, 0.0070),
        "down": (PRICE - 0.0050, PRICE - 0.0053, 0.0006),
        "up": (PRICE + 0.0050, PRICE + 0.0049, 0.0006),
    }[move]


@dataclass
class World:
    """A lab, the bars that are drawn for it, and everything that is known to have happened."""

    lab: Lab
    drawn: Drawn
    said: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    edges: dict[tuple[str, int], bool] = field(default_factory=dict)
    alien: int = 0

    def __post_init__(self) -> None:
        self.scripts = {name: list(self._script(number, name)) for number, name in enumerate(MODELS)}
        for name in MODELS:
            self.said[name] = {}
            self.write(name)

    def _script(self, number: int, name: str) -> Iterator[str]:
        every = self.every(name)
        for bar in range(every - 1, len(self.drawn), every):
            yield self.drawn[bar][0][number]

    @staticmethod
    def every(name: str) -> int:
        """How many M15 bars one of the model's bars takes."""
        return Lab.seconds(name) // 900

    def write(self, name: str) -> None:
        seconds, every = Lab.seconds(name), self.every(name)
        actions = [0] * WARM + [WORDS[word] for word in self.scripts[name]] + [0] * 4
        moves = (
            ["quiet"] * WARM + [self.drawn[bar * every][1] for bar in range(len(self.scripts[name]))] + ["quiet"] * 4
        )
        rows = [shape(move) for move in moves]
        opens, lows, ranges = (np.array(column) for column in zip(*rows, strict=True))
        close = lows + ranges * np.array(actions) / 6
        times = T0 + seconds * np.arange(-WARM, len(actions) - WARM, dtype=np.int64)
        write_bars(
            self.lab.data / f"{name}.parquet", Bars(times, opens, lows + ranges, lows, close, np.full(len(rows), 9.0))
        )

    def bid(self, symbol: str, step: int) -> Decimal:
        """What is quoted right after the close of an M15 bar: the open of the next one."""
        following = self.drawn[step + 1][1] if step + 1 < len(self.drawn) else "quiet"
        return Decimal(str(shape(following)[0]))

    def hear(self, step: int) -> None:
        """Note what each model says on the bar that has just closed, as its feed has it now."""
        for name in MODELS:
            every = self.every(name)
            if (step + 1) % every:
                continue
            row = (step + 1) // every - 1
            action = WORDS[self.scripts[name][row]]
            before = WORDS[self.scripts[name][row - 1]] if row else 0
            self.said[name].setdefault(T0 + row * Lab.seconds(name), []).append(action)
            self.edges[name, T0 + row * Lab.seconds(name)] = action != before

    def revise(self, step: int, name: str, word: str) -> None:
        """Let the bar before the newest one say something else from now on."""
        row = (step + 1) // self.every(name) - 2
        if row >= 0:
            self.scripts[name][row] = word
            self.write(name)
            self.said[name].setdefault(T0 + row * Lab.seconds(name), []).append(WORDS[word])


# what is true of the account's own file


def units(position: dict[str, Any]) -> Decimal:
    return Decimal(position["volume_cents"]) / 100


def symbol_of(position: dict[str, Any]) -> str:
    return str(position["contract"]["spec"]["symbol"])


def rate(symbol: str, bid: Decimal) -> Decimal:
    """US dollars per unit of the quote asset."""
    return Decimal(1) if symbol.endswith("USD") else 1 / bid


def still_possible(lab: Lab, world: World, step: int) -> Decimal:
    """The equity when every stop is hit and every position closed, commission and slippage paid."""
    account = lab.account()
    left = Decimal(account["balance"]) / 100
    for one in account["positions"]:
        symbol, size, side = symbol_of(one), units(one), one["direction"]
        bid = world.bid(symbol, step)
        leave = bid if side > 0 else bid + SPREAD
        at = leave if one["stop_loss"] is None else Decimal(str(one["stop_loss"]))
        worst = min(at, leave) if side > 0 else max(at, leave)
        move = (worst - Decimal(str(one["entry_price"]))) * side - SLIPPAGE
        left += move * size * rate(symbol, bid) - COMMISSION / 2 * size / 100_000
    return left


def exposures(positions: Truth, world: World, step: int) -> dict[tuple[str, int], Decimal]:
    """The value of each side of every symbol and currency, in US dollars."""
    found: dict[tuple[str, int], Decimal] = {}
    for one in positions:
        symbol, side = symbol_of(one), one["direction"]
        bid = world.bid(symbol, step)
        value = units(one) * bid * rate(symbol, bid)
        for key in ((symbol, side), (symbol[:3], side), (symbol[3:], -side)):
            found[key] = found.get(key, Decimal(0)) + value
    return found


def ours(lab: Lab) -> Truth:
    return [one for one in lab.account()["positions"] if one["label"].startswith("oracle:")]


def openings(lab: Lab) -> Truth:
    found = lab.account()["deals"]
    return [one for one in found if not one["closing"] and one["client_order_id"].startswith("ob-")]


def assert_known(lab: Lab) -> None:
    """One position a model at most, and the books hold exactly those."""
    real = {one["label"]: (one["position_id"], one["direction"], one["volume_cents"]) for one in ours(lab)}
    assert len(real) == len(ours(lab)), "a model has two positions"
    if not lab.workspace.executor_path("paper").exists():
        assert real == {}
        return
    books = lab.books().models
    assert real == {
        f"oracle:{name}": (one.position.position_id, one.position.direction, one.position.volume_cents)
        for name, one in books.items()
        if one.position is not None
    }
    ids = [one["client_order_id"] for one in lab.account()["deals"] if one["client_order_id"].startswith("ob-")]
    assert len(ids) == len(set(ids)), "a leg was filled twice"


def assert_within(lab: Lab, world: World, step: int, before: Truth) -> None:
    """Where something was entered in this run, everything that it adds to is within its limit."""
    fresh = [one for one in openings(lab) if one not in before]
    held = {one["position_id"] for one in lab.account()["positions"]}
    entered = [one for one in fresh if one["position_id"] in held]
    if not entered:
        return
    account = lab.account()
    assert len(account["positions"]) <= LIMITS["max_open_positions"]
    assert len(openings(lab)) <= LIMITS["max_trades_per_day"]
    assert still_possible(lab, world, step) >= ENTRIES_STOP
    found = exposures(account["positions"], world, step)
    slack = Decimal("1.0002")  # the hands value longs at the ask
    for one in entered:
        symbol, side = one["symbol"], one["direction"]
        assert found[symbol, side] <= Decimal(LIMITS["max_symbol_exposure"]) * slack
        for key in ((symbol[:3], side), (symbol[3:], -side)):
            assert found[key] <= Decimal(LIMITS["max_currency_exposure"]) * slack


# re-entries, from the whole history


def assert_no_false_entry(lab: Lab, world: World) -> None:
    """Every entry is an edge, and none is in a direction whose last position ended otherwise than by a signal (§6).

    Such an end is over only at a bar, closed at the end or later, that said WAIT or the other direction.
    """
    causes = {one.intent_id: one.cause for one in lab.journal() if isinstance(one, CloseIntent)}
    decided = {one.intent_id: one for one in lab.journal() if isinstance(one, OpenIntent)}
    deals = lab.account()["deals"]
    directions = {one["position_id"]: one["direction"] for one in deals if not one["closing"]}
    for opened in openings(lab):
        intent = decided[opened["client_order_id"]]
        name, bar = intent.model, int(opened["client_order_id"].split("-")[2])
        wish = next(
            one for one in ACTIONS if one.index in world.said[name][bar] and one.direction == opened["direction"]
        )
        assert wish.direction == opened["direction"]
        assert world.edges[name, bar], f"{name} entered at {bar} without an edge"
        seconds = Lab.seconds(name)
        for ended in deals:
            if not ended["closing"] or ended["label"] != opened["label"] or ended["deal_id"] > opened["deal_id"]:
                continue
            if causes.get(ended["client_order_id"]) == "signal" and ended["reason"] == "order":
                continue
            if directions[ended["position_id"]] != opened["direction"]:
                continue
            since = [
                ACTIONS[action].direction
                for heard, actions in world.said[name].items()
                for action in actions
                if ended["time"] <= heard + seconds and heard <= bar
            ]
            assert any(one != opened["direction"] for one in since), f"{name} came back at {bar}"


# the runs


class Runner:
    """Carries out one step after another."""

    def __init__(self, lab: Lab, world: World, patch: pytest.MonkeyPatch) -> None:
        self.lab, self.world, self.patch = lab, world, patch
        self.killer = Killer(patch)

    def step(self, number: int, happening: Any) -> None:
        lab, world = self.lab, self.world
        what = happening if isinstance(happening, str) else happening[0]
        if what == "revise":
            world.revise(number, happening[1], happening[2])
        world.hear(number)
        before = openings(lab)
        if what in ("hand", "foreign", "operator"):
            self._meddle(what, number)
        paused = what == "paused"
        lab.workspace.paused.touch() if paused else lab.workspace.paused.unlink(missing_ok=True)
        if what == "off":
            return
        if what == "shut":
            self.patch.setattr(opening, "make_broker", lambda *a, **b: RefusesCloses(make_broker(*a, **b)))
        if what == "kill":
            killed = self.killer.run(lab, number, happening[1])
            event(f"killed {killed}")
            if killed is not None:
                lab.tick(number, late=5)
        else:
            lab.tick(number, late=61 if what == "late" else 1)
        self.patch.setattr(opening, "make_broker", make_broker)
        if what == "again":
            lab.tick(number, late=9)
        self._check(number, before, may_enter=what not in ("late", "paused"), shut=what == "shut")
        if what == "guard":
            known = openings(lab)
            guarded(lab, lab.close_of(number) + 300)
            assert openings(lab) == known
            assert_known(lab)

    def _meddle(self, what: str, number: int) -> None:
        lab = self.lab
        lab.clock.instant = lab.close_of(number - 1) + 400
        lab.paper()  # plays what the market did meanwhile
        if what == "foreign":
            self.world.alien += 1
            if self.world.alien < 3:
                lab.open_by_hand("GBPUSD", 1, label="somebody else")
        elif what == "hand" and ours(lab):
            lab.close_by_hand(ours(lab)[0]["position_id"])
        elif what == "operator":
            closed(lab, None)

    def _check(self, number: int, before: Truth, *, may_enter: bool, shut: bool) -> None:
        lab = self.lab
        if not may_enter:
            assert openings(lab) == before
        assert_known(lab)
        assert_within(lab, self.world, number, before)
        anchors = lab.books().risk.anchors if lab.workspace.executor_path("paper").exists() else None
        if anchors is not None and anchors.pause is not None:
            event("paused by a limit")
            assert openings(lab) == before
            assert shut or ours(lab) == []


CALM = ("W", "W", "W", "W")
STOPPED_AND_STRONGER: Drawn = [
    (CALM, "quiet", ""),
    (("L1", "W", "S1", "W"), "quiet", ""),
    (("L2", "W", "S3", "W"), "wild", ""),
    (("L3", "W", "S2", "W"), "quiet", ""),
]
KILLED_AND_REVISED: Drawn = [
    (CALM, "quiet", ""),
    (("L1", "L1", "L3", "S3"), "quiet", ("kill", 3)),
    (("L1", "S1", "L2", "S3"), "down", ("revise", "EURUSD_M15", "S1")),
    (("L3", "S1", "L1", "L3"), "quiet", "shut"),
    (("S3", "W", "S1", "L2"), "wild", ("kill", 5)),
]


@settings(max_examples=examples(12, 25), deadline=None, suppress_health_check=list(HealthCheck))
@example(drawn=STOPPED_AND_STRONGER)
@example(drawn=KILLED_AND_REVISED)
@given(drawn=steps)
def test_whatever_happens_nothing_is_entered_that_must_not_be(scene: Lab, drawn: Drawn) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        lab = scene.copy(Path(folder) / "home")
        lab.limit(**LIMITS)
        world = World(lab, drawn)
        runner = Runner(lab, world, patch)
        for number, (_, _, happening) in enumerate(drawn):
            runner.step(number, happening)
        assert_no_false_entry(lab, world)
        event(f"{min(len(openings(lab)), 8)} entries")
        for record in lab.events("refused"):
            event(record.detail["code"])


def test_an_entry_of_a_killed_first_run_counts_among_the_days(scene: Lab, tmp_path: Path) -> None:
    """The account has no anchors yet when the rerun finds the fill: it was made today all the same."""
    lab = scene.copy(tmp_path / "home")
    lab.limit(max_trades_per_day=1)
    World(lab, [(("L1", "W", "W", "W"), "quiet", ""), (("W", "W", "S1", "W"), "quiet", "")])
    with pytest.MonkeyPatch.context() as patch:
        assert Killer(patch).run(lab, 0, 3) == "after save_book"
    lab.tick(0, late=5)
    report = lab.tick(1)
    assert came_to(report, "GBPUSD_M15") == ("OPEN", "SKIP", "MAX_TRADES_DAY")
