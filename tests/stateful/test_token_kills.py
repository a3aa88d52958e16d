"""FAILURE_MODES row 57: a run that dies around the renewal of its tokens, against the simulator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.acceptance.world import World, each_world
from tests.stateful.killing import DeadError, Guillotine

pytestmark = pytest.mark.no_cover


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from each_world(tmp_path / "home", monkeypatch)


def ready(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1 W W")
    world.start()
    world.play(0)
    world.simulator.faults({"fault": "expire_tokens", "on": "AccountAuthReq"})


@pytest.mark.parametrize("at", range(12))
def test_row_57_the_new_pair_survives_or_the_message_asks_for_consent(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    ready(world)
    killer = Guillotine(monkeypatch)
    killer.run(lambda: world.tick(1), at, 0.5 if at % 2 else 0.0)
    assert len(world.received("RefreshTokenReq")) <= 1
    again = world.tick(1, late=3)
    if again.code == 0:
        assert world.deals() == [("ob-EURUSD_M15-1704672900-1", False)]
        world.agree()
        return
    assert (again.code, world.deals()) == (78, [])
    assert "oracle-batch login" in again.err
    assert not any(one.name.endswith(".tmp") for one in world.workspace.home.rglob("*"))


def test_row_57_dead_between_the_answer_and_the_file_is_told_and_nothing_was_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one window in which nothing can save the pair: the old one is void, the new one is gone."""
    ready(world)
    with monkeypatch.context() as patch, contextlib.suppress(DeadError):
        from oracle_batch.broker.ctrader import tokens

        def die(*_: object) -> None:
            raise DeadError

        patch.setattr(tokens, "replace_atomically", die)
        world.tick(1)
    assert len(world.received("RefreshTokenReq")) == 1
    again = world.tick(1, late=3)
    assert (again.code, world.deals()) == (78, [])
    assert "oracle-batch login" in again.err


@pytest.mark.parametrize("at", range(6))
def test_a_login_that_died_is_done_by_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    world.lab.add("EURUSD", "M15", "W L1 W W")
    world.start()
    world.play(0)
    Guillotine(monkeypatch).run(lambda: world.cli("login", clock=False), at, 0.5 if at % 2 else 0.0)
    assert world.cli("login", clock=False).code == 0
    assert world.play(1).code == 0
    assert not any(one.name.endswith(".tmp") for one in world.workspace.home.rglob("*"))
    world.agree()
