"""A suite that cannot go red proves nothing: one rough life is clean, and breaks with every bug that is planted."""

from __future__ import annotations

import pytest

from oracle_batch.errors import OracleBatchError
from tests.stateful import planted
from tests.stateful.machine import Life
from tests.stateful.truth import BrokenError
from tests.tick.test_tick_safety import MODELS


def rough_life() -> None:
    """Everything that the random lives may meet, once or more, in an order that is known to meet each bug."""
    life = Life()
    calm: list[object] = [None]
    try:
        life.begin(seed=11, accounts=1, cold=False)
        for turn in range(3):
            for lag in ("unseen", "working", "unseen", "filled", "unseen"):
                life.bar_closes(late=1.0, deaths=calm, fault="answers lost", lag=lag)
                for _ in range(4):
                    life.same_bar_again(deaths=calm, fault=None)
            for share in (0.2, 0.5, 0.8, 0.95):
                life.bar_closes(late=1.0, deaths=[(3, share)], fault=None, lag=None)
                life.same_bar_again(deaths=calm, fault=None)
                life.bar_closes(late=1.0, deaths=[(0, share)], fault=None, lag=None)
                life.same_bar_again(deaths=calm, fault=None)
            for at in range(2, 8):
                life.bar_closes(late=1.0, deaths=[(at, 0.0)], fault=None, lag=None)
                life.same_bar_again(deaths=calm, fault=None)
            for number in range(4):
                life.somebody_closes_by_hand(number=number, part=True)
            life.bar_closes(late=1.0, deaths=[(1, 0.0)], fault=None, lag=None)
            for name in MODELS:
                life.bar_is_revised(name=name, back=0, word=("L3", "S3", "L1")[turn])
            life.same_bar_again(deaths=calm, fault=None)
            life.bar_closes(late=1.0, deaths=calm, fault="orders lost", lag=None)
            life.same_bar_again(deaths=calm, fault=None)
    except BaseException:
        life.patch.undo()
        raise
    life.teardown()


def test_the_rough_life_is_clean() -> None:
    rough_life()


@pytest.mark.parametrize("name", planted.BUGS)
def test_a_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.BUGS[name](monkeypatch)
    with pytest.raises((BrokenError, AssertionError, OracleBatchError)):
        rough_life()
