"""A life on the wire: the cTrader broker against the simulator, with faults, deaths and what the market does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oracle_batch import verifying
from tests.sim.acceptance.world import World, each_world
from tests.stateful.killing import Guillotine

pytestmark = pytest.mark.no_cover

EACH = {"times": 0}
FILLED = {"where": {"executionType": "ORDER_FILLED"}}
FAULTS: tuple[list[dict[str, Any]], ...] = (
    [],
    [],
    [{"fault": "drop", "on": "ExecutionEvent", **EACH}],
    [{"fault": "drop", "on": "ExecutionEvent", **FILLED, **EACH}],
    [{"fault": "drop", "on": "NewOrderReq"}],
    [{"fault": "drop", "on": "ClosePositionReq"}],
    [{"fault": "partial_fill", "fraction": 0.5}],
    [{"fault": "duplicate", "on": "ExecutionEvent", "copies": 3, **EACH}],
    [{"fault": "drop", "on": name, **EACH} for name in ("ExecutionEvent", "OrderListRes", "DealListRes")],
)
BARS = 6


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from each_world(tmp_path / "home", monkeypatch)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_dies_and_fails_broker_journal_and_books_agree(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for symbol in ("EURUSD", "GBPUSD"):
        words = ["W", *(chance.choice(["W", "L1", "L3", "S1", "S3"]) for _ in range(BARS)), "W", "W"]
        world.lab.add(symbol, "M15", " ".join(words), sl_usd=50)
    world.start(("EURUSD", "GBPUSD"))
    world.hasten(answer_s=0.5, order_s=0.3)
    world.play(0)
    killer, killed = Guillotine(monkeypatch), 0
    for bar in range(1, BARS + 1):
        world.simulator.faults(*chance.choice(FAULTS))
        at = chance.choice([None, chance.randrange(8), chance.randrange(16)])
        killed += killer.run(lambda bar=bar: world.tick(bar), at, chance.choice([0.0, 0.5, 0.9])) is not None  # type: ignore[misc]
        world.simulator.faults()
        again = chance.choice([None, chance.randrange(10)])
        killed += killer.run(lambda bar=bar: world.tick(bar, late=15), again) is not None  # type: ignore[misc]
        if chance.random() < 0.3:
            assert world.cli("guard").code == 0
        result = world.tick(bar, late=30)
        assert result.code == 0, result.text
        world.agree()
        assert verifying.verify(world.workspace, "demo").problems == []
    assert killed >= 2
    world.play(BARS + 1, BARS + 2)
    assert world.positions() == []
    world.agree()
    filled = [leg for leg, closing in world.deals() if not closing]
    assert len(filled) == len(set(filled)), "an entry was filled twice"
    assert verifying.verify(world.workspace, "demo").open == []
