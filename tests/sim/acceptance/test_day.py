"""A whole trading day, 96 closes of M15: once with faults at random, once next to the paper broker."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.base import Deal
from oracle_batch.broker.ctrader import rates
from oracle_batch.bundle.compiled import load_models
from oracle_batch.config import load_settings
from oracle_batch.market.spec_file import load_settings as load_terms
from oracle_batch.sim import limits
from oracle_batch.store.records import Fill
from oracle_batch.tick import Job
from oracle_batch.tick import tick as run_tick
from oracle_batch.types import TIMEFRAME_SECONDS
from tests.sim.acceptance.world import World
from tests.tick.lab import T0, Lab, run

pytestmark = pytest.mark.slow

CLOSES = 96
SYMBOLS = ("EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDCAD")
FLEET = [
    *product(SYMBOLS[:3], ["M15"]),
    *product(SYMBOLS[3:], ["M30"]),
    *product(SYMBOLS, ["H1", "H4", "D1"]),
]
WORDS = ("W", "W", "L1", "L2", "L3", "S1", "S2", "S3")
ROOMY = (
    "[risk]\nmax_daily_loss_pct = 0\nmax_drawdown_pct = 0\nmax_open_positions = 40\nmax_consecutive_losses = 0\n"
    + ("max_consecutive_losses_account = 0\n[tick]\nbar_poll_s = 0.5\n")
)


def script(timeframe: str, chance: random.Random) -> str:
    """Random signals for a day, each of which lasts a while."""
    bars = 86400 // TIMEFRAME_SECONDS[timeframe]
    words: list[str] = []
    while len(words) < bars + 2:
        words += [chance.choice(WORDS)] * chance.randint(1, 4)
    return " ".join(words)


def trouble(seed: int) -> list[dict[str, Any]]:
    """Faults that meet a few of all messages, and some that come once."""
    at_random = [
        {"fault": "cut", "on": "NewOrderReq", "chance": 0.04},
        {"fault": "cut", "on": "NewOrderReq", "at": "before", "chance": 0.04},
        {"fault": "cut", "on": "ClosePositionReq", "chance": 0.04},
        {"fault": "refuse", "on": "NewOrderReq", "code": "NOT_ENOUGH_MONEY", "shape": "order_error", "chance": 0.04},
        {"fault": "refuse", "on": "NewOrderReq", "code": "TRADING_DISABLED", "shape": "execution", "chance": 0.04},
        {"fault": "refuse", "on": "ClosePositionReq", "code": "POSITION_LOCKED", "shape": "error", "chance": 0.05},
        {"fault": "drop", "on": "ExecutionEvent", "chance": 0.02},
        {"fault": "duplicate", "on": "ExecutionEvent", "copies": 2, "chance": 0.2},
        {"fault": "reorder", "on": "ExecutionEvent", "chance": 0.1},
        {"fault": "delay", "on": "ExecutionEvent", "seconds": 0.1, "chance": 0.1},
        {"fault": "replace", "on": "TraderRes", "hex": "ffff", "chance": 0.02},
        {"fault": "truncate", "on": "GetTrendbarsRes", "keep": 40, "torn": True, "chance": 0.01},
        {"fault": "disconnect", "on": "ReconcileReq", "chance": 0.02},
    ]
    once = [
        {"fault": "freeze", "on": "NewOrderReq", "nth": 11},
        {"fault": "expire_tokens", "on": "ReconcileReq", "nth": 60},
        {"fault": "throttle", "on": "ReconcileReq", "nth": 90, "seconds": 0.5},
    ]
    return [*once, *({"times": 0, "seed": seed + number} | one for number, one in enumerate(at_random))]


def test_a_day_of_twenty_models_with_random_faults_ends_in_agreement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second that rates are counted in lasts a tenth of one, on both sides: the day would last minutes else."""
    monkeypatch.setattr(rates, "WINDOW_S", 0.1)
    monkeypatch.setattr(limits, "_WINDOW_NS", 100_000_000)
    chance = random.Random(4)
    for symbol, timeframe in FLEET:
        world.lab.add(symbol, timeframe, script(timeframe, chance))
    assert len(FLEET) == 20
    world.hasten(silence_s=3)
    world.start(SYMBOLS, config=ROOMY, balance=1_000_000.0)
    simulator = world.simulator
    codes = [world.run_tick(-1)]
    simulator.faults(*trouble(seed=40))
    for bar in range(CLOSES - 1):
        codes.append(world.run_tick(bar))
        if codes[-1]:
            codes.append(world.cli("guard").code)
    simulator.faults()
    last = world.tick(CLOSES - 1)
    assert last.code == 0, last.text
    world.agree()
    assert set(codes) <= {0, 1, 69}
    assert codes.count(0) < len(codes), "the faults were felt"
    state = simulator.state()
    assert len(state["deals"]) > 200
    assert state["requests"]["max_per_second"] <= 50
    assert state["requests"]["max_historical_per_second"] <= 5
    assert len(world.received("RefreshTokenReq")) == 1
    for name, books in world.books().models.items():
        if books.waiting is None:
            twin, held = world.lab.twin(name).state, books.position
            assert (twin.direction, twin.intensity) == ((held.direction, held.intensity) if held else (0, 0)), name


def test_the_paper_broker_and_the_simulator_give_the_same_fills_for_the_same_day(world: World, tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [("EURUSD", "M15"), ("GBPUSD", "M15"), ("EURUSD", "H1")]
    for symbol, timeframe in names:
        world.lab.add(symbol, timeframe, script(timeframe, chance), sl_usd=3, tp_usd=5)
    paper = Lab.copy(world.lab, tmp_path / "paper")
    models, refused = load_models(world.workspace.models, world.workspace.compiled, write_cache=False)
    assert not refused
    terms = {"settings": load_terms(world.workspace.symbols), "models": list(models.values())}
    world.start(("EURUSD", "GBPUSD"), config=ROOMY, **terms)
    paper.workspace.config_file.parent.mkdir(exist_ok=True)
    paper.workspace.config_file.write_text(ROOMY)
    paper.settings = load_settings(paper.workspace.config_file)
    for bar in range(CLOSES):
        assert world.run_tick(bar) == 0
        paper.clock.instant = paper.close_of(bar) + 1
        assert run(run_tick(Job(paper.workspace, paper.settings, paper.clock))).exit_code == 0
    world.agree()
    assert fills(world.journal()) == fills(paper.journal("paper"))
    assert len(fills(world.journal())) > 60
    assert world.simulator.state()["balance"] == run(paper.paper().account()).balance


def fills(records: list[Any]) -> list[tuple[Any, ...]]:
    """What the journal says was traded: who, when, what, at which price, for how much."""
    found = [(one.model, one.deal) for one in records if isinstance(one, Fill)]
    return [(name, *_told(deal)) for name, deal in found]


def _told(deal: Deal) -> tuple[Any, ...]:
    return (int(deal.time - T0) // 900, deal.closing, deal.direction, deal.volume_cents, deal.price, deal.profit)
