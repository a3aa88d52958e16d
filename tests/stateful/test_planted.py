"""A suite that cannot go red proves nothing: each planted bug breaks a life that is clean without it."""

from __future__ import annotations

import pytest

from tests.stateful import planted
from tests.stateful.lives import LIVES, live

pytestmark = pytest.mark.no_cover

SEEDS = sorted({(bug.life, bug.seed) for bug in planted.BUGS.values()})


def test_every_life_meets_a_bug() -> None:
    assert {bug.life for bug in planted.BUGS.values()} == LIVES.keys()


@pytest.mark.parametrize(("life", "seed"), SEEDS)
def test_a_life_without_a_bug_is_clean(life: str, seed: int) -> None:
    live(LIVES[life], seed)


@pytest.mark.parametrize("name", planted.BUGS)
def test_a_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = planted.BUGS[name]
    bug.plant(monkeypatch)
    with pytest.raises(bug.breaks):
        live(LIVES[bug.life], bug.seed)
